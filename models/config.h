// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_CONFIG_H_
#define ZQFP_MODELS_CONFIG_H_

// What config.json says about a model: plain data, parsed once, checked once.

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/core/views.h"

namespace zqfp {

// Named by the file ("architectures" / "model_type"), never inferred from
// which weights exist. models/architectures.h has what each one implies.
enum class Architecture : uint8_t { kLlama, kMistral, kQwen2, kQwen3 };

// How rotary frequencies are stretched beyond the trained context.
enum class RopeScaling : uint8_t {
  kNone,
  kLinear,
  kDynamic,
  kYarn,
  kLlama3,
  kFactors,
};

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_max_positions = 0;  // dynamic, yarn, llama3
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  double beta_fast = 32.0;             // yarn
  double beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;       // yarn; 0: derive from factor
  double mscale = 0.0;                 // yarn, 0: absent
  double mscale_all_dim = 0.0;         // yarn, 0: absent
  bool truncate = true;                // yarn: whole pairs at the ramp ends
  std::vector<double> factors;         // factors: [head_dim / 2], divisors
};

// Constraint on the group scales of e2m1 weights (numerics.md, section 2).
enum class ScaleConstraint : uint8_t { kFree, kM1, kM2 };

// Storage of the output projection.
enum class HeadFormat : uint8_t { kBf16, kE4m3, kE2m1 };

// Storage of the decoder layers' linears.
enum class LinearFormat : uint8_t { kE2m1, kE4m3 };

// What the input of a linear becomes, one scale per token. A model runs with
// none (f32) or e4m3; the others are simulated for comparison
// (ModelOptions::simulated_activations).
enum class ActivationFormat : uint8_t { kNone, kE4m3, kE5m2, kInt8, kBf16 };

// Low-rank compensation of the quantized decoder linears.
struct LorcConfig {
  int64_t rank = 0;                                           // 0: none
  kernels::ValueFormat format = kernels::ValueFormat::kE4m3;  // or kBf16
};

// "quantization_config" with quant_method zqfp (numerics.md, section 8).
struct QuantizationConfig {
  LinearFormat weights = LinearFormat::kE2m1;
  int64_t group_size = 0;                                  // e2m1
  ScaleConstraint constraint = ScaleConstraint::kM2;       // e2m1
  ActivationFormat activations = ActivationFormat::kE4m3;  // or kNone
  HeadFormat lm_head = HeadFormat::kE4m3;
  LorcConfig lorc;
  // Linears left as they were: "model.layers.0.mlp.down_proj".
  std::vector<std::string> keep;

  bool Keeps(const std::string& linear) const;
};

struct Config {
  Architecture architecture = Architecture::kLlama;
  int64_t model_dim = 0;
  int64_t ffn_dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  int64_t sliding_window = 0;  // 0: none
  // Layers below this index use full attention even with a window (Qwen2).
  int64_t first_window_layer = 0;
  double norm_epsilon = 0;
  bool tie_embeddings = false;
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool ffn_bias = false;
  bool qk_norm = false;
  RopeConfig rope;
  std::optional<QuantizationConfig> quantization;  // absent: full precision
  std::vector<int32_t> eos_ids;  // config.json and generation_config.json
  int32_t bos_id = -1;           // -1: none
};

std::string_view ToString(Architecture architecture);
std::string_view ToString(RopeScaling scaling);
std::string_view ToString(ScaleConstraint constraint);
std::string_view ToString(HeadFormat format);
std::string_view ToString(LinearFormat format);
std::string_view ToString(ActivationFormat format);

// Parses and checks the text of a config.json. `name` is the file's name in
// messages. Errors: InvalidArgument with key, wanted and found; Unimplemented
// for an architecture, scaling or quantization method that is not supported.
absl::StatusOr<Config> ParseConfig(const std::string& json,
                                   const std::string& name);

// The text of DIRECTORY/config.json, or what a GGUF file says in its place
// (FindGguf, GgufConfigText).
absl::StatusOr<std::string> ReadConfigText(const std::string& directory);

// ParseConfig on that text, with the ids of generation_config.json where that
// exists.
absl::StatusOr<Config> LoadConfig(const std::string& directory);

}  // namespace zqfp

#endif  // ZQFP_MODELS_CONFIG_H_
