// SPDX-License-Identifier: Apache-2.0
#include "models/simulated_activations.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

// Magnitudes order like their bits: the loops below do without comparisons of
// floats, which compilers do not put into vectors.
constexpr int32_t kMagnitude = 0x7fffffff;

// Not finite where one of them is not.
float LargestMagnitude(const float* x, int64_t dim) {
  int32_t largest = 0;
  for (int64_t i = 0; i < dim; ++i) {
    largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & kMagnitude);
  }
  return std::bit_cast<float>(largest);
}

// E4m3ToFloat(FloatToE4m3(x)) of what is not NaN.
float RoundToE4m3(float x) {
  constexpr int32_t kLeastNormal = std::bit_cast<int32_t>(0x1p-6f);
  constexpr int32_t kLargest = std::bit_cast<int32_t>(kernels::kE4m3Max);
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t magnitude = bits & kMagnitude;
  // Of 23 bits of mantissa 3 stay; a carry moves on to the exponent by itself.
  const uint32_t normal =
      (magnitude + 0x7ffff + (magnitude >> 20 & 1)) & ~uint32_t{0xfffff};
  // Next to 2^14 the numbers are multiples of 2^-9, as e4m3's subnormals are.
  const float subnormal = (std::bit_cast<float>(magnitude) + 0x1p14f) - 0x1p14f;
  const int32_t rounded = static_cast<int32_t>(magnitude) < kLeastNormal
                              ? std::bit_cast<int32_t>(subnormal)
                              : static_cast<int32_t>(normal);
  return std::bit_cast<float>(
      static_cast<uint32_t>(std::min(rounded, kLargest)) | (bits ^ magnitude));
}

template <typename Round>
void RoundWith(const float* x, int64_t dim, float scale, const Round& round,
               float* y) {
  for (int64_t i = 0; i < dim; ++i) y[i] = scale * round(x[i] / scale);
}

// `round` is a format's, `largest` its largest finite value.
template <typename Round>
void RoundScaled(const float* x, int64_t dim, float largest, const Round& round,
                 float* y) {
  const float scale = LargestMagnitude(x, dim) / largest;
  // As in QuantizeTokens: a row whose scale would be zero counts as zero.
  RoundWith(x, dim, scale > 0 ? scale : 1.0f, round, y);
}

void RoundInt8(const float* x, int64_t dim, float* y) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < dim; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  const auto step = static_cast<float>((double{high} - low) / 255);
  const float scale = step > 0 ? step : 1.0f;  // as RoundScaled
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
  const auto to_e4m3 = [](float v) { return RoundToE4m3(v); };
  const auto to_e5m2 = [](float v) { return E5m2ToFloat(FloatToE5m2(v)); };
  // A value that is not finite must surface, whatever the scale would do.
  if (!std::isfinite(LargestMagnitude(x, dim))) {
    std::copy_n(x, dim, y);
    return;
  }
  switch (format) {
    case ActivationFormat::kNone:
      std::copy_n(x, dim, y);
      return;
    case ActivationFormat::kE4m3:
      return RoundScaled(x, dim, kE4m3Max, to_e4m3, y);
    case ActivationFormat::kE5m2:
      return RoundScaled(x, dim, kE5m2Max, to_e5m2, y);
    case ActivationFormat::kInt8:
      return RoundInt8(x, dim, y);
    case ActivationFormat::kBf16:
      for (int64_t i = 0; i < dim; ++i) y[i] = Bf16ToFloat(FloatToBf16(x[i]));
      return;
    case ActivationFormat::kE4m3Static:
      return RoundWith(x, dim, args.scale, to_e4m3, y);
    case ActivationFormat::kE4m3Groups:
      for (int64_t i = 0; i < dim; i += args.group_size) {
        RoundScaled(x + i, std::min(args.group_size, dim - i), kE4m3Max,
                    to_e4m3, y + i);
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
