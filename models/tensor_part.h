// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_TENSOR_PART_H_
#define ZQFP_MODELS_TENSOR_PART_H_

// A linear that a checkpoint stores together with others, or transposed.

#include <stdint.h>

#include <vector>

#include "models/architectures.h"
#include "models/safetensors.h"

namespace zqfp {

// The outputs [first, first + n) of a tensor, which outlives the part.
struct TensorPart {
  const Tensor* whole = nullptr;  // [num_outputs, k], [k, num_outputs], or a
                                  // bias [num_outputs]
  int64_t first = 0;
  int64_t n = 0;
  TensorOrder order = TensorOrder::kOutputMajor;

  bool is_transposed() const {
    return order == TensorOrder::kInputMajor && whole->shape.size() == 2;
  }
  // The part as a tensor of its own, [n, k] or [n]. Its data lie in the whole,
  // or nowhere yet (null) where it is transposed.
  Tensor ToTensor() const;
  // What the data of a transposed part are.
  std::vector<uint8_t> Transpose() const;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_TENSOR_PART_H_
