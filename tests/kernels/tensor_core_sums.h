// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_TENSOR_CORE_SUMS_H_
#define ZQFP_TESTS_KERNELS_TENSOR_CORE_SUMS_H_

// What the sums of the FP8 tensor cores, of 14 bits, cost.

#include <stdint.h>

#include <algorithm>
#include <cmath>

namespace zqfp::kernels {

// How far the FP8 tensor cores may be from the sum over k of x[k] w[k], which
// they promote to f32 every `columns`.
//
// One instruction takes 32 products. They and the sum so far are cut behind bit
// 13 of the largest exponent e among them, and the result behind its own: 34
// cuts of less than 2^(e - 13) each. 2^e is at most the sum so far, which is
// the difference of two sums from the group's begin as a block may begin
// anywhere, or a product. Subnormal factors count with the exponent of the
// smallest normal number: with 0.5, the one subnormal of e2m1, 2^e is at most
// twice the product; with e4m3's eight times. (Tokens' own matter not: e is
// then so small that nothing of an e2m1's product is cut.)
inline double SumError(const double* x, const double* w, int64_t k,
                       int64_t columns, bool is_e2m1) {
  const double subnormal = is_e2m1 ? 2 : 8;
  double error = 0, sum = 0, largest_sum = 0;
  for (int64_t begin = 0; begin < k; begin += 32) {
    if (begin % columns == 0) sum = largest_sum = 0;
    double largest_product = 0;
    for (int64_t i = begin; i < std::min(begin + 32, k); ++i) {
      largest_product = std::max(largest_product, std::fabs(x[i] * w[i]));
      sum += x[i] * w[i];
    }
    largest_sum = std::max(largest_sum, std::fabs(sum));
    error += std::max(2 * largest_sum, subnormal * largest_product);
  }
  return 34 * error / (1 << 13);
}

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_TENSOR_CORE_SUMS_H_
