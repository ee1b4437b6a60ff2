// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_LORC_H_
#define ZQFP_MODELS_QUANTIZE_LORC_H_

// Low-rank compensation of a rounded matrix: W - W_hat = E is nearly U V.
//                                                       [arXiv:2307.09782, 3.3]
//
//   plain     U V is the best rank-r approximation of E: its largest singular
//             values.
//   weighted  the best approximation of what E does to the calibration's
//             inputs: the same of E root, with H = root root^T, and V takes
//             root^-1 in.
//
// With GPTQ the two take turns: what U V leaves of W is rounded again, and U V
// found for the new error (quantize_linear.cc).
//
// Both factors get the square root of the singular values. V is rounded first;
// U is then solved for the V that was stored, and rounded.

#include <stdint.h>

#include <vector>

#include "absl/types/span.h"
#include "models/config.h"
#include "models/quantize/gptq.h"

namespace zqfp {

enum class LorcWeighting : uint8_t { kPlain, kWeighted };
std::string_view ToString(LorcWeighting weighting);

struct LorcOptions {
  int64_t rank = 0;  // 0: none; at most min(n, k) is used
  LorcWeighting weighting = LorcWeighting::kPlain;
  kernels::ValueFormat format = kernels::ValueFormat::kE4m3;  // or kBf16
};

// As they lie on disk.
struct LorcFactors {
  std::vector<uint8_t> u;      // [n, rank] codes of 1 (e4m3) or 2 bytes
  std::vector<uint8_t> v;      // [rank, k]
  std::vector<float> u_scale;  // [n]     e4m3
  std::vector<float> v_scale;  // [rank]  e4m3
};

// `error` is E [n, k]. `factors` are read where weighted and may be null else.
// A rank beyond min(n, k) is filled up with zeros, so that all matrices of a
// model have the same.
LorcFactors CompensateLowRank(const LorcOptions& options,
                              absl::Span<const float> error, int64_t k,
                              const HessianFactors* factors,
                              const QuantizeMachine& machine);

// U V [n, k], as stored.
std::vector<float> Product(const LorcFactors& lorc, kernels::ValueFormat format,
                           int64_t rank);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_LORC_H_
