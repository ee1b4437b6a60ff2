// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_MATMUL_TABLES_H_
#define ZQFP_TOOLS_GPU_MATMUL_TABLES_H_

// T1: unpacking e2m1 to e4m3. T2: matrix products beside the library's, and
// how far they are from the exact ones (T9). T3: groups and scales.

#include "tools/gpu_bench.h"

namespace zqfp::tools {

void MeasureUnpacking(GpuBench& bench, Deadline deadline, ReportTable* table);
// T2 of first_tokens, and of other_tokens.
void MeasureMatmuls(GpuBench& bench, Deadline deadline, ReportTable* table);
void MeasureMoreMatmuls(GpuBench& bench, Deadline deadline, ReportTable* table);
void MeasureGroups(GpuBench& bench, Deadline deadline, ReportTable* table);

// What design asks of a product of m tokens, and whether it is there: "71 % of
// copy, want 65". Empty where it asks nothing.
std::string MatmulTarget(int64_t m, double weight_bytes, double copy_share,
                         double times_fp8);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_MATMUL_TABLES_H_
