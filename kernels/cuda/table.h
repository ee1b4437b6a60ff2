// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_TABLE_H_
#define ZQFP_KERNELS_CUDA_TABLE_H_

// The table "cuda".

#include "kernels/core/ops.h"

namespace zqfp::kernels::cuda {

extern const OpTable kTable;

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_TABLE_H_
