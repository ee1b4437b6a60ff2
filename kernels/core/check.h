// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_CHECK_H_
#define ZQFP_KERNELS_CORE_CHECK_H_

// ZQFP_CHECK: our own broken contract stops the program; nothing that a file
// or a user can cause may reach it (that is an absl::Status).

#include <stdio.h>
#include <stdlib.h>

namespace zqfp {

[[noreturn]] inline void CheckFailed(const char* file, int line,
                                     const char* condition) {
  fprintf(stderr, "%s:%d: internal contract broken: %s\n", file, line,
          condition);
  abort();
}

}  // namespace zqfp

#define ZQFP_CHECK(condition)                              \
  do {                                                     \
    if (!(condition)) [[unlikely]]                         \
      ::zqfp::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

// In loops: on in debug and sanitizer builds only.
#ifdef NDEBUG
#define ZQFP_DCHECK(condition) \
  do {                         \
  } while (false)
#else
#define ZQFP_DCHECK(condition) ZQFP_CHECK(condition)
#endif

#endif  // ZQFP_KERNELS_CORE_CHECK_H_
