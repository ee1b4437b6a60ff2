// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/layer_store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "kernels/core/status_macros.h"
#include "kernels/core/views.h"
#include "models/file_output.h"
#include "models/mapped_file.h"
#include "models/safetensors_writer.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxJobBytes = 1 << 20;
constexpr char kJobFile[] = "job.json";

// A report as numbers, in this order.
using ReportNumbers = std::array<double, 7>;

ReportNumbers ToNumbers(const QuantizedLinear& linear) {
  const RoundingReport& report = linear.rounding;
  return {report.squared_error,
          report.squared_sum,
          static_cast<double>(report.num_weights),
          static_cast<double>(report.max_shift),
          static_cast<double>(report.clamped_groups),
          static_cast<double>(report.clamped_rows),
          linear.output_error};
}

// Numbers 2 .. 5 are counts: below 2^53, so that they survive.
bool AreSound(const ReportNumbers& numbers) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    const bool is_count = i >= 2 && i <= 5;
    const double most = i == 3 ? kernels::kMaxShift : 0x1p53;
    if (!std::isfinite(numbers[i])) return false;
    if (is_count && !(numbers[i] >= 0 && numbers[i] <= most)) return false;
  }
  return true;
}

void FromNumbers(const ReportNumbers& numbers, QuantizedLinear* linear) {
  linear->rounding = {.squared_error = numbers[0],
                      .squared_sum = numbers[1],
                      .num_weights = static_cast<int64_t>(numbers[2]),
                      .max_shift = static_cast<int>(numbers[3]),
                      .clamped_groups = static_cast<int64_t>(numbers[4]),
                      .clamped_rows = static_cast<int64_t>(numbers[5])};
  linear->output_error = numbers[6];
}

// What a job that was killed while it wrote its job file leaves of it.
bool IsPartOfJobFile(const std::string& name) {
  return name.starts_with(std::string(kJobFile) + ".") &&
         name.ends_with(".partial");
}

// Whether it is a directory all of whose entries have such names.
template <typename Predicate>
bool HoldsOnly(const fs::path& path, const Predicate& has_name) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return false;
  for (fs::directory_iterator at(path, error), end; !error && at != end;
       at.increment(error)) {
    if (!has_name(at->path().filename().string())) return false;
  }
  return !error;
}

// What may be removed: a directory that holds what a job writes and no more.
bool IsOurs(const fs::path& path) {
  return HoldsOnly(path, [](const std::string& name) {
    return name == kJobFile || name.starts_with("layer-") ||
           IsPartOfJobFile(name);
  });
}

// Whether the job was killed before its first word was on the disk.
bool NeverBegan(const fs::path& path) {
  return HoldsOnly(path, IsPartOfJobFile);
}

absl::Status StartOver(const fs::path& path, const std::string& job) {
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) fs::create_directories(path, error);
  if (error) return FileError(path.string(), "create", error);
  return ReplaceFile((path / kJobFile).string(), job);
}

}  // namespace

absl::StatusOr<LayerStore> LayerStore::Open(const std::string& output,
                                            const std::string& job,
                                            IfInterrupted if_interrupted) {
  std::error_code error;
  fs::path target = fs::absolute(output, error).lexically_normal();
  if (error) return FileError(output, "find", error);
  if (!target.has_filename()) target = target.parent_path();
  const fs::path path = target.string() + ".layers";
  const bool exists = fs::exists(path, error);
  if (!exists || NeverBegan(path) ||
      if_interrupted == IfInterrupted::kStartOver) {
    if (exists && !IsOurs(path)) {
      return absl::AlreadyExistsError(fmt::format(
          "{}: want a directory with {} and layers, which would be removed, "
          "found something else",
          path.string(), kJobFile));
    }
    ZQFP_RETURN_IF_ERROR(StartOver(path, job));
    return LayerStore(path.string());
  }
  if (if_interrupted == IfInterrupted::kRefuse) {
    return absl::AlreadyExistsError(fmt::format(
        "{}: these layers are of a job that was interrupted; --resume goes on "
        "with it, --overwrite begins anew",
        path.string()));
  }
  const absl::StatusOr<std::string> found =
      ReadSmallFile((path / kJobFile).string(), kMaxJobBytes);
  if (!found.ok() || *found != job) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: want the layers of the same job (input, calibration, options), "
        "found those of another; --overwrite begins anew",
        path.string()));
  }
  return LayerStore(path.string());
}

std::string LayerStore::FileOf(int64_t layer_index) const {
  return fmt::format("{}/layer-{:05}.safetensors", path_, layer_index);
}

absl::Status LayerStore::Write(
    int64_t layer_index, const std::vector<QuantizedLinear>& linears) const {
  std::vector<TensorPlan> plan;
  for (const QuantizedLinear& linear : linears) {
    for (const QuantizedLinear::Piece& piece : linear.pieces) {
      plan.push_back(piece.plan);
    }
    plan.push_back({linear.name + ".report",
                    DType::kF64,
                    {static_cast<int64_t>(ReportNumbers().size())}});
  }
  if (plan.empty()) return absl::OkStatus();  // every linear is kept
  ZQFP_ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(FileOf(layer_index), std::move(plan)));
  for (const QuantizedLinear& linear : linears) {
    for (const QuantizedLinear::Piece& piece : linear.pieces) {
      ZQFP_RETURN_IF_ERROR(writer.Append(piece.bytes));
    }
    const ReportNumbers numbers = ToNumbers(linear);
    ZQFP_RETURN_IF_ERROR(writer.Append(
        {reinterpret_cast<const uint8_t*>(numbers.data()), sizeof(numbers)}));
  }
  return writer.Finish();
}

absl::StatusOr<std::vector<QuantizedLinear>> LayerStore::Read(
    int64_t layer_index, const std::vector<Shape>& shapes,
    const LinearScheme& scheme) const {
  std::vector<QuantizedLinear> linears;
  std::error_code error;
  if (!fs::exists(FileOf(layer_index), error)) return linears;
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint file,
                        Checkpoint::OpenFile(FileOf(layer_index)));
  for (const Shape& shape : shapes) {
    ZQFP_ASSIGN_OR_RETURN(
        QuantizedLinear linear,
        ReadLinear(file, shape.name, shape.n, shape.k, scheme));
    ZQFP_ASSIGN_OR_RETURN(const Tensor* report,
                          file.Get(shape.name + ".report"));
    ReportNumbers numbers;
    if (report->dtype != DType::kF64 || report->num_bytes != sizeof(numbers)) {
      return absl::DataLossError(
          fmt::format("{}: {}: want F64 [{}], found {}", report->file,
                      report->name, numbers.size(), Describe(*report)));
    }
    memcpy(numbers.data(), report->data, sizeof(numbers));
    if (!AreSound(numbers)) {
      return absl::DataLossError(
          fmt::format("{}: {}: want errors and counts of a rounding, found {}",
                      report->file, report->name, fmt::join(numbers, ", ")));
    }
    FromNumbers(numbers, &linear);
    linears.push_back(std::move(linear));
  }
  return linears;
}

int64_t LayerStore::num_layers() const {
  int64_t count = 0;
  std::error_code error;
  while (fs::exists(FileOf(count), error)) ++count;
  return count;
}

void LayerStore::Remove() const {
  std::error_code error;
  fs::remove_all(path_, error);
}

}  // namespace zqfp
