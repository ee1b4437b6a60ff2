// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PACK_WEIGHT_H_
#define ZQFP_KERNELS_CUDA_PACK_WEIGHT_H_

// From a weight as it is on disk to the order of packed_weight.h, on the
// device.

#include "kernels/core/ops.h"
#include "kernels/cuda/packed_weight.h"

namespace zqfp::kernels::cuda {

// Enqueues the writing of `packed`, of DescribePacked(weight, packed).num_bytes
// bytes. The arrays of `weight` are on the device; its format has a packed
// form.
void PackWeight(const WeightView& weight, void* packed, const Exec& exec);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PACK_WEIGHT_H_
