// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_BACKENDS_H_
#define ZQFP_TESTS_BACKENDS_H_

#include <stdlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "kernels/backend.h"

namespace zqfp::testing {

// The backends that this machine runs, or those among them that
// ZQFP_TEST_BACKENDS names, between commas: of a test on a chip the others only
// take time.
inline std::vector<std::string> Backends() {
  std::vector<std::string> names = kernels::RunnableBackends();
  const char* wanted = getenv("ZQFP_TEST_BACKENDS");
  if (wanted == nullptr) return names;
  const std::vector<std::string> list = absl::StrSplit(wanted, ',');
  std::erase_if(names, [&](const std::string& name) {
    return std::find(list.begin(), list.end(), name) == list.end();
  });
  return names;
}

// Those whose memory is not the host's: the emulator, and a GPU where there is
// one.
inline std::vector<std::string> DeviceBackends() {
  std::vector<std::string> names = Backends();
  for (const std::string& host : kernels::HostBackends()) {
    std::erase(names, host);
  }
  return names;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_BACKENDS_H_
