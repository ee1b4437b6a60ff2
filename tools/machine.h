// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_MACHINE_H_
#define ZQFP_TOOLS_MACHINE_H_

// What this machine can do and what this process takes of it.

#include <stdint.h>

#include <string>

#include "kernels/cpu/thread_pool.h"

namespace zqfp::tools {

// Model name of the processor, as the kernel tells it.
std::string CpuName();

// Largest resident memory of this process so far.
int64_t PeakRssBytes();

// Bytes per second that the pool's threads read from memory together: the best
// slice of several passes over a buffer far larger than the caches. 0 where the
// buffer cannot be had.
double MeasureReadBandwidth(kernels::ThreadPool& pool);

// Flops per second that the pool's threads do together with `multiply`
// (OpTable): the best of some slices. 0 where there is no such loop.
double MeasureMultiplication(kernels::ThreadPool& pool,
                             int64_t (*multiply)(int64_t) noexcept);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_MACHINE_H_
