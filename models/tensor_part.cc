// SPDX-License-Identifier: Apache-2.0
#include "models/tensor_part.h"

#include <string.h>

#include <algorithm>

namespace zqfp {

Tensor TensorPart::ToTensor() const {
  Tensor part = *whole;
  if (is_transposed()) std::swap(part.shape[0], part.shape[1]);
  const int64_t output_bytes = whole->num_bytes / part.shape[0];
  part.shape[0] = n;
  part.num_bytes = n * output_bytes;
  part.data = is_transposed() ? nullptr : whole->data + first * output_bytes;
  return part;
}

std::vector<uint8_t> TensorPart::Transpose() const {
  const int64_t k = whole->shape[0], num_outputs = whole->shape[1];
  const int64_t size = ByteSize(whole->dtype);
  std::vector<uint8_t> result(static_cast<size_t>(n * k * size));
  for (int64_t in = 0; in < k; ++in) {
    const uint8_t* from = whole->data + (in * num_outputs + first) * size;
    for (int64_t out = 0; out < n; ++out) {
      memcpy(result.data() + (out * k + in) * size, from + out * size,
             static_cast<size_t>(size));
    }
  }
  return result;
}

}  // namespace zqfp
