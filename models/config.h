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
#include "kernels/core/ops.h"
#include "kernels/core/views.h"
#include "models/activation_format.h"
#include "models/foreign_quantization.h"

namespace zqfp {

// Named by the file ("architectures" / "model_type"), never inferred from
// which weights exist. models/architectures.h has what each one implies.
enum class Architecture : uint8_t {
  kLlama,
  kMistral,
  kQwen2,
  kQwen3,
  kOpt,
  kGemma2,
  kGemma3,
  kPhi3,
  kGpt2
};

// kRmsPlusOne stores the weight minus one (Gemma); kLayer has a bias.
enum class NormKind : uint8_t { kRms, kRmsPlusOne, kLayer };

// kLearned: a table, whose row position + position_offset is added to a
// token's embedding.
enum class PositionKind : uint8_t { kRotary, kLearned };

// What a layer sees: every earlier token, or the last sliding_window.
enum class LayerSpan : uint8_t { kFull, kWindow };

// How rotary frequencies are stretched beyond the trained context.
enum class RopeScaling : uint8_t {
  kNone,
  kLinear,
  kDynamic,
  kYarn,
  kLlama3,
  kLongrope,
  kFactors,
};

struct RopeConfig {
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // of a head's first elements; 0: the whole head
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_max_positions = 0;  // all but linear
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  double beta_fast = 32.0;             // yarn
  double beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;       // yarn, longrope; 0: from factor
  double mscale = 0.0;                 // yarn, 0: absent
  double mscale_all_dim = 0.0;         // yarn, 0: absent
  bool truncate = true;                // yarn: whole pairs at the ramp ends
  std::vector<double> factors;         // factors: [head_dim / 2], divisors
  // longrope: each pair's divisor up to and beyond original_max_positions.
  std::vector<double> short_factor, long_factor;  // [rotary_dim / 2]

  // Whether a sequence of this length turns its keys by other angles than one
  // of the trained context.
  bool is_beyond(int64_t length) const {
    return (scaling == RopeScaling::kDynamic ||
            scaling == RopeScaling::kLongrope) &&
           length > original_max_positions;
  }
  // Whether sequences of these lengths turn their keys alike: beyond, dynamic
  // scaling has other angles for every length, longrope has one kind.
  bool has_same_angles(int64_t length, int64_t other) const {
    return length == other ||
           (is_beyond(length) == is_beyond(other) &&
            (!is_beyond(length) || scaling == RopeScaling::kLongrope));
  }
};

// Constraint on the group scales of e2m1 weights (FORMAT.md).
enum class ScaleConstraint : uint8_t { kFree, kM1, kM2 };

// Storage of the output projection.
enum class HeadFormat : uint8_t { kBf16, kE4m3, kE2m1 };

// Storage of the decoder layers' linears.
enum class LinearFormat : uint8_t { kE2m1, kE4m3 };

// Low-rank compensation of the quantized decoder linears.
struct LorcConfig {
  int64_t rank = 0;                                           // 0: none
  kernels::ValueFormat format = kernels::ValueFormat::kE4m3;  // or kBf16
};

// "quantization_config" with quant_method zqfp (FORMAT.md).
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
  // Where layers differ: what each sees. Empty: all have the window.
  std::vector<LayerSpan> layer_spans;  // [num_layers] or empty
  NormKind norm = NormKind::kRms;
  double norm_epsilon = 0;
  PositionKind positions = PositionKind::kRotary;
  int64_t position_offset = 0;  // kLearned
  kernels::Activation activation = kernels::Activation::kSilu;
  bool gated_ffn = true;  // down(f(gate(x)) * up(x)), else down(f(up(x)))
  bool scale_embedding = false;  // by sqrt(model_dim), in the table's format
  double query_scalar = 0;       // scores / sqrt(this); 0: head_dim
  double attention_softcap = 0;  // 0: none
  double logit_softcap = 0;      // 0: none
  bool tie_embeddings = false;
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool ffn_bias = false;
  bool qk_norm = false;
  RopeConfig rope;                       // kRotary
  std::optional<RopeConfig> local_rope;  // of layers with a window (Gemma 3)
  std::optional<QuantizationConfig> quantization;  // ours
  std::optional<ForeignQuantization> foreign;      // another tool's
  // Neither: full precision. Never both.
  // Every linear has a tensor [n, k] of its own, as zqfp-quantize writes them,
  // also where the family's checkpoints hold several in one, or transposed.
  bool separate_linears = false;
  std::vector<int32_t> eos_ids;  // config.json and generation_config.json
  int32_t bos_id = -1;           // -1: none

  bool IsWindowed(int64_t layer_index) const;
  int64_t rotary_dim() const {
    return rope.rotary_dim > 0 ? rope.rotary_dim : head_dim;
  }
};

std::string_view ToString(Architecture architecture);
std::string_view ToString(RopeScaling scaling);
std::string_view ToString(PositionKind positions);
std::string_view ToString(ScaleConstraint constraint);
std::string_view ToString(HeadFormat format);
std::string_view ToString(LinearFormat format);

// Parses and checks the text of a config.json. `name` is the file's name in
// messages. Errors: InvalidArgument with key, wanted and found; Unimplemented
// for an architecture, scaling or quantization method that is not supported.
absl::StatusOr<Config> ParseConfig(const std::string& json,
                                   const std::string& name);

// The text of DIRECTORY/config.json, or what a GGUF file says in its place
// (FindGguf, GgufConfigText).
absl::StatusOr<std::string> ReadConfigText(const std::string& directory);

// ParseConfig on that text, with the ids of generation_config.json where that
// exists, and what ModelOpt's hf_quant_config.json says.
absl::StatusOr<Config> LoadConfig(const std::string& directory);

}  // namespace zqfp

#endif  // ZQFP_MODELS_CONFIG_H_
