// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/float_rows.h"

#include <string.h>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

float ReadFloat(DType dtype, const uint8_t* data, int64_t index) {
  if (dtype == DType::kF32) {
    float value;
    memcpy(&value, data + index * 4, 4);
    return value;
  }
  uint16_t code;
  memcpy(&code, data + index * 2, 2);
  return dtype == DType::kBf16 ? kernels::Bf16ToFloat(code)
                               : kernels::F16ToFloat(code);
}

}  // namespace

void LoadFloats(DType dtype, const uint8_t* data, int64_t count,
                const kernels::Exec& exec, std::vector<float>* floats) {
  floats->resize(static_cast<size_t>(count));
  float* out = floats->data();
  kernels::ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      out[i] = ReadFloat(dtype, data, i);
    }
  });
}

}  // namespace zqfp
