// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_sizes.h"

#include "tools/shapes.h"

namespace zqfp::tools {

// Llama-3-8B's "o" is Llama-2-7B's.
GpuTableSizes FullSizes() {
  GpuTableSizes sizes;
  sizes.matrices = {{"llama2-7b", "qkv", 12288, 4096},
                    {"llama2-7b", "o", 4096, 4096},
                    {"llama2-7b", "gate-up", 22016, 4096},
                    {"llama2-7b", "down", 4096, 11008},
                    {"llama3-8b", "qkv", 6144, 4096},
                    {"llama3-8b", "gate-up", 28672, 4096},
                    {"llama3-8b", "down", 4096, 14336},
                    {"llama2-70b", "gate-up", 57344, 8192},
                    {"llama2-70b", "down", 8192, 28672},
                    {"llama2-70b", "qkv", 10240, 8192},
                    {"llama2-70b", "o", 8192, 8192},
                    {"llama2-13b", "qkv", 15360, 5120},
                    {"llama2-13b", "o", 5120, 5120},
                    {"llama2-13b", "gate-up", 27648, 5120},
                    {"llama2-13b", "down", 5120, 13824}};
  const auto add = [&](const char* shape, const char* variant,
                       const QuantizationConfig& quantization) {
    sizes.models.push_back({shape + std::string(variant),
                            ShapeConfig(shape, quantization).value()});
  };
  QuantizationConfig w4a8;
  w4a8.group_size = sizes.group_size;
  w4a8.constraint = ScaleConstraint::kM2;
  QuantizationConfig lorc = w4a8, w8a8 = w4a8;
  lorc.lorc.rank = 8;
  w8a8.weights = LinearFormat::kE4m3;
  add("llama2-7b", "", w4a8);
  add("llama3-8b", "", w4a8);
  add("llama2-7b", " resident FP8", w4a8);
  sizes.models.back().resident_fp8 = true;
  add("llama2-7b", " LoRC 8", lorc);
  add("llama2-7b", " W8A8", w8a8);
  add("llama2-70b", "", w4a8);
  add("llama2-13b", "", w4a8);
  return sizes;
}

}  // namespace zqfp::tools
