// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_GPTQ_H_
#define ZQFP_MODELS_QUANTIZE_GPTQ_H_

// Rounding a whole matrix to a grid: each weight to its nearest, or by GPTQ,
// which moves the weights still to come so that they make up for the error of
// those that are rounded already.                          [arXiv:2210.17323]

#include <stdint.h>

#include <vector>

#include "absl/types/span.h"
#include "kernels/core/ops.h"
#include "models/quantize/hessian.h"
#include "models/quantize/weight_grid.h"

namespace zqfp {

// What quantizing runs on.
struct QuantizeMachine {
  kernels::ThreadPool* pool = nullptr;
  const kernels::OpTable* ops = nullptr;
  kernels::Exec exec;  // pool's threads, workspace for f32 matmuls
};

struct RoundedWeights {
  WeightGrid grid;
  std::vector<uint8_t> codes;  // [n, k]
  std::vector<float> values;   // [n, k], what the codes stand for
};

RoundedWeights RoundToNearest(WeightGrid grid, absl::Span<const float> weights,
                              const QuantizeMachine& machine);

// `factors` of the Hessian of what the matrix [n, k] reads. In the order of the
// activations the steps of all groups are chosen first, from the weights as
// they are; as stored, each group's of e2m1 when the sweep reaches it, within
// 14 shifts of the row's others.
RoundedWeights Gptq(const GridOptions& options, absl::Span<const float> weights,
                    const HessianFactors& factors,
                    const QuantizeMachine& machine);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_GPTQ_H_
