// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_ATTENTION_TABLES_H_
#define ZQFP_TOOLS_GPU_ATTENTION_TABLES_H_

// T4: attention of generation, bound by reading keys and values. T5: attention
// of prompts, bound by arithmetic.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

void MeasureDecodeAttention(GpuBench& bench, Deadline deadline,
                            ReportTable* table);
void MeasurePrefillAttention(GpuBench& bench, Deadline deadline,
                             ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_ATTENTION_TABLES_H_
