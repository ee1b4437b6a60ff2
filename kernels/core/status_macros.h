// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_STATUS_MACROS_H_
#define ZQFP_KERNELS_CORE_STATUS_MACROS_H_

// Early return on a failed absl::Status (Debian 12's Abseil has no such macro).

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define ZQFP_RETURN_IF_ERROR(expression)                            \
  do {                                                              \
    if (absl::Status zqfp_status = (expression); !zqfp_status.ok()) \
        [[unlikely]]                                                \
      return zqfp_status;                                           \
  } while (false)

#define ZQFP_MACRO_JOIN_(a, b) a##b
#define ZQFP_MACRO_JOIN(a, b) ZQFP_MACRO_JOIN_(a, b)
#define ZQFP_ASSIGN_OR_RETURN_(result, target, expression) \
  auto result = (expression);                              \
  if (!result.ok()) [[unlikely]]                           \
    return result.status();                                \
  target = std::move(result).value()

// ZQFP_ASSIGN_OR_RETURN(auto x, F()): x = F()'s value, or return its error.
#define ZQFP_ASSIGN_OR_RETURN(target, expression)                         \
  ZQFP_ASSIGN_OR_RETURN_(ZQFP_MACRO_JOIN(zqfp_result_, __LINE__), target, \
                         expression)

#endif  // ZQFP_KERNELS_CORE_STATUS_MACROS_H_
