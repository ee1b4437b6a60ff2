// SPDX-License-Identifier: Apache-2.0
#include "tools/shapes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/core/status_macros.h"

namespace zqfp::tools {
namespace {

struct Shape {
  const char* name;
  int64_t model_dim, ffn_dim, num_layers, num_heads, num_kv_heads, vocab_size;
  double rope_theta;
};

// llama-110m: karpathy's stories110M; llama-1b: TinyLlama-1.1B; llama-3b:
// Llama-3.2-3B; llama2-* and llama3-8b: Meta's.
constexpr Shape kShapes[] = {
    {"llama-110m", 768, 2048, 12, 12, 12, 32000, 10000},
    {"llama-1b", 2048, 5632, 22, 32, 4, 32000, 10000},
    {"llama-3b", 3072, 8192, 28, 24, 8, 128256, 500000},
    {"llama2-7b", 4096, 11008, 32, 32, 32, 32000, 10000},
    {"llama2-13b", 5120, 13824, 40, 40, 40, 32000, 10000},
    {"llama2-70b", 8192, 28672, 80, 64, 8, 32000, 10000},
    {"llama3-8b", 4096, 14336, 32, 32, 8, 128256, 500000},
};

// What sets other families apart, as their config.json says it.
struct Published {
  const char* name;
  const char* config;
};
constexpr Published kPublished[] = {
    {"opt-125m", R"({"architectures": ["OPTForCausalLM"], "hidden_size": 768,
      "ffn_dim": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
      "vocab_size": 50272, "max_position_embeddings": 2048})"},
    {"gemma-2-2b", R"({"architectures": ["Gemma2ForCausalLM"],
      "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
      "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
      "vocab_size": 256000, "max_position_embeddings": 8192})"},
};

}  // namespace

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.push_back(shape.name);
  for (const Published& shape : kPublished) names.push_back(shape.name);
  return names;
}

absl::StatusOr<Config> ShapeConfig(const std::string& name,
                                   const QuantizationConfig& quantization) {
  for (const Shape& shape : kShapes) {
    if (name != shape.name) continue;
    Config config;
    config.model_dim = shape.model_dim;
    config.ffn_dim = shape.ffn_dim;
    config.num_layers = shape.num_layers;
    config.num_heads = shape.num_heads;
    config.num_kv_heads = shape.num_kv_heads;
    config.head_dim = shape.model_dim / shape.num_heads;
    config.vocab_size = shape.vocab_size;
    config.max_positions = 8192;
    config.norm_epsilon = 1e-5;
    config.rope.theta = shape.rope_theta;
    config.quantization = quantization;
    return config;
  }
  for (const Published& shape : kPublished) {
    if (name != shape.name) continue;
    ZQFP_ASSIGN_OR_RETURN(Config config, ParseConfig(shape.config, name));
    config.eos_ids.clear();  // a benchmark does not end early
    config.quantization = quantization;
    return config;
  }
  return absl::InvalidArgumentError(
      fmt::format("--shape: want one of {}, found '{}'",
                  fmt::join(ShapeNames(), ", "), name));
}

}  // namespace zqfp::tools
