// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_tensor_kernel.cuh"

namespace zqfp::kernels::cuda {

template void LaunchTensorOf<ValueFormat::kE4m3>(const AttentionPlan& plan,
                                                 const Exec& exec);

}  // namespace zqfp::kernels::cuda
