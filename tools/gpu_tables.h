// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_TABLES_H_
#define ZQFP_TOOLS_GPU_TABLES_H_

// zqfp-bench --gpu-tables: everything there is to know of a chip, in one run
// and a given time. Each table has a share of it, and leaves the rest of its
// share to those after it; one that is cut says which rows are missing.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "tools/gpu_sizes.h"
#include "tools/report_table.h"

namespace zqfp::tools {

// "T0", "T0b", .. in the order in which they are measured: the most important
// first.
std::vector<std::string> GpuTableNames();

// The tables of a list such as "T0,T4", or of "all". T9 are columns of T2. T0
// is always there, because the others are held against it. A usage error names
// the tables there are.
absl::StatusOr<std::vector<std::string>> ParseGpuTables(
    const std::string& list);

struct GpuTablesArgs {
  std::vector<std::string> tables;
  double seconds = 420;  // for all that there are; fewer tables take less
  GpuTableSizes sizes;
  // Is handed every table when it is done.
  std::function<absl::Status(const ReportTable&)> done;
};

// Unimplemented for a backend that cannot be measured. Internal, in the end,
// where a row could not be.
absl::Status MeasureGpuTables(const kernels::Backend& backend,
                              const GpuTablesArgs& args);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_TABLES_H_
