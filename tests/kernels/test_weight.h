// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_TEST_WEIGHT_H_
#define ZQFP_TESTS_KERNELS_TEST_WEIGHT_H_

// TestWeight: a random weight in any format, and what it means in f64.

#include <string>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {

struct TestWeight {
  WeightView view;
  std::vector<double> exact;  // [n, k], with the low-rank branch
  // [n, k]: what its parts add up to in magnitude, where that is more.
  std::vector<double> magnitude;
  GuardedArray<uint8_t> lorc_u, lorc_v;
  GuardedArray<float> lorc_u_scale, lorc_v_scale;
  GuardedArray<uint8_t> data;
  GuardedArray<float> row_scale;
  GuardedArray<float> group_scale;
  GuardedArray<uint8_t> shift;
  GuardedArray<uint8_t> scale_code;
};

inline std::string Name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kE4m3:
      return "e4m3";
    case WeightFormat::kE4m3Groups:
      return "e4m3 groups";
    case WeightFormat::kE2m1Free:
      return "e2m1 free";
    case WeightFormat::kE2m1E4m3:
      return "e2m1 e4m3";
    case WeightFormat::kE2m1Shift:
      return "e2m1 shift";
  }
  return "?";
}

inline bool IsE2m1(WeightFormat format) {
  return format == WeightFormat::kE2m1Free ||
         format == WeightFormat::kE2m1Shift ||
         format == WeightFormat::kE2m1E4m3;
}

inline float RandomScale(std::mt19937& random) {
  return std::uniform_real_distribution<float>(0.5f, 2.0f)(random);
}

// Floating point weights: normal numbers, rounded to the format.
inline void FillFloats(std::mt19937& random, TestWeight& weight) {
  const WeightFormat format = weight.view.format;
  const int64_t count = weight.view.n * weight.view.k;
  weight.data = GuardedArray<uint8_t>(count * (format == WeightFormat::kF32
                                                   ? int64_t{sizeof(float)}
                                                   : int64_t{2}));
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(random);
    if (format == WeightFormat::kF32) {
      reinterpret_cast<float*>(weight.data.data())[i] = value;
      weight.exact.push_back(value);
      continue;
    }
    const bool bf16 = format == WeightFormat::kBf16;
    const uint16_t code = bf16 ? FloatToBf16(value) : FloatToF16(value);
    reinterpret_cast<uint16_t*>(weight.data.data())[i] = code;
    weight.exact.push_back(bf16 ? Bf16ToFloat(code) : F16ToFloat(code));
  }
}

// Any code but the NaNs; with groups, every three rows share their scales.
inline void FillE4m3(std::mt19937& random, TestWeight& weight) {
  WeightView& view = weight.view;
  const bool grouped = view.format == WeightFormat::kE4m3Groups;
  const int64_t num_groups = grouped ? NumGroups(view.k, view.group_size) : 1;
  view.scale_rows = grouped ? 3 : 1;
  const int64_t scale_count =
      (view.n + view.scale_rows - 1) / view.scale_rows * num_groups;
  weight.data = GuardedArray<uint8_t>(view.n * view.k);
  weight.row_scale = GuardedArray<float>(grouped ? 0 : view.n);
  weight.group_scale = GuardedArray<float>(grouped ? scale_count : 0);
  for (float& scale : weight.row_scale) scale = RandomScale(random);
  for (float& scale : weight.group_scale) scale = RandomScale(random);
  for (int64_t n = 0; n < view.n; ++n) {
    for (int64_t k = 0; k < view.k; ++k) {
      const float scale =
          grouped ? weight.group_scale[n / view.scale_rows * num_groups +
                                       k / view.group_size]
                  : weight.row_scale[n];
      const int magnitude = static_cast<int>(random() % 0x7f);
      const int sign = static_cast<int>(random() % 2) << 7;
      const uint8_t code = static_cast<uint8_t>(sign | magnitude);
      weight.data[n * view.k + k] = code;
      weight.exact.push_back(double{scale} * E4m3ToFloat(code));
    }
  }
}

// The factor of row n and group g of an e2m1 weight.
inline double ExactScale(const TestWeight& weight, int64_t n, int64_t g) {
  const WeightView& view = weight.view;
  const int64_t at = n * NumGroups(view.k, view.group_size) + g;
  switch (view.format) {
    case WeightFormat::kE2m1Free:
      return weight.group_scale[at];
    case WeightFormat::kE2m1E4m3:
      return double{view.global_scale} / view.global_divisor *
             E4m3ToFloat(weight.scale_code[at]);
    default:
      return std::ldexp(weight.row_scale[n], -int{weight.shift[at]});
  }
}

// Any codes, any shift of 0..14, any scale code from 0 to 448; the spare nibble
// of an odd row is garbage.
inline void FillE2m1(std::mt19937& random, TestWeight& weight) {
  WeightView& view = weight.view;
  const int64_t row_bytes = (view.k + 1) / 2;
  const int64_t num_groups = NumGroups(view.k, view.group_size);
  const int64_t num_scales = view.n * num_groups;
  const bool shifts = view.format == WeightFormat::kE2m1Shift;
  const bool free = view.format == WeightFormat::kE2m1Free;
  const bool coded = view.format == WeightFormat::kE2m1E4m3;
  weight.data = GuardedArray<uint8_t>(view.n * row_bytes);
  for (uint8_t& byte : weight.data) byte = static_cast<uint8_t>(random());
  weight.row_scale = GuardedArray<float>(shifts ? view.n : 0);
  weight.group_scale = GuardedArray<float>(free ? num_scales : 0);
  weight.shift = GuardedArray<uint8_t>(shifts ? num_scales : 0);
  weight.scale_code = GuardedArray<uint8_t>(coded ? num_scales : 0);
  if (coded) {
    view.global_scale = RandomScale(random);
    view.global_divisor = RandomScale(random);
  }
  for (uint8_t& code : weight.scale_code) {
    code = static_cast<uint8_t>(random() % 0x7f);
  }
  for (float& scale : weight.row_scale) scale = RandomScale(random);
  for (float& scale : weight.group_scale) scale = RandomScale(random);
  for (uint8_t& shift : weight.shift) {
    // Mostly near each other, as real rows are; both ends of the window too.
    const int kind = static_cast<int>(random() % 8);
    shift = static_cast<uint8_t>(kind == 0   ? 0
                                 : kind == 1 ? kMaxShift
                                             : random() % 4);
  }
  for (int64_t n = 0; n < view.n; ++n) {
    for (int64_t k = 0; k < view.k; ++k) {
      const double scale = ExactScale(weight, n, k / view.group_size);
      const uint8_t byte = weight.data[n * row_bytes + k / 2];
      weight.exact.push_back(scale *
                             E2m1ToFloat(k % 2 == 0 ? byte & 15 : byte >> 4));
    }
  }
}

inline TestWeight MakeWeight(std::mt19937& random, WeightFormat format,
                             int64_t n, int64_t k, int64_t group_size = 0) {
  TestWeight weight;
  weight.view = {.format = format, .n = n, .k = k, .group_size = group_size};
  if (IsE2m1(format)) {
    FillE2m1(random, weight);
  } else if (format == WeightFormat::kE4m3 ||
             format == WeightFormat::kE4m3Groups) {
    FillE4m3(random, weight);
  } else {
    FillFloats(random, weight);
  }
  weight.view.data = weight.data.data();
  weight.view.row_scale = weight.row_scale.data();
  weight.view.group_scale = weight.group_scale.data();
  weight.view.shift = weight.shift.data();
  weight.view.scale_code = weight.scale_code.data();
  return weight;
}

// Random factors, [rank, columns]: codes in `data`, values in `exact`.
inline void FillLorcFactor(std::mt19937& random, ValueFormat format,
                           int64_t count, GuardedArray<uint8_t>& data,
                           std::vector<double>& exact) {
  const bool e4m3 = format == ValueFormat::kE4m3;
  data = GuardedArray<uint8_t>(count * (e4m3 ? 1 : 2));
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(random);
    if (e4m3) {
      data[i] = FloatToE4m3(value);
      exact.push_back(E4m3ToFloat(data[i]));
      continue;
    }
    const uint16_t code = FloatToBf16(value);
    reinterpret_cast<uint16_t*>(data.data())[i] = code;
    exact.push_back(Bf16ToFloat(code));
  }
}

// Gives the weight a low-rank branch.
inline void AddLorc(std::mt19937& random, ValueFormat format, int64_t rank,
                    TestWeight& weight) {
  const int64_t n = weight.view.n, k = weight.view.k;
  std::vector<double> u, v;
  FillLorcFactor(random, format, rank * n, weight.lorc_u, u);
  FillLorcFactor(random, format, rank * k, weight.lorc_v, v);
  weight.lorc_u_scale = GuardedArray<float>(n);
  weight.lorc_v_scale = GuardedArray<float>(rank);
  for (float& scale : weight.lorc_u_scale) scale = RandomScale(random);
  for (float& scale : weight.lorc_v_scale) scale = RandomScale(random);
  weight.view.lorc = {.format = format,
                      .rank = rank,
                      .u = weight.lorc_u.data(),
                      .v = weight.lorc_v.data(),
                      .u_scale = weight.lorc_u_scale.data(),
                      .v_scale = weight.lorc_v_scale.data()};
  const bool scaled = format == ValueFormat::kE4m3;
  for (int64_t i = 0; i < n * k; ++i) {
    weight.magnitude.push_back(std::fabs(weight.exact[i]));
    for (int64_t r = 0; r < rank; ++r) {
      double term = u[r * n + i / k] * v[r * k + i % k];
      if (scaled) {
        term *= double{weight.lorc_u_scale[i / k]} * weight.lorc_v_scale[r];
      }
      weight.exact[i] += term;
      weight.magnitude[i] += std::fabs(term);
    }
  }
}

// What a matmul adds to the product, and where y lies.
enum class Epilogue { kNone, kBias, kResidual, kBothInPlace };

inline constexpr Epilogue kEpilogues[] = {Epilogue::kNone, Epilogue::kBias,
                                          Epilogue::kResidual,
                                          Epilogue::kBothInPlace};

// The exact outputs of y = x W^T + bias + residual; x [m, k] in f64. Null where
// there is no bias or residual.
inline std::vector<Expected> ExactMatmul(const std::vector<double>& x,
                                         const TestWeight& weight, int64_t m,
                                         const float* bias,
                                         const float* residual, double bound) {
  const int64_t n = weight.view.n, k = weight.view.k;
  std::vector<Expected> wanted;
  for (int64_t t = 0; t < m; ++t) {
    for (int64_t row = 0; row < n; ++row) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const int64_t at = row * k + i;
        sum += x[t * k + i] * weight.exact[at];
        magnitude += std::fabs(x[t * k + i]) *
                     (weight.magnitude.empty() ? std::fabs(weight.exact[at])
                                               : weight.magnitude[at]);
      }
      for (const double extra :
           {bias ? double{bias[row]} : 0,
            residual ? double{residual[t * n + row]} : 0}) {
        sum += extra;
        magnitude += std::fabs(extra);
      }
      wanted.push_back({sum, bound * magnitude});
    }
  }
  return wanted;
}

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_TEST_WEIGHT_H_
