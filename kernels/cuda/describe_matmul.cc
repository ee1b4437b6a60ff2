// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/matmul_wgmma.h"

namespace zqfp::kernels::cuda {

std::string DescribeMatmulKernels(const WeightView& weight, bool a8) {
  if (!a8) return "cuda fma: f32 products and sums";
  std::string own = "cuda hmma, fragment order: exact f16 products, f32 sums";
  if (HasWgmma(weight) && kWgmmaLeastTokens <= kWgmmaMostTokens) {
    own += fmt::format(
        "; of {} to {} tokens cuda wgmma: exact products, sums of the tensor "
        "cores promoted to f32",
        kWgmmaLeastTokens, kWgmmaMostTokens);
  }
  if (!FitsMatmulFp8(weight)) return own;
  if (LoadCublasLt() == nullptr) {
    return own + "; for any number of tokens: cublasLt was not found";
  }
  return fmt::format(
      "{}; from {} tokens cublasLt, e4m3 rows{}: exact products, sums of the "
      "tensor cores {}",
      own, kFp8LeastTokens, weight.fp8_rows != nullptr ? ", resident" : "",
      weight.fp8_sums == Fp8Sums::kFast ? "in 14 bits, not promoted"
                                        : "promoted to f32");
}

}  // namespace zqfp::kernels::cuda
