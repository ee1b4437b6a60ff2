// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/f32x16.h"
#include "kernels/cpu/quantized_matmul_f32.h"

namespace zqfp::kernels::avx512 {

int64_t WorkspaceBytes(const WorkspaceQuery& query) noexcept {
  return QuantizedMatmulF32<F32x16>::WorkspaceBytes(query);
}

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  QuantizedMatmulF32<F32x16>::Run(
      {.m = args.m,
       .rows = {.codes = args.x.data, .scale = args.x.scale},
       .weight = args.weight,
       .bias = args.bias,
       .residual = args.residual,
       .y = args.y},
      exec);
}

void QuantizedMatmul(const MatmulArgs& args, const Exec& exec) noexcept {
  QuantizedMatmulF32<F32x16>::Run({.m = args.m,
                                   .rows = {.x = args.x},
                                   .weight = args.weight,
                                   .bias = args.bias,
                                   .residual = args.residual,
                                   .y = args.y},
                                  exec);
}

}  // namespace zqfp::kernels::avx512
