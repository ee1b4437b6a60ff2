// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_TABLES_H_
#define ZQFP_KERNELS_CPU_TABLES_H_

// The tables of the instruction sets: above the x86-64 baseline, or of every
// AArch64. A null slot falls to the next table down.

#include "kernels/core/ops.h"

namespace zqfp::kernels {

#if defined(__x86_64__)
extern const OpTable kAvx2Table;        // AVX2, FMA, F16C
extern const OpTable kAvx512Table;      // AVX-512 F, BW, VL, DQ
extern const OpTable kAvx512VnniTable;  // and 16-bit integer dot products
extern const OpTable kAvx512Bf16Table;  // AVX-512 and BF16 dot products
extern const OpTable kAmxTable;         // all of these and tiles of BF16
#elif defined(__aarch64__)
extern const OpTable kNeonTable;  // NEON as in Armv8.0-A
#endif

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CPU_TABLES_H_
