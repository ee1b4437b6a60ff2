// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_decode_kernel.cuh"

namespace zqfp::kernels::cuda {

template void LaunchDecodeOf<ValueFormat::kF32>(const AttentionPlan& plan,
                                                const Exec& exec);

}  // namespace zqfp::kernels::cuda
