// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/buffer.h"

#include <fmt/format.h>
#include <stdlib.h>

#include "kernels/core/status_macros.h"

namespace zqfp::kernels {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

void Buffer::HostFree::operator()(void* memory) const { free(memory); }

absl::StatusOr<Buffer> Buffer::Allocate(Device* device, int64_t num_bytes,
                                        const char* subject) {
  Buffer buffer;
  buffer.num_bytes_ = num_bytes;
  if (num_bytes == 0) return buffer;
  if (device != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(buffer.device_, device->Allocate(num_bytes));
    return buffer;
  }
  const int64_t rounded =
      (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  buffer.host_.reset(aligned_alloc(kAlignment, static_cast<size_t>(rounded)));
  if (buffer.host_ == nullptr) {
    return absl::ResourceExhaustedError(fmt::format(
        "{}: want {} bytes, the system refused", subject, num_bytes));
  }
  return buffer;
}

}  // namespace zqfp::kernels
