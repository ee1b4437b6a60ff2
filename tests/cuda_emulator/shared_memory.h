// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_SHARED_MEMORY_H_
#define ZQFP_TESTS_CUDA_EMULATOR_SHARED_MEMORY_H_

// The shared memory of the block that runs, static and dynamic, and the names
// of kernels.

#include <stdint.h>

#include <string>

namespace zqfp::kernels::emulator {

// Fills every `__shared__` variable of the program with 0xff.
void PoisonStaticShared();

// Sets the size of the dynamic shared memory and fills it with 0xff.
void PoisonDynamicShared(int64_t num_bytes);

// Whether nobody wrote between the dynamic memory's last byte and the page
// behind it (its start is aligned, so its end need not be at the page).
bool DynamicSharedIsWhole(int64_t num_bytes);

// "zqfp::kernels::cuda_emulated::(anonymous namespace)::RmsNormRows<4>".
std::string KernelName(const void* kernel);

}  // namespace zqfp::kernels::emulator

#endif  // ZQFP_TESTS_CUDA_EMULATOR_SHARED_MEMORY_H_
