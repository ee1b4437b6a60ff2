// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_split.h"
#include "kernels/core/status_macros.h"
#include "tools/command_line.h"
#include "tools/gpu_attention_tables.h"
#include "tools/gpu_bench.h"
#include "tools/gpu_ceilings.h"
#include "tools/gpu_layer_table.h"
#include "tools/gpu_matmul_tables.h"
#include "tools/gpu_model_table.h"
#include "tools/gpu_op_table.h"

namespace zqfp::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct TableMaker {
  const char* id;
  double share;  // of the time
  void (*measure)(GpuBench&, Deadline, ReportTable*);
};

constexpr TableMaker kMakers[] = {
    {"T0", 0.05, MeasureCeilings},        {"T0b", 0.02, MeasureLibrarySupport},
    {"T2", 0.25, MeasureMatmuls},         {"T7", 0.04, MeasureLayers},
    {"T8", 0.20, MeasureModels},          {"T1", 0.03, MeasureUnpacking},
    {"T4", 0.12, MeasureDecodeAttention}, {"T5", 0.05, MeasurePrefillAttention},
    {"T6", 0.05, MeasureSmallOps},        {"T3", 0.06, MeasureGroups},
    {"T2b", 0.13, MeasureMoreMatmuls},
};

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<std::string> GpuTableNames() {
  std::vector<std::string> names;
  for (const TableMaker& maker : kMakers) names.push_back(maker.id);
  return names;
}

absl::StatusOr<std::vector<std::string>> ParseGpuTables(
    const std::string& list) {
  const std::vector<std::string> known = GpuTableNames();
  if (list == "all") return known;
  std::vector<std::string> wanted = {"T0"};
  for (const auto& part : absl::StrSplit(list, ',')) {
    const std::string name(part == "T9" ? "T2" : part);
    if (!Holds(known, name)) {
      return UsageError(fmt::format("--gpu-tables: want some of {}, found '{}'",
                                    fmt::join(known, ","), name));
    }
    wanted.push_back(name);
  }
  std::vector<std::string> tables;
  for (const std::string& name : known) {
    if (Holds(wanted, name)) tables.push_back(name);
  }
  return tables;
}

absl::Status MeasureGpuTables(const kernels::Backend& backend,
                              const GpuTablesArgs& args) {
  if (backend.device == nullptr || backend.lab == nullptr) {
    return absl::UnimplementedError(fmt::format(
        "--gpu-tables: want a GPU's backend, found {}", backend.name));
  }
  GpuBench bench(backend, args.sizes);
  const Clock::time_point start = Clock::now();
  double until = 0;
  size_t num_failed = 0;
  for (const TableMaker& maker : kMakers) {
    if (!Holds(args.tables, maker.id)) continue;
    until += maker.share * args.seconds;
    ReportTable table = {.id = maker.id};
    const Clock::time_point begin = Clock::now();
    maker.measure(bench,
                  start + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(until)),
                  &table);
    table.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    num_failed += table.failed.size();
    ZQFP_RETURN_IF_ERROR(args.done(table));
    if (Interrupted()) return absl::CancelledError("interrupted");
  }
  if (num_failed == 0) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("{} rows could not be measured", num_failed));
}

}  // namespace zqfp::tools
