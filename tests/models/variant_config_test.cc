// SPDX-License-Identifier: Apache-2.0
// The families beyond Llama's: config.json as published models have it, and
// what in it is refused by name.
#include "models/variant_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "models/config.h"

namespace zqfp {
namespace {

using kernels::Activation;
using nlohmann::json;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LayerSpan kFull = LayerSpan::kFull;
constexpr LayerSpan kWindow = LayerSpan::kWindow;

json Opt125m() {
  return json::parse(R"({
    "activation_function": "relu", "architectures": ["OPTForCausalLM"],
    "attention_dropout": 0.0, "bos_token_id": 2, "do_layer_norm_before": true,
    "dropout": 0.1, "eos_token_id": 2, "ffn_dim": 3072, "hidden_size": 768,
    "init_std": 0.02, "layerdrop": 0.0, "max_position_embeddings": 2048,
    "model_type": "opt", "num_attention_heads": 12, "num_hidden_layers": 12,
    "pad_token_id": 1, "prefix": "</s>", "torch_dtype": "float16",
    "use_cache": true, "vocab_size": 50272, "word_embed_proj_dim": 768})");
}

json Gemma2() {
  return json::parse(R"({
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": false,
    "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation":
    "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0, "head_dim":
    256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation":
    "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
    "max_position_embeddings": 8192, "model_type": "gemma2",
    "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
    "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000})");
}

json Gemma3() {
  return json::parse(R"({
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": false,
    "attn_logit_softcapping": null, "bos_token_id": 2, "eos_token_id": [1, 106],
    "final_logit_softcapping": null, "head_dim": 256, "hidden_activation":
    "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
    "max_position_embeddings": 32768, "model_type": "gemma3_text",
    "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6,
    "vocab_size": 262144})");
}

json Phi4Mini() {
  json config = json::parse(R"({
    "architectures": ["Phi3ForCausalLM"], "attention_bias": false,
    "bos_token_id": 199999, "eos_token_id": 199999, "embd_pdrop": 0.0,
    "full_attn_mod": 1, "hidden_act": "silu", "hidden_size": 3072,
    "intermediate_size": 8192, "interpolate_factor": 1, "lm_head_bias": false,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "phi3",
    "num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads":
    8, "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.75,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 262144,
    "tie_word_embeddings": true, "vocab_size": 200064})");
  config["rope_scaling"] = {{"type", "longrope"},
                            {"short_factor", std::vector<double>(48, 1.0)},
                            {"long_factor", std::vector<double>(48, 2.5)}};
  return config;
}

json Gpt2() {
  return json::parse(R"({
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id":
    50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
    "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
    "vocab_size": 50257})");
}

Config MustParse(const json& config) {
  const absl::StatusOr<Config> parsed =
      ParseConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : Config();
}

void ExpectRefusal(json config, const std::string& key, const json& value,
                   const std::string& message) {
  config[key] = value;
  const absl::StatusOr<Config> parsed =
      ParseConfig(config.dump(), "config.json");
  ASSERT_FALSE(parsed.ok()) << key << " " << value;
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
}

TEST(VariantConfigTest, Opt) {
  const Config config = MustParse(Opt125m());
  EXPECT_EQ(config.architecture, Architecture::kOpt);
  EXPECT_EQ(config.norm, NormKind::kLayer);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.positions, PositionKind::kLearned);
  EXPECT_EQ(config.position_offset, 2);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.activation, Activation::kRelu);
  EXPECT_FALSE(config.gated_ffn);
  EXPECT_EQ(config.ffn_dim, 3072);
  EXPECT_EQ(config.num_kv_heads, 12);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_TRUE(config.qkv_bias && config.attention_output_bias);
  EXPECT_TRUE(config.ffn_bias);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.bos_id, 2);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
  json no_bias = Opt125m();
  no_bias["enable_bias"] = false;
  EXPECT_FALSE(MustParse(no_bias).qkv_bias);
}

// opt-350m is another model: norms after the sums and projected embeddings.
TEST(VariantConfigTest, OptThatIsNotSupported) {
  const json good = Opt125m();
  ExpectRefusal(good, "do_layer_norm_before", false,
                "false is not supported; supported is true");
  ExpectRefusal(good, "word_embed_proj_dim", 512,
                "512 is not supported; supported is 768, the hidden_size");
  ExpectRefusal(good, "activation_function", "gelu",
                "gelu is not supported; supported is relu");
  ExpectRefusal(good, "layer_norm_elementwise_affine", false, "false");
  ExpectRefusal(good, "_remove_final_layer_norm", true, "true");
  ExpectRefusal(good, "num_attention_heads", 7,
                "hidden_size: want a multiple of the 7 attention heads, found");
  ExpectRefusal(good, "ffn_dim", nullptr, "ffn_dim: want");
}

TEST(VariantConfigTest, Gemma2) {
  const Config config = MustParse(Gemma2());
  EXPECT_EQ(config.norm, NormKind::kRmsPlusOne);
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  EXPECT_TRUE(config.gated_ffn && config.scale_embedding);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.query_scalar, 256);
  EXPECT_EQ(config.attention_softcap, 50);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_EQ(config.sliding_window, 4096);
  ASSERT_EQ(config.layer_spans.size(), 26u);
  EXPECT_TRUE(config.IsWindowed(0));
  EXPECT_FALSE(config.IsWindowed(1));
  EXPECT_FALSE(config.local_rope.has_value());
}

// What transformers takes for an absent key, and for null.
TEST(VariantConfigTest, Gemma2Defaults) {
  json config = Gemma2();
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping",
                          "sliding_window", "query_pre_attn_scalar", "head_dim",
                          "hidden_activation", "num_key_value_heads"}) {
    config.erase(key);
  }
  Config parsed = MustParse(config);
  EXPECT_EQ(parsed.attention_softcap, 50);
  EXPECT_EQ(parsed.logit_softcap, 30);
  EXPECT_EQ(parsed.sliding_window, 4096);
  EXPECT_EQ(parsed.query_scalar, 256);
  EXPECT_EQ(parsed.head_dim, 256);
  EXPECT_EQ(parsed.num_kv_heads, 4);
  config["attn_logit_softcapping"] = nullptr;
  config["final_logit_softcapping"] = nullptr;
  parsed = MustParse(config);
  EXPECT_EQ(parsed.attention_softcap, 0);
  EXPECT_EQ(parsed.logit_softcap, 0);
}

TEST(VariantConfigTest, GemmaThatIsNotSupported) {
  ExpectRefusal(Gemma2(), "hidden_activation", "relu", "relu is not supported");
  ExpectRefusal(Gemma2(), "use_bidirectional_attention", true,
                "true is not supported");
  ExpectRefusal(Gemma2(), "final_logit_softcapping", -30.0, "want a number");
  ExpectRefusal(Gemma2(), "query_pre_attn_scalar", 0, "want a number");
  ExpectRefusal(Gemma2(), "sliding_window", nullptr, "want a number of tokens");
  ExpectRefusal(Gemma3(), "attn_logit_softcapping", 50.0,
                "50 is not supported; supported is null");
  ExpectRefusal(Gemma3(), "sliding_window_pattern", 0, "want");
  ExpectRefusal(Gemma3(), "rope_parameters",
                {{"rope_type", "default"}, {"rope_theta", 10000.0}},
                "full_attention: want an object for each kind of layer");
}

TEST(VariantConfigTest, Gemma3HasTwoRopes) {
  json config = Gemma3();
  Config parsed = MustParse(config);
  EXPECT_TRUE(parsed.qk_norm);
  EXPECT_EQ(parsed.attention_softcap, 0);
  EXPECT_EQ(parsed.logit_softcap, 0);
  EXPECT_EQ(parsed.rope.theta, 1e6);
  ASSERT_TRUE(parsed.local_rope.has_value());
  EXPECT_EQ(parsed.local_rope->theta, 1e4);
  EXPECT_TRUE(parsed.IsWindowed(4));
  EXPECT_FALSE(parsed.IsWindowed(5));
  EXPECT_TRUE(parsed.IsWindowed(6));
  // The larger ones stretch the full layers only, to the length they state.
  config["rope_scaling"] = {{"factor", 8.0}, {"rope_type", "linear"}};
  parsed = MustParse(config);
  EXPECT_EQ(parsed.rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(parsed.rope.factor, 8);
  EXPECT_EQ(parsed.local_rope->scaling, RopeScaling::kNone);
  EXPECT_EQ(parsed.max_positions, 32768);
  // transformers 5.
  config.erase("rope_scaling");
  config["rope_parameters"] = {
      {"full_attention",
       {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}};
  parsed = MustParse(config);
  EXPECT_EQ(parsed.rope.theta, 5e5);
  EXPECT_EQ(parsed.rope.factor, 4);
  EXPECT_EQ(parsed.local_rope->theta, 2e4);
}

TEST(VariantConfigTest, GemmaLayerTypesHaveTheLastWord) {
  json config = Gemma2();
  config["num_hidden_layers"] = 3;
  config["layer_types"] = {"full_attention", "sliding_attention",
                           "sliding_attention"};
  EXPECT_THAT(MustParse(config).layer_spans,
              ElementsAre(kFull, kWindow, kWindow));
  config["layer_types"] = {"full_attention", "full_attention",
                           "full_attention"};
  EXPECT_EQ(MustParse(config).sliding_window, 0);
}

TEST(VariantConfigTest, Phi4Mini) {
  const Config config = MustParse(Phi4Mini());
  EXPECT_EQ(config.architecture, Architecture::kPhi3);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rotary_dim(), 96);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kLongrope);
  EXPECT_EQ(config.rope.original_max_positions, 4096);
  EXPECT_EQ(config.rope.factor, 32);
  EXPECT_EQ(config.rope.short_factor.size(), 48u);
  EXPECT_THAT(config.rope.long_factor.back(), DoubleEq(2.5));
  EXPECT_EQ(config.max_positions, 131072);
  EXPECT_EQ(config.sliding_window, 262144);
  EXPECT_THAT(config.layer_spans, IsEmpty());
  EXPECT_TRUE(config.tie_embeddings);
}

TEST(VariantConfigTest, Phi3Mini) {
  json config = Phi4Mini();
  for (const char* key : {"rope_scaling", "partial_rotary_factor",
                          "tie_word_embeddings", "num_key_value_heads"}) {
    config.erase(key);
  }
  config["sliding_window"] = 2047;
  Config parsed = MustParse(config);
  EXPECT_EQ(parsed.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(parsed.rotary_dim(), 128);
  EXPECT_EQ(parsed.num_kv_heads, 24);
  EXPECT_EQ(parsed.sliding_window, 2047);
  EXPECT_FALSE(parsed.tie_embeddings);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(MustParse(config).sliding_window, 0);
  // Its first files called longrope "su".
  config["rope_scaling"] = Phi4Mini()["rope_scaling"];
  config["rope_scaling"]["type"] = "su";
  config["rope_scaling"]["short_factor"] = std::vector<double>(64, 1.0);
  config["rope_scaling"]["long_factor"] = std::vector<double>(64, 2.0);
  EXPECT_EQ(MustParse(config).rope.scaling, RopeScaling::kLongrope);
}

TEST(VariantConfigTest, Phi3ThatIsNotSupported) {
  const json good = Phi4Mini();
  ExpectRefusal(good, "partial_rotary_factor", 0.0, "an even part of the 128");
  ExpectRefusal(good, "hidden_act", "gelu", "gelu is not supported");
  ExpectRefusal(good, "original_max_position_embeddings", 1, "want");
  json scaling = good["rope_scaling"];
  scaling["type"] = "linear";
  ExpectRefusal(good, "rope_scaling", scaling,
                "linear is not supported; supported are default and longrope");
  scaling = good["rope_scaling"];
  scaling["long_factor"] = std::vector<double>(47, 1.0);
  ExpectRefusal(good, "rope_scaling", scaling,
                "long_factor: want a list of 48 numbers above 0");
  scaling["long_factor"] = std::vector<double>(48, 0.0);
  ExpectRefusal(good, "rope_scaling", scaling, "want numbers in");
  scaling["long_factor"] = "long";
  ExpectRefusal(good, "rope_scaling", scaling, "long_factor: want a list");
  scaling = good["rope_scaling"];
  scaling["long_mscale"] = 1.2;
  ExpectRefusal(good, "rope_scaling", scaling, "long_mscale");
}

TEST(VariantConfigTest, Gpt2) {
  json config = Gpt2();
  Config parsed = MustParse(config);
  EXPECT_EQ(parsed.model_dim, 768);
  EXPECT_EQ(parsed.ffn_dim, 3072);
  EXPECT_EQ(parsed.num_layers, 12);
  EXPECT_EQ(parsed.head_dim, 64);
  EXPECT_EQ(parsed.max_positions, 1024);
  EXPECT_EQ(parsed.position_offset, 0);
  EXPECT_EQ(parsed.norm, NormKind::kLayer);
  EXPECT_EQ(parsed.activation, Activation::kGeluTanh);
  EXPECT_FALSE(parsed.gated_ffn);
  EXPECT_TRUE(parsed.tie_embeddings && parsed.ffn_bias);
  EXPECT_EQ(parsed.bos_id, 50256);
  config["n_inner"] = 1000;
  EXPECT_EQ(MustParse(config).ffn_dim, 1000);
}

TEST(VariantConfigTest, Gpt2ThatIsNotSupported) {
  const json good = Gpt2();
  ExpectRefusal(good, "activation_function", "relu",
                "relu is not supported; supported is gelu_new");
  ExpectRefusal(good, "scale_attn_weights", false, "false is not supported");
  ExpectRefusal(good, "scale_attn_by_inverse_layer_idx", true, "true");
  ExpectRefusal(good, "add_cross_attention", true, "true");
  ExpectRefusal(good, "n_head", 7, "n_embd: want a multiple of the 7");
  ExpectRefusal(good, "n_layer", nullptr, "n_layer: want");
}

}  // namespace
}  // namespace zqfp
