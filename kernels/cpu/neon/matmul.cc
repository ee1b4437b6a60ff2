// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/weight_matmul.h"

namespace zqfp::kernels::neon {

void Matmul(const MatmulArgs& args, const Exec& exec) noexcept {
  WeightMatmul({.m = args.m,
                .x = args.x,
                .weight = args.weight,
                .bias = args.bias,
                .residual = args.residual,
                .y = args.y},
               exec);
}

}  // namespace zqfp::kernels::neon
