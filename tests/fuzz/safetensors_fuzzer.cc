// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file: either a named error, or tensors that lie
// inside the bytes, apart from each other, and cover all of the data.

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "kernels/core/check.h"
#include "models/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> file(data, size);
  const absl::StatusOr<std::vector<zqfp::Tensor>> tensors =
      zqfp::ParseSafetensors(file, "fuzz.safetensors");
  if (!tensors.ok()) {
    ZQFP_CHECK(!tensors.status().message().empty());
    return 0;
  }
  const uint8_t* next = tensors->empty() ? data + size : tensors->front().data;
  for (const zqfp::Tensor& tensor : *tensors) {
    int64_t num_bytes = zqfp::ByteSize(tensor.dtype);
    for (const int64_t dim : tensor.shape) num_bytes *= dim;
    ZQFP_CHECK(num_bytes == tensor.num_bytes && num_bytes > 0);
    ZQFP_CHECK(tensor.data == next);
    next += num_bytes;
    // Reads the ends, so that the sanitizer sees a span that is too long.
    volatile uint8_t sink = tensor.data[0];
    sink = tensor.data[num_bytes - 1];
    (void)sink;
    ZQFP_CHECK(!zqfp::Describe(tensor).empty());
  }
  ZQFP_CHECK(next == data + size);
  return 0;
}
