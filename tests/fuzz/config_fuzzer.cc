// SPDX-License-Identifier: Apache-2.0
// Any text as a config.json: either a named error, or a config within the
// limits that everything above relies on.

#include <stddef.h>
#include <stdint.h>

#include <cmath>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/views.h"
#include "models/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<zqfp::Config> config =
      zqfp::ParseConfig(text, "config.json");
  if (!config.ok()) {
    ZQFP_CHECK(!config.status().message().empty());
    return 0;
  }
  ZQFP_CHECK(config->model_dim > 0 && config->ffn_dim > 0);
  ZQFP_CHECK(config->num_layers > 0 && config->num_layers <= 4096);
  ZQFP_CHECK(config->num_kv_heads > 0 &&
             config->num_heads % config->num_kv_heads == 0);
  ZQFP_CHECK(config->head_dim > 0 && config->head_dim % 2 == 0 &&
             config->head_dim <= zqfp::kernels::kMaxHeadDim);
  ZQFP_CHECK(config->vocab_size > 0 && config->max_positions > 0);
  ZQFP_CHECK(config->sliding_window >= 0);
  ZQFP_CHECK(config->layer_spans.empty() ||
             static_cast<int64_t>(config->layer_spans.size()) ==
                 config->num_layers);
  ZQFP_CHECK(config->rotary_dim() >= 2 && config->rotary_dim() % 2 == 0 &&
             config->rotary_dim() <= config->head_dim);
  ZQFP_CHECK(config->norm_epsilon > 0 && std::isfinite(config->rope.theta));
  ZQFP_CHECK(config->rope.factor >= 1 && std::isfinite(config->rope.factor));
  for (const int32_t id : config->eos_ids) {
    ZQFP_CHECK(id >= 0 && id < config->vocab_size);
  }
  if (config->quantization.has_value()) {
    ZQFP_CHECK(config->quantization->weights != zqfp::LinearFormat::kE2m1 ||
               config->quantization->group_size >= 32);
  }
  if (config->foreign.has_value()) {
    ZQFP_CHECK(!config->quantization.has_value());
    for (const char* name : {"lm_head", "model.layers.0.mlp.up_proj"}) {
      const auto scheme = config->foreign->SchemeOf(name);
      if (!scheme.ok() || *scheme == nullptr) continue;
      ZQFP_CHECK((*scheme)->group_size >= 0 && (*scheme)->block_rows >= 1);
      ZQFP_CHECK((*scheme)->activation_group >= 0);
    }
  }
  return 0;
}
