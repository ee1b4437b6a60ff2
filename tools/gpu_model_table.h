// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_MODEL_TABLE_H_
#define ZQFP_TOOLS_GPU_MODEL_TABLE_H_

// T8: whole models of published shapes, random weights: prompts and generation.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

void MeasureModels(GpuBench& bench, Deadline deadline, ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_MODEL_TABLE_H_
