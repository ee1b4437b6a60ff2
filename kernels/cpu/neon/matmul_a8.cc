// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/weight_matmul.h"

namespace zqfp::kernels::neon {

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  WeightMatmul({.m = args.m,
                .codes = args.x.data,
                .token_scale = args.x.scale,
                .weight = args.weight,
                .bias = args.bias,
                .residual = args.residual,
                .y = args.y},
               exec);
}

}  // namespace zqfp::kernels::neon
