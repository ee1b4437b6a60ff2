// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_DEVICE_BACKENDS_H_
#define ZQFP_TESTS_DEVICE_BACKENDS_H_

#include <string>
#include <vector>

#include "kernels/backend.h"

namespace zqfp::testing {

// The backends of this machine whose memory is not the host's: the emulator,
// and a GPU where there is one.
inline std::vector<std::string> DeviceBackends() {
  std::vector<std::string> names = kernels::RunnableBackends();
  for (const std::string& host : kernels::HostBackends()) {
    std::erase(names, host);
  }
  return names;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_DEVICE_BACKENDS_H_
