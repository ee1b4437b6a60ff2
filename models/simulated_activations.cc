// SPDX-License-Identifier: Apache-2.0
#include "models/simulated_activations.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

float LargestMagnitude(const float* x, int64_t dim) {
  float largest = 0;
  for (int64_t i = 0; i < dim; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
  }
  return largest;
}

// `encode` and `decode` are a format's, `largest` its largest finite value.
template <typename Encode, typename Decode>
void RoundScaled(const float* x, int64_t dim, float largest,
                 const Encode& encode, const Decode& decode, float* y) {
  const float magnitude = LargestMagnitude(x, dim);
  const float scale = magnitude == 0 ? 1.0f : magnitude / largest;
  for (int64_t i = 0; i < dim; ++i) y[i] = scale * decode(encode(x[i] / scale));
}

void RoundInt8(const float* x, int64_t dim, float* y) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < dim; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  const float scale = high == low ? 1.0f : (high - low) / 255;
  const float zero = std::nearbyint(-low / scale);
  for (int64_t i = 0; i < dim; ++i) {
    const float code = std::nearbyint(x[i] / scale) + zero;
    y[i] = scale * (std::clamp(code, 0.0f, 255.0f) - zero);
  }
}

void RoundToken(ActivationFormat format, const float* x, int64_t dim,
                float* y) {
  using namespace kernels;
  // A value that is not finite must surface, whatever the scale would do.
  if (!std::all_of(x, x + dim, [](float v) { return std::isfinite(v); })) {
    std::copy_n(x, dim, y);
    return;
  }
  switch (format) {
    case ActivationFormat::kNone:
      std::copy_n(x, dim, y);
      return;
    case ActivationFormat::kE4m3:
      return RoundScaled(x, dim, kE4m3Max, FloatToE4m3, E4m3ToFloat, y);
    case ActivationFormat::kE5m2:
      return RoundScaled(x, dim, kE5m2Max, FloatToE5m2, E5m2ToFloat, y);
    case ActivationFormat::kInt8:
      return RoundInt8(x, dim, y);
    case ActivationFormat::kBf16:
      for (int64_t i = 0; i < dim; ++i) y[i] = Bf16ToFloat(FloatToBf16(x[i]));
      return;
  }
}

}  // namespace

void RoundTokens(ActivationFormat format, const RoundTokensArgs& args,
                 const kernels::Exec& exec) {
  kernels::ParallelFor(exec, args.num_tokens, kernels::GrainFor(4 * args.dim),
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t t = begin; t < end; ++t) {
                           const int64_t at = t * args.dim;
                           RoundToken(format, args.x + at, args.dim,
                                      args.y + at);
                         }
                       });
}

}  // namespace zqfp
