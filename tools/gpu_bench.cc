// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_bench.h"

#include <algorithm>
#include <utility>

#include "kernels/core/status_macros.h"
#include "tools/command_line.h"

namespace zqfp::tools {
namespace {

using kernels::DeviceMemory;
using kernels::LibraryGemm;
using kernels::Timing;

constexpr int64_t kMostCopies = 256;

}  // namespace

double GpuCeilings::FloorUs(double bytes, double flop) const {
  const double memory = memory_bytes() > 0 ? bytes / memory_bytes() : 0;
  const double arithmetic = most_fp8_flop() > 0 ? flop / most_fp8_flop() : 0;
  return 1e6 * std::max(memory, arithmetic);
}

int64_t GpuBench::Copies(int64_t num_bytes) const {
  const int64_t copies = (sizes_.rotated_bytes + num_bytes - 1) / num_bytes;
  return std::clamp<int64_t>(copies, 1, kMostCopies);
}

absl::StatusOr<DeviceMemory> GpuBench::Random(kernels::RandomKind kind,
                                              int64_t count, float unit) {
  ZQFP_ASSIGN_OR_RETURN(DeviceMemory memory,
                        device().Allocate(count * kernels::BytesOf(kind)));
  seed_ = kernels::MixBits(seed_);
  lab().Fill(kind, seed_, unit, count, memory.get());
  return memory;
}

absl::StatusOr<DeviceMemory> GpuBench::Upload(const void* data,
                                              int64_t num_bytes) {
  ZQFP_ASSIGN_OR_RETURN(DeviceMemory memory, device().Allocate(num_bytes));
  ZQFP_RETURN_IF_ERROR(device().Upload(data, num_bytes, memory.get()));
  return memory;
}

absl::StatusOr<kernels::Exec> GpuBench::ExecWith(int64_t workspace_bytes) {
  if (workspace_bytes > workspace_bytes_) {
    ZQFP_RETURN_IF_ERROR(device().Synchronize());
    workspace_ = nullptr;
    workspace_bytes_ = 0;
    ZQFP_ASSIGN_OR_RETURN(workspace_, device().Allocate(workspace_bytes));
    workspace_bytes_ = workspace_bytes;
  }
  return kernels::Exec{.workspace = workspace_.get(),
                       .stream = device().stream()};
}

absl::StatusOr<Timing> GpuBench::Time(
    int64_t rotation, const std::function<void(int64_t)>& enqueue) {
  return TimeWithin({.rotation = rotation,
                     .sample_us = sizes_.sample_us,
                     .samples = sizes_.samples,
                     .most_seconds = sizes_.most_seconds},
                    enqueue);
}

absl::StatusOr<Timing> GpuBench::TimeWithin(
    kernels::TimeLimits limits, const std::function<void(int64_t)>& enqueue) {
  const absl::StatusOr<Timing> recorded = lab().TimeRepeated(limits, enqueue);
  if (recorded.ok()) return recorded;
  limits.as = kernels::TimedAs::kLaunches;
  const absl::StatusOr<Timing> launched = lab().TimeRepeated(limits, enqueue);
  if (launched.ok()) {
    const std::string remark = "a figure is of launches one by one: " +
                               std::string(recorded.status().message());
    if (remarks_.empty() || remarks_.back() != remark) {
      remarks_.push_back(remark);
    }
  }
  return launched;
}

std::vector<std::string> GpuBench::TakeRemarks() {
  return std::exchange(remarks_, {});
}

absl::StatusOr<std::optional<Timing>> GpuBench::TimeLibrary(
    int64_t rotation, const std::function<LibraryGemm(int64_t)>& gemm_of) {
  ZQFP_ASSIGN_OR_RETURN(const kernels::Exec exec,
                        ExecWith(kernels::kLibraryWorkspaceBytes));
  absl::Status refused;  // the first refusal of an algorithm
  const auto time = [&](int64_t algorithm, const kernels::TimeLimits& limits) {
    refused = absl::OkStatus();
    return TimeWithin(limits, [&](int64_t call) {
      refused.Update(lab().Multiply(gemm_of(call), algorithm, exec.workspace));
    });
  };
  const int64_t num_algorithms = lab().NumAlgorithms(gemm_of(0));
  int64_t best = -1;
  double best_us = 0;
  for (int64_t i = 0; i < num_algorithms; ++i) {
    ZQFP_ASSIGN_OR_RETURN(const Timing trial,
                          time(i, {.rotation = rotation,
                                   .sample_us = sizes_.sample_us,
                                   .most_seconds = 0}));
    if (!refused.ok() || (best >= 0 && trial.min_us >= best_us)) continue;
    best = i;
    best_us = trial.min_us;
  }
  if (best < 0) return std::optional<Timing>();
  ZQFP_ASSIGN_OR_RETURN(const Timing timing,
                        time(best, {.rotation = rotation,
                                    .sample_us = sizes_.sample_us,
                                    .samples = sizes_.samples,
                                    .most_seconds = sizes_.most_seconds}));
  return std::optional<Timing>(timing);
}

void MeasureRows(const std::vector<RowJob>& jobs, Deadline deadline,
                 ReportTable* table) {
  for (const RowJob& job : jobs) {
    if (std::chrono::steady_clock::now() >= deadline || Interrupted()) {
      table->left_out.push_back(job.name);
      continue;
    }
    absl::StatusOr<std::vector<Cell>> row = job.measure();
    if (row.ok()) {
      table->rows.push_back(*std::move(row));
    } else {
      table->failed.push_back(job.name + ": " +
                              std::string(row.status().message()));
    }
  }
}

}  // namespace zqfp::tools
