// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_REFERENCE_DOT_H_
#define ZQFP_KERNELS_REFERENCE_DOT_H_

// One token times one weight row, whatever their formats: what Matmul and
// MatmulA8 have in common.

#include "kernels/core/views.h"

namespace zqfp::kernels::reference {

// One token, f32 or e4m3 codes (unscaled); the other pointer is null.
struct TokenView {
  const float* x = nullptr;
  const uint8_t* codes = nullptr;

  double operator[](int64_t k) const;
};

// sum_k x[k] W[n, k].
double Dot(const WeightView& w, int64_t n, const TokenView& token);

// inner[r] = sum_k V[r, k] x[k], for r < rank.
void LowRankInner(const WeightView& w, const TokenView& token, double* inner);

// sum_r U[n, r] inner[r]; 0 where the weight has no low-rank branch.
double LowRankOuter(const WeightView& w, int64_t n, const double* inner);

}  // namespace zqfp::kernels::reference

#endif  // ZQFP_KERNELS_REFERENCE_DOT_H_
