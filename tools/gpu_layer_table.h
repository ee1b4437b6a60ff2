// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_LAYER_TABLE_H_
#define ZQFP_TOOLS_GPU_LAYER_TABLE_H_

// T7: where the time of a decode step goes, op by op, and what is left of the
// ops' sum when they are recorded and overlap.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

void MeasureLayers(GpuBench& bench, Deadline deadline, ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_LAYER_TABLE_H_
