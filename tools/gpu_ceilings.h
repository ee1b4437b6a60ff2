// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_CEILINGS_H_
#define ZQFP_TOOLS_GPU_CEILINGS_H_

// T0: what the chip can do at most, in this run: bandwidth, the library's
// matrix products, tensor cores from registers, launches. The other tables are
// held against these. T0b: for which tokens the library has FP8 products with a
// scale per row and token.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

// T0, and GpuBench::ceilings.
void MeasureCeilings(GpuBench& bench, Deadline deadline, ReportTable* table);
// Of these alone the bytes that are read in a second.
absl::StatusOr<double> MeasureGpuRead(const kernels::Backend& backend);
void MeasureLibrarySupport(GpuBench& bench, Deadline deadline,
                           ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_CEILINGS_H_
