// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_CUDA_RUNTIME_H_
#define ZQFP_TESTS_CUDA_EMULATOR_CUDA_RUNTIME_H_

// Stands in for the toolkit's header of this name when the host's compiler
// takes kernels/cuda/*.cu: what those files use, and nothing more.

#include "tests/cuda_emulator/host_api.h"
#include "tests/cuda_emulator/thread_api.h"
#include "tests/cuda_emulator/vector_types.h"

#endif  // ZQFP_TESTS_CUDA_EMULATOR_CUDA_RUNTIME_H_
