// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_TABLES_COMMAND_H_
#define ZQFP_TOOLS_GPU_TABLES_COMMAND_H_

// What zqfp-bench does with --gpu-tables.

#include "absl/status/status.h"
#include "tools/command_line.h"

namespace zqfp::tools {

// --gpu-tables, --seconds, --tables-json.
FlagGroup GpuTablesFlagGroup();
inline constexpr char kGpuTablesFlag[] = "gpu_tables";

bool WantsGpuTables();

enum class GpuTablesOutput { kText, kJson };

// Prints the tables as they are done, or one JSON object in the end; what
// --tables-json names holds those that are done. FailedPrecondition where there
// is no GPU.
absl::Status RunGpuTables(GpuTablesOutput output);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_TABLES_COMMAND_H_
