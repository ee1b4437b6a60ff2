// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_SWITCHES_H_
#define ZQFP_KERNELS_CUDA_SWITCHES_H_

// What the environment turns off, so that a fault can be narrowed down and a
// gain measured. Read once a process.

namespace zqfp::kernels::cuda {

// Whether kernels may overlap (launch.h): ZQFP_CUDA_OVERLAP is not 0.
bool LaunchesOverlap();
// Whether a step that comes again is launched as one graph: ZQFP_CUDA_GRAPHS is
// not 0.
bool StepsAreGraphs();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_SWITCHES_H_
