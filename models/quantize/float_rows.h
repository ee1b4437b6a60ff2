// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_FLOAT_ROWS_H_
#define ZQFP_MODELS_QUANTIZE_FLOAT_ROWS_H_

// Full-precision weights as f32, whatever they are stored in.

#include <stdint.h>

#include <vector>

#include "kernels/core/ops.h"
#include "models/safetensors.h"

namespace zqfp {

// `count` numbers of f32, bf16 or f16 that begin at `data`.
void LoadFloats(DType dtype, const uint8_t* data, int64_t count,
                const kernels::Exec& exec, std::vector<float>* floats);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_FLOAT_ROWS_H_
