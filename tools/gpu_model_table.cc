// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_model_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "kernels/core/status_macros.h"
#include "tools/workload.h"

namespace zqfp::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Row = std::vector<Cell>;

constexpr kernels::ValueFormat kKvFormat = kernels::ValueFormat::kE4m3;

// A model in memory, one at a time.
struct LoadedShape {
  std::string name;
  std::unique_ptr<Model> model;
  double load_s = 0;
};

absl::Status Load(GpuBench& bench, const ModelShape& shape,
                  LoadedShape* loaded) {
  if (loaded->name == shape.name) return absl::OkStatus();
  *loaded = {};
  const Clock::time_point start = Clock::now();
  ZQFP_ASSIGN_OR_RETURN(loaded->model,
                        Model::Random(shape.config, 1,
                                      {.backend = bench.backend().name,
                                       .resident_fp8 = shape.resident_fp8}));
  loaded->name = shape.name;
  loaded->load_s = std::chrono::duration<double>(Clock::now() - start).count();
  return absl::OkStatus();
}

// What a row says, whichever of the two it is of.
Row ModelRow(const LoadedShape& loaded, const char* phase, int64_t batch,
             int64_t tokens, std::vector<double> seconds, double tokens_done,
             double floor_ms) {
  std::sort(seconds.begin(), seconds.end());
  const double ms = 1e3 * seconds[seconds.size() / 2];
  const double p90 = 1e3 * seconds[seconds.size() * 9 / 10];
  return {loaded.name,
          phase,
          static_cast<double>(batch),
          static_cast<double>(tokens),
          ms,
          1e3 * seconds.front(),
          p90,
          1e3 * tokens_done / ms,
          floor_ms,
          floor_ms / ms,
          static_cast<double>(loaded.model->weight_bytes()) / 1e9,
          loaded.load_s};
}

// Bytes and flops of one step, as far as they cannot be avoided.
double StepFloorMs(const GpuBench& bench, const Model& model, double bytes,
                   double tokens) {
  const Config& config = model.config();
  const double head_dims = static_cast<double>(config.head_dim);
  const double rows =
      static_cast<double>(config.model_dim) *
      (head_dims *
           static_cast<double>(2 * config.num_heads + 2 * config.num_kv_heads) +
       3 * static_cast<double>(config.ffn_dim));
  const double flop =
      2 * tokens * rows * static_cast<double>(config.num_layers);
  return bench.ceilings().FloorUs(bytes, flop) / 1e3;
}

absl::StatusOr<Row> PromptRow(GpuBench& bench, const ModelShape& shape,
                              LoadedShape* loaded, int64_t tokens) {
  constexpr int kRepeats = 3;
  ZQFP_RETURN_IF_ERROR(Load(bench, shape, loaded));
  Model& model = *loaded->model;
  ZQFP_ASSIGN_OR_RETURN(Workload workload,
                        Workload::Create(&model, kKvFormat, 1, tokens));
  std::vector<double> times;
  for (int i = 0; i <= kRepeats; ++i) {
    workload.Rewind(0);
    ZQFP_ASSIGN_OR_RETURN(const double seconds, workload.TimeExtend(tokens));
    if (i > 0) times.push_back(seconds);  // the first one has kernels to load
  }
  const auto count = static_cast<double>(tokens);
  return ModelRow(
      *loaded, "prompt", 1, tokens, times, count,
      StepFloorMs(bench, model, static_cast<double>(model.weight_bytes()),
                  count));
}

absl::StatusOr<Row> DecodeRow(GpuBench& bench, const ModelShape& shape,
                              LoadedShape* loaded, int64_t batch,
                              int64_t context) {
  ZQFP_RETURN_IF_ERROR(Load(bench, shape, loaded));
  Model& model = *loaded->model;
  const int64_t steps = bench.sizes().decode_steps;
  ZQFP_ASSIGN_OR_RETURN(
      Workload workload,
      Workload::Create(&model, kKvFormat, batch,
                       context + Workload::kWarmSteps + steps));
  ZQFP_RETURN_IF_ERROR(workload.Warm(context));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<double> times,
                        workload.TimeSteps(steps));
  const double bytes = static_cast<double>(model.weight_bytes()) +
                       static_cast<double>(workload.kv_bytes());
  const auto tokens = static_cast<double>(batch);
  return ModelRow(*loaded, "decode", batch, context, times, tokens,
                  StepFloorMs(bench, model, bytes, tokens));
}

}  // namespace

void MeasureModels(GpuBench& bench, Deadline deadline, ReportTable* table) {
  const GpuTableSizes& sizes = bench.sizes();
  table->title =
      "whole models, random weights, W4A8 but where it says so, e4m3 keys and "
      "values";
  table->columns = {{"model", "model"},
                    {"phase", "phase"},
                    {"batch", "batch", 0},
                    {"tokens", "tokens", 0},
                    {"ms", "ms", 2},
                    {"min_ms", "min", 2},
                    {"p90_ms", "p90", 2},
                    {"tokens_per_s", "tokens/s", 1},
                    {"floor_ms", "floor ms", 2},
                    {"floor_share", "of floor", 2},
                    {"weights_gb", "weights GB", 2},
                    {"load_s", "load s", 1}};
  LoadedShape loaded;
  std::vector<RowJob> jobs;
  for (const ModelShape& shape : sizes.models) {
    for (const int64_t context : sizes.contexts) {
      for (const int64_t batch : sizes.batches) {
        jobs.push_back(
            {fmt::format("{} decode {} x {}", shape.name, batch, context),
             [&bench, &loaded, shape, batch, context] {
               return DecodeRow(bench, shape, &loaded, batch, context);
             }});
      }
    }
    for (const int64_t tokens : sizes.prompts) {
      jobs.push_back({fmt::format("{} prompt {}", shape.name, tokens),
                      [&bench, &loaded, shape, tokens] {
                        return PromptRow(bench, shape, &loaded, tokens);
                      }});
    }
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {
      "ms: of one step, or of the whole prompt, from ids to the best logits "
      "on the host; tokens: of the context, or of the prompt. The floor: "
      "weights and "
      "keys and values by T0's bandwidth, or the layers' flops by its FP8",
      "target: llama2-7b, one sequence: 800 tokens/s on an H200"};
}

}  // namespace zqfp::tools
