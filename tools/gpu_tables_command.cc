// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_tables_command.h"

#include <fmt/format.h>
#include <stdio.h>

#include "absl/flags/flag.h"
#include "kernels/backend.h"
#include "kernels/core/status_macros.h"
#include "tools/gpu_tables.h"
#include "tools/output_file.h"
#include "tools/print.h"

ABSL_FLAG(
    std::string, gpu_tables, "",
    "instead of all that: what the GPU and our kernels can do, beside "
    "cuBLASLt. T0 ceilings, T0b FP8 that cuBLASLt offers, T1 unpacking, T2 "
    "and T2b matmuls with their errors (T9), T3 groups, T4 and T5 attention, "
    "T6 small ops, T7 the ops of "
    "a decode step, T8 whole models; or some of them, --gpu-tables=T0,T2");
ABSL_FLAG(double, seconds, 420,
          "--gpu-tables: time for all of them; a table that is cut says so");
ABSL_FLAG(std::string, tables_json, "",
          "--gpu-tables: file for the same as JSON, complete after each table");

namespace zqfp::tools {

FlagGroup GpuTablesFlagGroup() {
  return {"a GPU", {kGpuTablesFlag, "seconds", "tables_json"}};
}

bool WantsGpuTables() { return !absl::GetFlag(FLAGS_gpu_tables).empty(); }

absl::Status RunGpuTables(GpuTablesOutput output) {
  const bool as_text = output == GpuTablesOutput::kText;
  GpuTablesArgs args;
  ZQFP_ASSIGN_OR_RETURN(args.tables,
                        ParseGpuTables(absl::GetFlag(FLAGS_gpu_tables)));
  args.seconds = absl::GetFlag(FLAGS_seconds);
  if (!(args.seconds >= 1 && args.seconds <= 86400)) {
    return UsageError(
        fmt::format("--seconds: want 1..86400, found {}", args.seconds));
  }
  const std::string path = absl::GetFlag(FLAGS_tables_json);
  if (!path.empty()) ZQFP_RETURN_IF_ERROR(CheckOutputFile(path));
  ZQFP_ASSIGN_OR_RETURN(const kernels::Backend backend,
                        kernels::SelectBackend("cuda"));
  if (backend.device == nullptr) return MeasureGpuTables(backend, args);
  CatchInterrupt();
  args.sizes = FullSizes();
  nlohmann::ordered_json json = {{"version", Version()},
                                 {"device", backend.device->Describe()},
                                 {"tables", nlohmann::ordered_json::array()}};
  if (as_text) {
    Print("zqfp {} on {}\n", Version(), backend.device->Describe());
  }
  args.done = [&](const ReportTable& table) {
    if (as_text) Print("{}", TableText(table));
    fflush(stdout);
    json["tables"].push_back(TableJson(table));
    return path.empty() ? absl::OkStatus()
                        : WriteOutputFile(path, json.dump(1) + "\n");
  };
  const absl::Status status = MeasureGpuTables(backend, args);
  if (!as_text) Print("{}\n", json.dump());
  return status;
}

}  // namespace zqfp::tools
