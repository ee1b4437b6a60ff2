// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_layer_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "kernels/core/status_macros.h"
#include "kernels/op_profile.h"
#include "tools/profile_report.h"
#include "tools/workload.h"

namespace zqfp::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Row = std::vector<Cell>;

constexpr kernels::ValueFormat kKvFormat = kernels::ValueFormat::kE4m3;

// Seconds of a decode step of `model`, the median.
absl::StatusOr<double> TimeStep(const GpuBench& bench, Model& model,
                                int64_t batch, kernels::OpProfile* profile) {
  const int64_t steps = bench.sizes().decode_steps;
  const int64_t context = bench.sizes().contexts.front();
  ZQFP_ASSIGN_OR_RETURN(
      Workload workload,
      Workload::Create(&model, kKvFormat, batch,
                       context + Workload::kWarmSteps + steps));
  ZQFP_RETURN_IF_ERROR(workload.Warm(context));
  if (profile != nullptr) profile->Clear();
  ZQFP_ASSIGN_OR_RETURN(std::vector<double> seconds, workload.TimeSteps(steps));
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

absl::StatusOr<std::unique_ptr<Model>> Load(const GpuBench& bench,
                                            kernels::OpProfile* profile) {
  return Model::Random(bench.sizes().models.front().config, 1,
                       {.backend = bench.backend().name, .profile = profile});
}

// Steps that are recorded and overlap, by batch.
absl::Status TimeRecorded(const GpuBench& bench, std::vector<double>* seconds) {
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        Load(bench, nullptr));
  for (const int64_t batch : bench.sizes().layer_batches) {
    ZQFP_ASSIGN_OR_RETURN(seconds->emplace_back(),
                          TimeStep(bench, *model, batch, nullptr));
  }
  return absl::OkStatus();
}

Row SumRow(int64_t batch, const char* name, double seconds, double step) {
  return {static_cast<double>(batch),
          name,
          {},
          {},
          1e3 * seconds,
          seconds / step,
          {},
          {}};
}

// The rows of one batch: an op each, then sums.
std::vector<Row> RowsOfBatch(const GpuBench& bench, int64_t batch,
                             const PhaseProfile& phase, double recorded) {
  std::vector<Row> rows;
  const double step = phase.seconds / static_cast<double>(phase.steps);
  double sum = 0;
  for (const ProfileRow& op : RowsOf(phase)) {
    if (op.calls == 0) continue;  // the rest
    sum += op.seconds;
    const double floor_us = bench.ceilings().FloorUs(op.bytes, op.flop);
    Row row = {static_cast<double>(batch),
               op.name,
               op.calls,
               1e6 * op.seconds / op.calls,
               1e3 * op.seconds,
               op.seconds / step,
               {},
               {}};
    if (op.bytes > 0) {
      row[6] = op.bytes_per_s() / 1e9;
      row[7] = floor_us / (1e6 * op.seconds);
    }
    rows.push_back(std::move(row));
  }
  rows.push_back(SumRow(batch, "sum of the ops, one by one", sum, step));
  rows.push_back(SumRow(batch, "a step of such ops", step, step));
  rows.push_back(
      SumRow(batch, "a step, recorded, overlapping", recorded, step));
  return rows;
}

absl::Status MeasureBatch(const GpuBench& bench, Model& model, int64_t batch,
                          kernels::OpProfile* profile, double recorded,
                          ReportTable* table) {
  ZQFP_ASSIGN_OR_RETURN(const double step,
                        TimeStep(bench, model, batch, profile));
  const int64_t steps = bench.sizes().decode_steps;
  const PhaseProfile phase = {.steps = steps,
                              .seconds = step * static_cast<double>(steps),
                              .ops = profile->rows()};
  for (Row& row : RowsOfBatch(bench, batch, phase, recorded)) {
    table->rows.push_back(std::move(row));
  }
  return absl::OkStatus();
}

absl::Status MeasureAll(const GpuBench& bench, Deadline deadline,
                        ReportTable* table) {
  std::vector<double> recorded;
  ZQFP_RETURN_IF_ERROR(TimeRecorded(bench, &recorded));
  kernels::OpProfile profile;
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        Load(bench, &profile));
  NameParts(*model, &profile);
  const std::vector<int64_t>& batches = bench.sizes().layer_batches;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (Clock::now() >= deadline) {
      table->left_out.push_back(fmt::format("batch {}", batches[i]));
      continue;
    }
    ZQFP_RETURN_IF_ERROR(
        MeasureBatch(bench, *model, batches[i], &profile, recorded[i], table));
  }
  return absl::OkStatus();
}

}  // namespace

void MeasureLayers(GpuBench& bench, Deadline deadline, ReportTable* table) {
  const GpuTableSizes& sizes = bench.sizes();
  table->title = fmt::format("the ops of a decode step, {}, context {}",
                             sizes.models.front().name, sizes.contexts.front());
  table->columns = {{"batch", "batch", 0},   {"op", "op"},
                    {"calls", "calls", 1},   {"us", "us/call", 2},
                    {"ms", "ms/step", 3},    {"share", "of step", 2},
                    {"gb_per_s", "GB/s", 0}, {"floor_share", "of floor", 2}};
  if (Clock::now() >= deadline) {
    table->left_out.push_back("all");
    return;
  }
  const absl::Status status = MeasureAll(bench, deadline, table);
  if (!status.ok()) table->failed.emplace_back(status.message());
  table->notes = {
      "events around every op, which keep it from overlapping its neighbours; "
      "shares of a step that runs so. The floor is that of T8. The last row of "
      "a batch is the step as users have it, from ids to the best logits"};
}

}  // namespace zqfp::tools
