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

template <typename Encode, typename Decode>
void RoundWith(const float* x, int64_t dim, float scale, const Encode& encode,
               const Decode& decode, float* y) {
  for (int64_t i = 0; i < dim; ++i) y[i] = scale * decode(encode(x[i] / scale));
}

// `encode` and `decode` are a format's, `largest` its largest finite value.
template <typename Encode, typename Decode>
void RoundScaled(const float* x, int64_t dim, float largest,
                 const Encode& encode, const Decode& decode, float* y) {
  const float scale = LargestMagnitude(x, dim) / largest;
  // As in QuantizeTokens: a row whose scale would be zero counts as zero.
  RoundWith(x, dim, scale > 0 ? scale : 1.0f, encode, decode, y);
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

void RoundToken(ActivationFormat format, const RoundTokensArgs& args,
                int64_t token) {
  const int64_t dim = args.dim;
  const float* x = args.x + token * dim;
  float* y = args.y + token * dim;
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
    case ActivationFormat::kE4m3Static:
      return RoundWith(x, dim, args.scale, FloatToE4m3, E4m3ToFloat, y);
    case ActivationFormat::kE4m3Groups:
      for (int64_t i = 0; i < dim; i += args.group_size) {
        RoundScaled(x + i, std::min(args.group_size, dim - i), kE4m3Max,
                    FloatToE4m3, E4m3ToFloat, y + i);
      }
      return;
  }
}

}  // namespace

void RoundTokens(ActivationFormat format, const RoundTokensArgs& args,
                 const kernels::Exec& exec) {
  kernels::ParallelFor(exec, args.num_tokens, kernels::GrainFor(4 * args.dim),
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t t = begin; t < end; ++t) {
                           RoundToken(format, args, t);
                         }
                       });
}

}  // namespace zqfp
