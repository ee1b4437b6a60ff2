// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_ERROR_BOUND_H_
#define ZQFP_TESTS_KERNELS_ERROR_BOUND_H_

// How far an op may be from its exact value: derived from the formats, never
// tuned.

#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels {

enum class Op {
  kRmsNorm,
  kLayerNorm,
  kMatmul,
  kMatmulA8,
  kRope,
  kAttention,
  kSilu,
  kSoftcap
};

// What a bound depends on. k is the number of summed terms (head_dim for the
// scores of attention).
struct ErrorFormats {
  WeightFormat weight = WeightFormat::kF32;
  int64_t lorc_rank = 0;  // matmuls with a low-rank branch
  ValueFormat kv = ValueFormat::kF32;
  int64_t context = 0;         // attention: positions in the softmax
  double score_magnitude = 0;  // attention: max over positions of
                               // scale * sum |q||k|
  double softcap = 0;          // attention; 0: none
  bool on_bf16_pairs = false;  // attention: queries and weights are each the
                               // sum of two bf16 numbers
};

// Attention on pairs of bf16 numbers, in units of u; ErrorBound has the rest.
// hi is off by 2^-9 |q| at most, lo by 2^-9 of that: 64 u. Sums are made of
// twice as many terms, and so is the one of the values. Scores are in units of
// log2: the query's factor, its product with log2(e), and the way back of the
// maximum where results are merged cost three roundings more; a cap's factor
// and its reciprocal two, each of which moves cap tanh(z) by less than u cap
// since |z| (1 - tanh^2) < 1. A weight is off by 64 u like a query, but its
// total is not made of that, so this counts once.
inline double PairsBound(const ErrorFormats& formats, double head_dim,
                         double extra) {
  const double score =
      (2 * head_dim + 64 + 7 + extra) * formats.score_magnitude +
      11 * formats.softcap;
  const double sums = 8.0 * static_cast<double>(formats.context);
  return 2 * (score + sums + 8 + extra) + 64;
}

// The bound of |y - exact| / M, where M is the sum of the magnitudes that make
// the output: sum |x||w| + |bias| + |residual| for a matmul; |y| for norms and
// gates; |weight| (mean|x| + |x - mean|) / sigma + |bias| for a layer norm; |a
// cos| + |b sin| for rope; sum softmax |v| for attention; the cap for softcap.
//
// u = 2^-24 is the largest relative error of one f32 rounding. A sum of k
// terms in any order, each product rounded or fused, errs by at most k u M to
// first order (Higham, Accuracy and Stability, section 4.2); the factor 1.01
// covers the higher orders for k u < 0.01, that is k < 160000.
inline double ErrorBound(Op op, const ErrorFormats& formats, int64_t k) {
  constexpr double u = 1.01 / (1 << 24);
  const double terms = static_cast<double>(k);
  switch (op) {
    case Op::kMatmul:
    case Op::kMatmulA8: {
      // k terms (in MatmulA8 the products are exact). A group scale costs one
      // rounding per group sum or none (powers of two); row and token scale
      // one each, their product one, a global divisor one; then bias,
      // residual, y. The
      // low-rank branch has its own k terms, two scales, and is a sum of rank
      // products with one scale more; then it, too, joins y.
      const bool coded_scales = formats.weight == WeightFormat::kE2m1E4m3;
      const bool scaled_groups = formats.weight == WeightFormat::kE2m1Free ||
                                 formats.weight == WeightFormat::kE4m3Groups;
      const double rank = static_cast<double>(formats.lorc_rank);
      const double branch = formats.lorc_rank > 0 ? rank + 4 : 0;
      return (terms +
              (scaled_groups  ? 1
               : coded_scales ? 2
                              : 0) +
              branch + 6) *
             u;
    }
    case Op::kRmsNorm:
      // The sum errs by (k + 1) u, the mean and + epsilon by 2 u; the root
      // halves that; root, division, and two products add 4 u.
      return ((terms + 3) / 2 + 4) * u;
    case Op::kLayerNorm:
      // The mean errs by (k + 1) u mean|x|, which enters every difference and,
      // squared, the variance. The rest as in an RmsNorm, plus the difference
      // and the bias; all is rounded up to the larger part.
      return (2 * terms + 8) * u;
    case Op::kRope:
      return 3 * u;  // two products and a sum
    case Op::kSilu:
      // exp to 2 ulp = 4 u, then + 1, division, two products.
      return 8 * u;
    case Op::kSoftcap:
      // z = x / cap errs by |z| u and tanh by (1 - tanh^2) of that, at most
      // u / 2. exp errs by 4 u, of which 2 e / (1 + e)^2 <= 1/2 counts; 1 + e
      // and the division by 2 u each where the quotient is 2; the difference
      // and the product by u each.
      return 9 * u;
    case Op::kAttention: {
      // A score errs by (head_dim + 2) u S (products, sum, scales; e4m3 has
      // one scale more) and the subtraction of the maximum by 2 u S; a weight
      // therefore by exp of that. exp adds 4 u; every rescaling of the running
      // sums 4 u + u, at most one a position; the two sums one u a position
      // each. An error d in all weights moves y by 2 d M. A cap passes a
      // score's error on, at most, and adds its own. Weights of e4m3 values may
      // be pairs of f16, off by 4 u beside totals that are not: less than the
      // rescaling that is counted for the first position, which has none.
      const double extra = formats.kv == ValueFormat::kE4m3 ? 1 : 0;
      if (formats.on_bf16_pairs) return PairsBound(formats, terms, extra) * u;
      const double score =
          (terms + 4 + extra) * formats.score_magnitude + 9 * formats.softcap;
      const double sums = 7.0 * static_cast<double>(formats.context);
      return 2 * (score + sums + 8 + extra) * u;
    }
  }
  return 0;
}

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_ERROR_BOUND_H_
