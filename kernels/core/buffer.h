// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_BUFFER_H_
#define ZQFP_KERNELS_CORE_BUFFER_H_

// Buffer: memory for ops, of a device or, without one, of the host.

#include <stdint.h>

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"

namespace zqfp::kernels {

class Buffer {
 public:
  Buffer() = default;
  // 64-byte aligned or better, not initialized; 0 bytes are no memory. The
  // host's pages are touched when used. ResourceExhausted, naming `subject`,
  // where it cannot be had.
  static absl::StatusOr<Buffer> Allocate(Device* device, int64_t num_bytes,
                                         const char* subject);

  void* data() const {
    return device_ != nullptr ? device_.get() : host_.get();
  }
  int64_t num_bytes() const { return num_bytes_; }

 private:
  struct HostFree {
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, HostFree> host_;
  DeviceMemory device_;
  int64_t num_bytes_ = 0;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_BUFFER_H_
