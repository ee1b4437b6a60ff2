// SPDX-License-Identifier: Apache-2.0
#include "models/foreign_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/float_formats.h"
#include "kernels/core/status_macros.h"
#include "models/finite_scan.h"
#include "models/mxfp4.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;

// The largest weight of NVFP4 without its global scale.
constexpr double kLargestNvfp4 = 6.0 * 448.0;

std::string Brackets(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The group must divide k: a scale of a short group has no agreed meaning.
absl::Status CheckColumns(const LinearWeight& linear, int64_t group_size) {
  if (linear.view.k % group_size == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: want columns in groups of {}, found {}", linear.name,
                  group_size, linear.view.k));
}

}  // namespace

absl::StatusOr<const Tensor*> ForeignBinder::Take(
    const std::vector<std::string>& names, const std::vector<DType>& dtypes,
    const std::vector<Shape>& shapes) {
  const auto there =
      std::find_if(names.begin(), names.end(), [&](const std::string& name) {
        return checkpoint_.Find(name) != nullptr;
      });
  const std::string& name = there == names.end() ? names[0] : *there;
  ZQFP_ASSIGN_OR_RETURN(const Tensor* tensor, checkpoint_.Get(name));
  const auto has = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (!has(dtypes, tensor->dtype) || !has(shapes, tensor->shape)) {
    std::vector<std::string> wanted_dtypes, wanted_shapes;
    for (const DType dtype : dtypes) {
      wanted_dtypes.emplace_back(ToString(dtype));
    }
    for (const Shape& shape : shapes) wanted_shapes.push_back(Brackets(shape));
    return absl::InvalidArgumentError(
        fmt::format("{}: {}: want {} {}, file has {}", tensor->file, name,
                    fmt::join(wanted_dtypes, " or "),
                    fmt::join(wanted_shapes, " or "), Describe(*tensor)));
  }
  taken_.insert(name);
  return tensor;
}

// Each finite and above zero; bf16 and f16 become f32, which is exact.
absl::StatusOr<std::vector<float>> ForeignBinder::TakeScales(
    const std::vector<std::string>& names, const std::vector<Shape>& shapes) {
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* tensor,
      Take(names, {DType::kF32, DType::kBf16, DType::kF16}, shapes));
  std::vector<float> scales(
      static_cast<size_t>(tensor->num_bytes / ByteSize(tensor->dtype)));
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = ReadFloat(*tensor, static_cast<int64_t>(i));
    if (!(scales[i] > 0) || std::isinf(scales[i])) {
      return absl::DataLossError(fmt::format(
          "{}: {}: want finite scales above 0, found {} at element {}",
          tensor->file, tensor->name, scales[i], i));
    }
  }
  return scales;
}

absl::StatusOr<float> ForeignBinder::TakeScalar(
    const std::vector<std::string>& names) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<float> scales,
                        TakeScales(names, {{}, {1}, {1, 1}}));
  return scales[0];
}

absl::Status ForeignBinder::BindMxfp4(const ForeignScheme& scheme,
                                      LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  const std::string base = linear->name + ".weight";
  const int64_t g = scheme.group_size, groups = view.k / g;
  ZQFP_RETURN_IF_ERROR(CheckColumns(*linear, g));
  const bool is_blocks = quantization_.method == ForeignMethod::kMxfp4;
  const bool is_modelopt = quantization_.method == ForeignMethod::kModelOpt;
  const Shape rows = {view.n, view.k / 2};
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* codes,
      Take({is_blocks     ? base + "_blocks"
            : is_modelopt ? base
                          : base + "_packed"},
           {DType::kU8}, {is_blocks ? Shape{view.n, groups, g / 2} : rows}));
  ZQFP_ASSIGN_OR_RETURN(const Tensor* exponents,
                        Take({base + (is_blocks ? "_scales" : "_scale")},
                             {DType::kU8}, {{view.n, groups}}));
  ZQFP_ASSIGN_OR_RETURN(
      Mxfp4Scales scales,
      DecideMxfp4Scales(
          {view.n, view.k, g, codes->data, exponents->data},
          fmt::format("{}: {}", exponents->file, exponents->name)));
  view.data = codes->data;
  view.group_size = g;
  if (scales.is_free()) {
    view.format = WeightFormat::kE2m1Free;
    linear->origin = fmt::format("e2m1 mxfp4 free group {}", g);
    linear->note =
        fmt::format("row {} spans 2^{}, shifts reach 2^{}", scales.widest_row,
                    scales.widest_span, kernels::kMaxShift);
    linear->scales = std::move(scales.group_scale);
    view.group_scale = linear->scales.data();
    return absl::OkStatus();
  }
  view.format = WeightFormat::kE2m1Shift;
  linear->origin = fmt::format("e2m1 mxfp4 shifts group {}", g);
  linear->note = "every row proved within the window";
  linear->scales = std::move(scales.row_scale);
  linear->shifts = std::move(scales.shift);
  view.row_scale = linear->scales.data();
  view.shift = linear->shifts.data();
  return absl::OkStatus();
}

absl::Status ForeignBinder::BindNvfp4(const ForeignScheme& scheme,
                                      LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  const std::string base = linear->name + ".weight";
  const int64_t g = scheme.group_size, groups = view.k / g;
  ZQFP_RETURN_IF_ERROR(CheckColumns(*linear, g));
  const bool is_modelopt = quantization_.method == ForeignMethod::kModelOpt;
  ZQFP_ASSIGN_OR_RETURN(const Tensor* codes,
                        Take({is_modelopt ? base : base + "_packed"},
                             {DType::kU8}, {{view.n, view.k / 2}}));
  ZQFP_ASSIGN_OR_RETURN(
      const Tensor* scales,
      Take({base + "_scale"}, {DType::kE4m3}, {{view.n, groups}}));
  for (int64_t i = 0; i < view.n * groups; ++i) {
    // 0 is a scale: of a group that vanishes beside the rest.
    if (scales->data[i] < 0x7f) continue;
    return absl::DataLossError(fmt::format(
        "{}: {}: want finite scales of 0 or more, found {} in row {}",
        scales->file, scales->name, kernels::E4m3ToFloat(scales->data[i]),
        i / groups));
  }
  const std::string global =
      base + (is_modelopt ? "_scale_2" : "_global_scale");
  ZQFP_ASSIGN_OR_RETURN(const float factor, TakeScalar({global}));
  view.format = WeightFormat::kE2m1E4m3;
  view.data = codes->data;
  view.group_size = g;
  view.scale_code = scales->data;
  // One of them divides by it, the other multiplies.
  (is_modelopt ? view.global_scale : view.global_divisor) = factor;
  const double largest =
      kLargestNvfp4 * view.global_scale / view.global_divisor;
  if (largest > std::numeric_limits<float>::max()) {
    return absl::DataLossError(fmt::format(
        "{}: want a scale of finite f32 weights, found {}", global, factor));
  }
  linear->origin = fmt::format("e2m1 nvfp4 group {}", g);
  linear->note = "scale product not rounded";
  return absl::OkStatus();
}

absl::Status ForeignBinder::BindE4m3(const ForeignScheme& scheme,
                                     LinearWeight* linear) {
  kernels::WeightView& view = linear->view;
  const std::string base = linear->name + ".weight";
  ZQFP_ASSIGN_OR_RETURN(const Tensor* codes,
                        Take({base}, {DType::kE4m3}, {{view.n, view.k}}));
  ZQFP_RETURN_IF_ERROR(CheckFinite(*codes, pool_));
  view.format = WeightFormat::kE4m3;
  view.data = codes->data;
  // "inv" or not, all of them multiply.
  std::vector<std::string> names = {base + "_scale"};
  if (quantization_.method == ForeignMethod::kFp8) {
    names.insert(names.begin(), base + "_scale_inv");
  }
  linear->origin = std::string(ToString(scheme.weights));
  if (scheme.weights == ForeignWeights::kE4m3Tensor) {
    ZQFP_ASSIGN_OR_RETURN(const float scale, TakeScalar(names));
    linear->scales.assign(static_cast<size_t>(view.n), scale);
    view.row_scale = linear->scales.data();
    return absl::OkStatus();
  }
  if (scheme.weights == ForeignWeights::kE4m3Channel) {
    ZQFP_ASSIGN_OR_RETURN(linear->scales,
                          TakeScales(names, {{view.n, 1}, {view.n}}));
    view.row_scale = linear->scales.data();
    return absl::OkStatus();
  }
  view.format = WeightFormat::kE4m3Groups;
  view.group_size = scheme.group_size;
  view.scale_rows = scheme.block_rows;
  const int64_t rows = kernels::NumGroups(view.n, scheme.block_rows);
  const int64_t columns = kernels::NumGroups(view.k, scheme.group_size);
  std::vector<Shape> shapes = {{rows, columns}};
  if (quantization_.method == ForeignMethod::kModelOpt) {
    // ModelOpt keeps the sizes inside a block, of 1; one block has none.
    shapes.push_back({rows, 1, columns, 1});
    if (rows == 1 && columns == 1) shapes.push_back({});
  }
  ZQFP_ASSIGN_OR_RETURN(linear->scales, TakeScales(names, shapes));
  view.group_scale = linear->scales.data();
  linear->origin +=
      fmt::format(" {} x {}", scheme.block_rows, scheme.group_size);
  return absl::OkStatus();
}

// What the file has for the inputs: used, or passed over where they stay f32.
absl::Status ForeignBinder::BindInputs(const ForeignScheme& scheme,
                                       LinearWeight* linear) {
  const std::string scale = linear->name + ".input_scale";
  const std::string other = linear->name + ".activation_scale";
  if (quantization_.weight_only) {
    for (const std::string& name :
         {scale, other, linear->name + ".input_global_scale"}) {
      taken_.insert(name);
    }
    return absl::OkStatus();
  }
  linear->activations = scheme.activations;
  linear->input_group = scheme.activation_group;
  if (scheme.activations != ActivationFormat::kE4m3Static) {
    return absl::OkStatus();
  }
  ZQFP_ASSIGN_OR_RETURN(linear->input_scale, TakeScalar({scale, other}));
  return absl::OkStatus();
}

absl::Status ForeignBinder::Bind(const ForeignScheme& scheme,
                                 LinearWeight* linear) {
  ZQFP_RETURN_IF_ERROR(BindInputs(scheme, linear));
  switch (scheme.weights) {
    case ForeignWeights::kMxfp4:
      return BindMxfp4(scheme, linear);
    case ForeignWeights::kNvfp4:
      return BindNvfp4(scheme, linear);
    case ForeignWeights::kE4m3Tensor:
    case ForeignWeights::kE4m3Channel:
    case ForeignWeights::kE4m3Block:
      return BindE4m3(scheme, linear);
  }
  return absl::OkStatus();
}

}  // namespace zqfp
