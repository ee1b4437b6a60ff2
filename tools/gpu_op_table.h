// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_OP_TABLE_H_
#define ZQFP_TOOLS_GPU_OP_TABLE_H_

// T6: the ops that are neither a matmul nor attention.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

void MeasureSmallOps(GpuBench& bench, Deadline deadline, ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_OP_TABLE_H_
