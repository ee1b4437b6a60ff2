// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_matrix.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/float_formats.h"
#include "kernels/core/status_macros.h"
#include "kernels/op_work.h"

namespace zqfp::tools {
namespace {

using kernels::DeviceMemory;
using kernels::NumGroups;
using kernels::RandomKind;
using kernels::WeightFormat;
using kernels::WeightView;

constexpr int64_t kSampledRows = 32;
constexpr int64_t kSampledTokens = 4;
constexpr float kTokenScale = 0.01f;

// A weight as it is on the disk, in arrays of the device.
struct RawWeight {
  WeightView view;
  DeviceMemory data, row_scale, group_scale, shift;
};

absl::StatusOr<RawWeight> MakeRaw(GpuBench& bench, WeightFormat format,
                                  int64_t n, int64_t k, int64_t group_size) {
  RawWeight raw;
  raw.view = {.format = format, .n = n, .k = k, .group_size = group_size};
  // RMS of random e2m1 codes is 2.9: outputs of about the size of the inputs.
  const float scale = 1.0f / (2.9f * std::sqrt(static_cast<float>(k)));
  const int64_t groups = n * NumGroups(k, group_size);
  ZQFP_ASSIGN_OR_RETURN(raw.data,
                        bench.Random(RandomKind::kByte, n * ((k + 1) / 2)));
  raw.view.data = raw.data.get();
  if (format == WeightFormat::kE2m1Free) {
    ZQFP_ASSIGN_OR_RETURN(raw.group_scale,
                          bench.Random(RandomKind::kF32, groups, scale));
    raw.view.group_scale = static_cast<const float*>(raw.group_scale.get());
    return raw;
  }
  ZQFP_ASSIGN_OR_RETURN(raw.row_scale,
                        bench.Random(RandomKind::kF32, n, 2 * scale));
  ZQFP_ASSIGN_OR_RETURN(raw.shift, bench.Random(RandomKind::kShift, groups));
  raw.view.row_scale = static_cast<const float*>(raw.row_scale.get());
  raw.view.shift = static_cast<const uint8_t*>(raw.shift.get());
  return raw;
}

// `count` elements from `first` on of an array of the device.
template <typename T>
absl::StatusOr<std::vector<T>> Part(GpuBench& bench, const void* array,
                                    int64_t first, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  ZQFP_RETURN_IF_ERROR(bench.device().Download(
      static_cast<const T*>(array) + first,
      count * static_cast<int64_t>(sizeof(T)), values.data()));
  return values;
}

// One scale for each group of a row.
absl::StatusOr<std::vector<double>> RowScales(GpuBench& bench,
                                              const WeightView& raw,
                                              int64_t row) {
  const int64_t groups = NumGroups(raw.k, raw.group_size);
  std::vector<double> scales;
  if (raw.format == WeightFormat::kE2m1Free) {
    ZQFP_ASSIGN_OR_RETURN(
        const std::vector<float> found,
        Part<float>(bench, raw.group_scale, row * groups, groups));
    scales.assign(found.begin(), found.end());
    return scales;
  }
  ZQFP_ASSIGN_OR_RETURN(const std::vector<float> of_row,
                        Part<float>(bench, raw.row_scale, row, 1));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<uint8_t> shifts,
                        Part<uint8_t>(bench, raw.shift, row * groups, groups));
  for (const uint8_t shift : shifts) {
    scales.push_back(std::ldexp(double{of_row[0]}, -int{shift}));
  }
  return scales;
}

}  // namespace

absl::StatusOr<GpuMatrix> GpuMatrix::Create(GpuBench& bench,
                                            WeightFormat format, int64_t n,
                                            int64_t k, int64_t group_size) {
  GpuMatrix matrix;
  const int64_t copies = bench.Copies(kernels::WeightBytes(
      {.format = format, .n = n, .k = k, .group_size = group_size}));
  for (int64_t i = 0; i < copies; ++i) {
    ZQFP_ASSIGN_OR_RETURN(const RawWeight raw,
                          MakeRaw(bench, format, n, k, group_size));
    ZQFP_ASSIGN_OR_RETURN(kernels::PlacedWeight placed,
                          bench.lab().Pack(raw.view));
    matrix.packed_.push_back(std::move(placed));
    if (i == 0) ZQFP_RETURN_IF_ERROR(matrix.Sample(bench, raw.view));
  }
  return matrix;
}

absl::Status GpuMatrix::AddLibraryCopies(GpuBench& bench) {
  const int64_t count = n() * k();
  bf16_copies_ = bench.Copies(2 * count);
  e4m3_copies_ = bench.Copies(count);
  const float unit = 1.0f / std::sqrt(static_cast<float>(k()));
  ZQFP_ASSIGN_OR_RETURN(
      bf16_, bench.Random(RandomKind::kBf16, bf16_copies_ * count, unit));
  ZQFP_ASSIGN_OR_RETURN(
      e4m3_, bench.Random(RandomKind::kNormalE4m3, e4m3_copies_ * count));
  ZQFP_ASSIGN_OR_RETURN(row_scale_,
                        bench.Random(RandomKind::kConstant, n(), unit / 112));
  return absl::OkStatus();
}

absl::Status GpuMatrix::Sample(GpuBench& bench, const WeightView& raw) {
  const int64_t count = std::min(kSampledRows, raw.n);
  const int64_t row_bytes = (raw.k + 1) / 2;
  for (int64_t i = 0; i < count; ++i) {
    // The first and the last, and others in every place of a slab.
    const int64_t row = count > 1 ? i * (raw.n - 1) / (count - 1) : 0;
    ZQFP_ASSIGN_OR_RETURN(
        const std::vector<uint8_t> codes,
        Part<uint8_t>(bench, raw.data, row * row_bytes, row_bytes));
    ZQFP_ASSIGN_OR_RETURN(const std::vector<double> scales,
                          RowScales(bench, raw, row));
    std::vector<double> weights;
    for (int64_t j = 0; j < raw.k; ++j) {
      weights.push_back(
          scales[static_cast<size_t>(j / raw.group_size)] *
          kernels::E2m1ToFloat(kernels::UnpackE2m1(codes.data(), j)));
    }
    sampled_rows_.push_back(row);
    sampled_.push_back(std::move(weights));
  }
  return absl::OkStatus();
}

absl::StatusOr<GpuTokens> GpuTokens::Create(GpuBench& bench, int64_t most,
                                            int64_t n, int64_t k) {
  GpuTokens tokens;
  tokens.most = (most + 15) / 16 * 16;  // of which the library takes multiples
  tokens.k = k;
  tokens.token_scale = kTokenScale;
  ZQFP_ASSIGN_OR_RETURN(tokens.e4m3,
                        bench.Random(RandomKind::kNormalE4m3, tokens.most * k));
  ZQFP_ASSIGN_OR_RETURN(tokens.bf16,
                        bench.Random(RandomKind::kBf16, tokens.most * k));
  ZQFP_ASSIGN_OR_RETURN(tokens.scale, bench.Random(RandomKind::kConstant,
                                                   tokens.most, kTokenScale));
  ZQFP_ASSIGN_OR_RETURN(tokens.y, bench.device().Allocate(tokens.most * n * 4));
  return tokens;
}

absl::StatusOr<ProductError> ErrorOf(GpuBench& bench, const GpuMatrix& matrix,
                                     const GpuTokens& tokens, int64_t m) {
  double error = 0, size = 0, largest_error = 0, largest = 0;
  const int64_t k = matrix.k();
  const int64_t samples = std::min(m, kSampledTokens);
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t t = samples > 1 ? i * (m - 1) / (samples - 1) : 0;
    ZQFP_ASSIGN_OR_RETURN(const std::vector<uint8_t> codes,
                          Part<uint8_t>(bench, tokens.e4m3.get(), t * k, k));
    ZQFP_ASSIGN_OR_RETURN(
        const std::vector<float> y,
        Part<float>(bench, tokens.y.get(), t * matrix.n(), matrix.n()));
    std::vector<double> x;
    for (const uint8_t code : codes) {
      x.push_back(double{tokens.token_scale} * kernels::E4m3ToFloat(code));
    }
    for (size_t r = 0; r < matrix.sampled_rows().size(); ++r) {
      double sum = 0;
      for (size_t j = 0; j < x.size(); ++j) sum += x[j] * matrix.sampled(r)[j];
      const auto row = static_cast<size_t>(matrix.sampled_rows()[r]);
      const double off = std::abs(y[row] - sum);
      error += off * off;
      size += sum * sum;
      if (off > largest_error || std::isnan(off)) largest_error = off;
      largest = std::max(largest, std::abs(sum));
    }
  }
  return ProductError{.relative = std::sqrt(error / size),
                      .largest = largest_error / largest};
}

}  // namespace zqfp::tools
