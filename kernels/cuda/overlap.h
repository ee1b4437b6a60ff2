// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_OVERLAP_H_
#define ZQFP_KERNELS_CUDA_OVERLAP_H_

namespace zqfp::kernels::cuda {

// Whether kernels may overlap (launch.h): yes, unless ZQFP_CUDA_OVERLAP is 0,
// with which a fault can be narrowed down and the gain measured.
bool LaunchesOverlap();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_OVERLAP_H_
