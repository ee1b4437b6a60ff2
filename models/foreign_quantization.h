// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_FOREIGN_QUANTIZATION_H_
#define ZQFP_MODELS_FOREIGN_QUANTIZATION_H_

// What the config of a model that another tool quantized says about its linear
// layers: plain data. models/foreign_config.h reads it,
// models/foreign_weights.h binds tensors by it.

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/activation_format.h"
#include "models/module_pattern.h"

namespace zqfp {

// Whose names and shapes the tensors have.
enum class ForeignMethod : uint8_t {
  kCompressedTensors,  // llm-compressor
  kModelOpt,           // NVIDIA
  kFp8,                // DeepSeek, transformers' fine-grained FP8, AutoFP8
  kMxfp4,              // gpt-oss: X.weight_blocks, X.weight_scales
};

enum class ForeignWeights : uint8_t {
  kMxfp4,        // e2m1, ue8m0 per group
  kNvfp4,        // e2m1, e4m3 per group and one f32
  kE4m3Tensor,   // e4m3, one scale
  kE4m3Channel,  // e4m3, a scale per row
  kE4m3Block,    // e4m3, a scale per block of rows and columns
};

struct ForeignScheme {
  ForeignWeights weights = ForeignWeights::kMxfp4;
  int64_t group_size = 0;  // columns of a scale: kMxfp4, kNvfp4, kE4m3Block
  int64_t block_rows = 1;  // kE4m3Block
  ActivationFormat activations = ActivationFormat::kNone;
  int64_t activation_group = 0;  // columns, kE4m3Groups
  // What of it no kernel runs, named as in the file ("" where nothing): an
  // error, unless the model runs weight-only.
  std::string refused;
};

struct ForeignGroup {
  std::string name;  // as in the file
  ModulePatterns targets;
  ForeignScheme scheme;
};

struct ForeignQuantization {
  ForeignMethod method = ForeignMethod::kCompressedTensors;
  std::vector<ForeignGroup> groups;
  ModulePatterns ignore{PatternStyle::kTargets};
  // The KV cache the file asks for ("" for none), which no kernel runs.
  std::string refused_cache;
  // Inputs stay f32 and the cache is ours, whatever the file asks for.
  bool weight_only = false;

  // The scheme of a linear, null where it is stored as it was. A name goes
  // before a pattern and a pattern before a class. InvalidArgument where two
  // groups match alike.
  absl::StatusOr<const ForeignScheme*> SchemeOf(
      const std::string& linear) const;
  // Unimplemented, naming it, where a scheme needs what no kernel has.
  absl::Status CheckRunnable() const;
};

std::string_view ToString(ForeignMethod method);
std::string_view ToString(ForeignWeights weights);

}  // namespace zqfp

#endif  // ZQFP_MODELS_FOREIGN_QUANTIZATION_H_
