// SPDX-License-Identifier: Apache-2.0
#include "models/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/assets.h"

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LayerSpan kFull = LayerSpan::kFull;
constexpr LayerSpan kWindow = LayerSpan::kWindow;

// The smallest config that is accepted; tests change one thing in it.
nlohmann::json Minimal() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", 64},
          {"intermediate_size", 128},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 8},
          {"vocab_size", 512}};
}

nlohmann::json MinimalQwen3() {
  nlohmann::json config = Minimal();
  config["architectures"] = {"Qwen3ForCausalLM"};
  config["model_type"] = "qwen3";
  config["num_key_value_heads"] = 4;
  return config;
}

absl::StatusOr<Config> Parse(const nlohmann::json& config) {
  return ParseConfig(config.dump(), "config.json");
}

Config MustParse(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

void ExpectRefusal(const nlohmann::json& config, const std::string& message) {
  const absl::StatusOr<Config> parsed = Parse(config);
  ASSERT_FALSE(parsed.ok()) << "want an error with: " << message;
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
}

TEST(ConfigTest, MinimalLlamaTakesHuggingFaceDefaults) {
  const Config config = MustParse(Minimal().dump());
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.norm_epsilon, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(config.sliding_window, 0);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_FALSE(config.quantization.has_value());
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
}

TEST(ConfigTest, Llama2) {
  const Config config = MustParse(R"({
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 11008,
    "max_position_embeddings": 4096, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": null, "tie_word_embeddings": false,
    "torch_dtype": "float16", "transformers_version": "4.31.0.dev0",
    "use_cache": true, "vocab_size": 32000})");
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.ffn_dim, 11008);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.max_positions, 4096);
}

TEST(ConfigTest, Llama31) {
  const Config config = MustParse(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 131072, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": false,
    "vocab_size": 128256})");
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_EQ(config.rope.factor, 8.0);
  EXPECT_EQ(config.rope.original_max_positions, 8192);
  EXPECT_EQ(config.rope.high_freq_factor, 4.0);
  EXPECT_EQ(config.max_positions, 131072);
  EXPECT_EQ(config.bos_id, 128000);
  EXPECT_THAT(config.eos_ids, ElementsAre(128001, 128008, 128009));
}

TEST(ConfigTest, Llama32TiesAndHasAHeadDim) {
  const Config config = MustParse(R"({
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 128000,
    "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu",
    "hidden_size": 2048, "intermediate_size": 8192,
    "max_position_embeddings": 131072, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 16,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
      "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": true,
    "vocab_size": 128256})");
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.rope.factor, 32.0);
}

TEST(ConfigTest, TinyLlama) {
  const Config config = MustParse(R"({
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 5632, "max_position_embeddings": 2048,
    "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 22, "num_key_value_heads": 4,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "vocab_size": 32000})");
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 64);
}

constexpr char kMistral[] = R"({
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 32768,
    "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": false,
    "vocab_size": 32000})";

TEST(ConfigTest, MistralWindow) {
  nlohmann::json config = nlohmann::json::parse(kMistral);
  EXPECT_EQ(MustParse(config.dump()).sliding_window, 4096);
  // v0.3 has null, which means none; an absent key means 4096.
  config["sliding_window"] = nullptr;
  config["vocab_size"] = 32768;
  config["rope_theta"] = 1000000.0;
  EXPECT_EQ(MustParse(config.dump()).sliding_window, 0);
  config.erase("sliding_window");
  config.erase("num_key_value_heads");
  const Config defaults = MustParse(config.dump());
  EXPECT_EQ(defaults.sliding_window, 4096);
  EXPECT_EQ(defaults.num_kv_heads, 8);
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(MustParse(config.dump()).num_kv_heads, 32);
}

TEST(ConfigTest, Qwen25HasBiasesAndNoWindowUnlessAsked) {
  nlohmann::json config = nlohmann::json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
    "hidden_size": 896, "intermediate_size": 4864,
    "max_position_embeddings": 32768, "max_window_layers": 21,
    "model_type": "qwen2", "num_attention_heads": 14,
    "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 32768, "tie_word_embeddings": true,
    "use_sliding_window": false, "vocab_size": 151936})");
  Config parsed = MustParse(config.dump());
  EXPECT_TRUE(parsed.qkv_bias);
  EXPECT_FALSE(parsed.attention_output_bias);
  EXPECT_FALSE(parsed.qk_norm);
  EXPECT_EQ(parsed.sliding_window, 0);
  EXPECT_EQ(parsed.head_dim, 64);
  config["use_sliding_window"] = true;
  parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.sliding_window, 32768);
  EXPECT_FALSE(parsed.IsWindowed(20));
  EXPECT_TRUE(parsed.IsWindowed(21));
}

TEST(ConfigTest, Qwen3HasNormsAndItsOwnHeadDim) {
  const Config config = MustParse(R"({
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
    "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
    "max_position_embeddings": 40960, "max_window_layers": 28,
    "model_type": "qwen3", "num_attention_heads": 16,
    "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": null, "tie_word_embeddings": true,
    "use_sliding_window": false, "vocab_size": 151936})");
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.num_heads * config.head_dim, 2048);
  nlohmann::json no_head_dim = MinimalQwen3();
  EXPECT_EQ(MustParse(no_head_dim.dump()).head_dim, 128);
  EXPECT_EQ(MustParse(no_head_dim.dump()).bos_id, -1);
  EXPECT_THAT(MustParse(no_head_dim.dump()).eos_ids, IsEmpty());
}

TEST(ConfigTest, YarnInItsSpellings) {
  nlohmann::json config = Minimal();
  config["max_position_embeddings"] = 32768;
  config["rope_scaling"] = {{"type", "yarn"},
                            {"factor", 4.0},
                            {"original_max_position_embeddings", 32768}};
  Config parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(parsed.rope.original_max_positions, 32768);
  EXPECT_EQ(parsed.rope.beta_fast, 32.0);
  EXPECT_EQ(parsed.rope.attention_factor, 0.0);
  EXPECT_EQ(parsed.max_positions, 131072);
  // Already stretched in max_position_embeddings: not a second time.
  config["max_position_embeddings"] = 131072;
  EXPECT_EQ(MustParse(config.dump()).max_positions, 131072);
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 40},
                            {"beta_fast", 64},     {"beta_slow", 2},
                            {"mscale", 0.707},     {"mscale_all_dim", 0.5},
                            {"finetuned", true},   {"attention_factor", 1.5},
                            {"truncate", false}};
  config["max_position_embeddings"] = 4096;
  parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.rope.original_max_positions, 4096);
  EXPECT_EQ(parsed.rope.beta_slow, 2.0);
  EXPECT_EQ(parsed.rope.mscale, 0.707);
  EXPECT_EQ(parsed.rope.attention_factor, 1.5);
  EXPECT_FALSE(parsed.rope.truncate);
}

TEST(ConfigTest, RopeParametersOfNewerFiles) {
  nlohmann::json config = Minimal();
  config["rope_parameters"] = {{"rope_type", "default"},
                               {"rope_theta", 250000.0}};
  EXPECT_EQ(MustParse(config.dump()).rope.theta, 250000.0);
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2}};
  config["rope_theta"] = 5000.0;
  const Config parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(parsed.rope.theta, 5000.0);
  EXPECT_EQ(parsed.max_positions, 4096);
  config["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}}}};
  ExpectRefusal(config, "rope_parameters: full_attention");
}

TEST(ConfigTest, DynamicKeepsItsOriginalLength) {
  nlohmann::json config = Minimal();
  config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  const Config parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.rope.scaling, RopeScaling::kDynamic);
  EXPECT_EQ(parsed.rope.original_max_positions, 2048);
  EXPECT_EQ(parsed.max_positions, 4096);
}

TEST(ConfigTest, RopeThatIsNotSupported) {
  nlohmann::json config = Minimal();
  config["rope_scaling"] = {{"type", "longrope"}, {"factor", 2.0}};
  ExpectRefusal(config, "rope_type: longrope is not supported; supported are");
  config["rope_scaling"] = {{"type", "linear"}};
  ExpectRefusal(config, "rope_scaling: factor: want a number, found nothing");
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 0.0}};
  ExpectRefusal(config, "factor: want a number in 1..1e+06, found 0.0");
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 1e6}};
  config["max_position_embeddings"] = 1 << 20;
  ExpectRefusal(config, "a context of at most");
  config["rope_scaling"] = "linear";
  ExpectRefusal(config, "rope_scaling: want an object, found \"linear\"");
  config["rope_scaling"] = {{"type", "llama3"}, {"factor", 8.0}};
  ExpectRefusal(config, "low_freq_factor: want a number, found nothing");
  config["rope_scaling"] = {{"type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 4.0},
                            {"high_freq_factor", 4.0}};
  ExpectRefusal(config, "more than low_freq_factor = 4");
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 8.0}, {"truncate", 0}};
  ExpectRefusal(config, "truncate: want true or false, found 0");
  config["rope_scaling"] = {
      {"type", "yarn"}, {"factor", 8.0}, {"beta_fast", 0.5}};
  ExpectRefusal(config, "beta_fast: want at least beta_slow");
  config["rope_scaling"] = {
      {"type", "dynamic"}, {"factor", 8.0}, {"alpha", 1000.0}};
  ExpectRefusal(config, "alpha");
  config["rope_scaling"] = nullptr;
  config["partial_rotary_factor"] = 0.5;
  ExpectRefusal(config, "partial_rotary_factor: 0.5 is not supported");
  config["partial_rotary_factor"] = 1.0;
  EXPECT_TRUE(Parse(config).ok());
}

TEST(ConfigTest, LayerTypes) {
  nlohmann::json config = MinimalQwen3();
  const std::string full = "full_attention";
  const std::string sliding = "sliding_attention";
  config["use_sliding_window"] = true;
  config["sliding_window"] = 16;
  config["max_window_layers"] = 2;
  EXPECT_THAT(MustParse(config.dump()).layer_spans,
              ElementsAre(kFull, kFull, kWindow, kWindow));
  config["layer_types"] = {full, sliding, sliding, sliding};
  EXPECT_THAT(MustParse(config.dump()).layer_spans,
              ElementsAre(kFull, kWindow, kWindow, kWindow));
  EXPECT_EQ(MustParse(config.dump()).sliding_window, 16);
  config["layer_types"] = {full, full, full, full};
  EXPECT_EQ(MustParse(config.dump()).sliding_window, 0);
  config["layer_types"] = {sliding, full, sliding, full};
  EXPECT_THAT(MustParse(config.dump()).layer_spans,
              ElementsAre(kWindow, kFull, kWindow, kFull));
  config["layer_types"] = {sliding, sliding, sliding, sliding};
  EXPECT_THAT(MustParse(config.dump()).layer_spans, IsEmpty());
  EXPECT_TRUE(MustParse(config.dump()).IsWindowed(0));
  config["layer_types"] = {full, sliding};
  ExpectRefusal(config, "layer_types: want a list of 4");
  config["layer_types"] = {full, full, full, "chunked_attention"};
  ExpectRefusal(config, "\"chunked_attention\" is not supported");
  config["layer_types"] = {full, full, full, sliding};
  config["use_sliding_window"] = false;
  ExpectRefusal(config, "as there is no sliding window");
  nlohmann::json mistral = nlohmann::json::parse(kMistral);
  mistral["num_hidden_layers"] = 2;
  mistral["layer_types"] = {full, sliding};
  ExpectRefusal(mistral, "sliding_attention only");
  mistral["layer_types"] = {sliding, sliding};
  EXPECT_TRUE(Parse(mistral).ok());
}

TEST(ConfigTest, WindowBeyondTheLastLayerIsNone) {
  nlohmann::json config = MinimalQwen3();
  config["use_sliding_window"] = true;  // max_window_layers 28 of 4 layers
  const Config parsed = MustParse(config.dump());
  EXPECT_EQ(parsed.sliding_window, 0);
  EXPECT_THAT(parsed.layer_spans, IsEmpty());
}

TEST(ConfigTest, BiasesOfLlamaAndQwen3) {
  nlohmann::json config = Minimal();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  Config parsed = MustParse(config.dump());
  EXPECT_TRUE(parsed.qkv_bias && parsed.attention_output_bias);
  EXPECT_TRUE(parsed.ffn_bias);
  config = MinimalQwen3();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  parsed = MustParse(config.dump());
  EXPECT_TRUE(parsed.qkv_bias && parsed.attention_output_bias);
  EXPECT_FALSE(parsed.ffn_bias);
}

TEST(ConfigTest, ArchitectureAndModelTypeMustAgree) {
  nlohmann::json config = Minimal();
  config["model_type"] = "mistral";
  ExpectRefusal(config, "model_type: want \"llama\", as LlamaForCausalLM");
  config = Minimal();
  config["architectures"] = {"MixtralForCausalLM"};
  ExpectRefusal(config,
                "architectures: [\"MixtralForCausalLM\"] is not supported; "
                "supported are LlamaForCausalLM, MistralForCausalLM");
  EXPECT_EQ(Parse(config).status().code(), absl::StatusCode::kUnimplemented);
  config.erase("architectures");
  EXPECT_TRUE(Parse(config).ok());
  config["model_type"] = "mixtral";
  ExpectRefusal(config, "model_type: mixtral is not supported");
  config.erase("model_type");
  ExpectRefusal(config, "architectures: want a list of one class name");
  config["architectures"] = nlohmann::json::array();
  ExpectRefusal(config, "architectures: want a list of one class name");
  config["architectures"] = "LlamaForCausalLM";
  ExpectRefusal(config, "architectures: want a list of one class name");
  config["architectures"] = {3};
  ExpectRefusal(config, "architectures: want a list of one class name");
}

struct BadValue {
  const char* key;
  const char* value;  // "" removes the key
  const char* message;
};

class BadConfigTest : public ::testing::TestWithParam<BadValue> {};

TEST_P(BadConfigTest, IsOneClearError) {
  nlohmann::json config = Minimal();
  if (GetParam().value[0] == '\0') {
    config.erase(GetParam().key);
  } else {
    config[GetParam().key] = nlohmann::json::parse(GetParam().value);
  }
  ExpectRefusal(config, GetParam().message);
  EXPECT_THAT(std::string(Parse(config).status().message()),
              HasSubstr("config.json: "));
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadConfigTest,
    ::testing::Values(
        BadValue{"hidden_size", "",
                 "hidden_size: want an integer in 1..1048576, found nothing"},
        BadValue{"hidden_size", "0", "hidden_size: want an integer in"},
        BadValue{"hidden_size", "-64", "found -64"},
        BadValue{"hidden_size", "\"64\"", "found \"64\""},
        BadValue{"hidden_size", "64.0", "found 64.0"},
        BadValue{"hidden_size", "[64]", "found [64]"},
        BadValue{"hidden_size", "null", "found nothing"},
        BadValue{"hidden_size", "65", "want a multiple of the 8 attention"},
        BadValue{"hidden_size", "18446744073709551615",
                 "found 18446744073709551615"},
        BadValue{"hidden_size", "99999999999999999999", "hidden_size: want"},
        BadValue{"intermediate_size", "", "found nothing"},
        BadValue{"intermediate_size", "0", "intermediate_size: want"},
        BadValue{"num_hidden_layers", "1000000000", "found 1000000000"},
        BadValue{"num_hidden_layers", "", "num_hidden_layers: want"},
        BadValue{"num_attention_heads", "0", "num_attention_heads: want"},
        BadValue{"num_attention_heads", "", "num_attention_heads: want"},
        BadValue{"num_key_value_heads", "3",
                 "want a multiple of the 3 key/value heads, found 8"},
        BadValue{"num_key_value_heads", "0", "num_key_value_heads: want"},
        BadValue{"num_key_value_heads", "16", "key/value heads"},
        BadValue{"head_dim", "7", "head_dim: want an even number"},
        BadValue{"head_dim", "0", "head_dim: want"},
        BadValue{"head_dim", "100000", "head_dim: want"},
        BadValue{"hidden_size", "24", "head_dim: want an even number"},
        BadValue{"vocab_size", "0", "vocab_size: want"},
        BadValue{"vocab_size", "", "vocab_size: want"},
        BadValue{"vocab_size", "true", "vocab_size: want"},
        BadValue{"max_position_embeddings", "0", "max_position_embeddings:"},
        BadValue{"rms_norm_eps", "0", "rms_norm_eps: want a number"},
        BadValue{"rms_norm_eps", "-1e-5", "rms_norm_eps: want a number"},
        BadValue{"rms_norm_eps", "\"1e-5\"", "rms_norm_eps: want a number"},
        BadValue{"rope_theta", "0", "rope_theta: want a number"},
        BadValue{"rope_theta", "-10000", "rope_theta: want a number"},
        BadValue{"tie_word_embeddings", "1", "want true or false, found 1"},
        BadValue{"attention_bias", "\"no\"", "want true or false"},
        BadValue{"hidden_act", "\"gelu\"", "hidden_act: gelu is not supported"},
        BadValue{"hidden_act", "7", "hidden_act: want a string, found 7"},
        BadValue{"eos_token_id", "512", "eos_token_id: want an integer in"},
        BadValue{"eos_token_id", "-1", "eos_token_id: want an integer in"},
        BadValue{"eos_token_id", "[2, \"3\"]", "eos_token_id: want"},
        BadValue{"bos_token_id", "1.5", "bos_token_id: want"}));

TEST(ConfigTest, EndIdsAreFew) {
  nlohmann::json config = Minimal();
  config["eos_token_id"] = std::vector<int>(1024, 7);
  const absl::StatusOr<Config> parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->eos_ids, ElementsAre(7));
  config["eos_token_id"].push_back(7);
  ExpectRefusal(config,
                "config.json: eos_token_id: want at most 1024 ids, found 1025");
}

TEST(ConfigTest, TextThatIsNotAConfig) {
  const auto expect = [](const std::string& text, const std::string& message) {
    const absl::StatusOr<Config> parsed = ParseConfig(text, "config.json");
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
  };
  expect("", "config.json: not valid JSON: parse error");
  expect("{", "not valid JSON");
  expect("[]", "want an object, found []");
  expect("3", "want an object, found 3");
  expect("{} {}", "not valid JSON");
  expect("{\"a\": 1, \"a\": 2}", "duplicate key \"a\"");
  expect("{\"a\": {\"b\": 1, \"b\": 1}}", "duplicate key \"b\"");
  expect("{\"a\": 1e999}", "not valid JSON");
  expect("{\"a\": NaN}", "not valid JSON");
  expect("{\"a\": \"\xff\"}", "not valid JSON");
  expect(std::string(100000, '['), "nested deeper than 64");
  expect(std::string("{\"a\": \"x") + '\0' + "\"}", "not valid JSON");
}

nlohmann::json MinimalQuantized() {
  nlohmann::json config = Minimal();
  config["quantization_config"] = {
      {"quant_method", "zqfp"},
      {"version", 1},
      {"weights",
       {{"format", "e2m1"}, {"group_size", 128}, {"scale_constraint", "m1"}}},
      {"activations",
       {{"format", "e4m3"}, {"granularity", "token"}, {"dynamic", true}}},
      {"lm_head", "bf16"}};
  return config;
}

TEST(ConfigTest, QuantizationConfig) {
  const Config config = MustParse(MinimalQuantized().dump());
  ASSERT_TRUE(config.quantization.has_value());
  EXPECT_EQ(config.quantization->group_size, 128);
  EXPECT_EQ(config.quantization->constraint, ScaleConstraint::kM1);
  EXPECT_EQ(config.quantization->lm_head, HeadFormat::kBf16);
  EXPECT_EQ(config.quantization->weights, LinearFormat::kE2m1);
  EXPECT_EQ(config.quantization->activations, ActivationFormat::kE4m3);
  EXPECT_EQ(config.quantization->lorc.rank, 0);
  EXPECT_FALSE(config.quantization->Keeps("model.layers.0.mlp.up_proj"));
}

TEST(ConfigTest, QuantizationOfOtherKinds) {
  nlohmann::json json = MinimalQuantized();
  nlohmann::json& own = json["quantization_config"];
  own["weights"] = {{"format", "e4m3"}};
  own["activations"] = nullptr;
  own["lorc"] = {{"rank", 8}, {"format", "bf16"}, {"weighting", "plain"}};
  own["keep"] = {"model.layers.0.mlp.up_proj"};
  own["calibration"] = {{"anything", 1}};
  const Config config = MustParse(json.dump());
  EXPECT_EQ(config.quantization->weights, LinearFormat::kE4m3);
  EXPECT_EQ(config.quantization->activations, ActivationFormat::kNone);
  EXPECT_EQ(config.quantization->lorc.rank, 8);
  EXPECT_EQ(config.quantization->lorc.format, kernels::ValueFormat::kBf16);
  EXPECT_TRUE(config.quantization->Keeps("model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(config.quantization->Keeps("model.layers.1.mlp.up_proj"));
  own["lm_head"] = "e2m1";  // in groups of what size?
  ExpectRefusal(json, "lm_head: want");
}

TEST(ConfigTest, QuantizationThatIsNotSupported) {
  for (const char* method : {"gptq", "awq", "bitsandbytes"}) {
    nlohmann::json config = Minimal();
    config["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
    ExpectRefusal(config, std::string(method) + " is not supported");
    EXPECT_EQ(Parse(config).status().code(), absl::StatusCode::kUnimplemented);
  }
  const auto expect = [](const char* pointer, const nlohmann::json& value,
                         const std::string& message) {
    nlohmann::json config = MinimalQuantized();
    config[nlohmann::json::json_pointer(pointer)] = value;
    ExpectRefusal(config, message);
  };
  const std::string base = "/quantization_config/";
  expect((base + "version").c_str(), 2, "version: 2 is not supported");
  expect((base + "version").c_str(), "1", "version: want an integer");
  expect((base + "lorc").c_str(), {{"rank", 8}}, "format: want a string");
  expect((base + "lorc").c_str(), {{"rank", 65}, {"format", "e4m3"}},
         "rank: want");
  expect((base + "lorc").c_str(), {{"rank", 8}, {"format", "int8"}},
         "want \"e4m3\" or \"bf16\", found \"int8\"");
  expect((base + "lorc").c_str(),
         {{"rank", 8}, {"format", "e4m3"}, {"alpha", 1}}, "alpha: this key");
  expect((base + "keep").c_str(), "lm_head", "keep: want a list of names");
  expect((base + "keep").c_str(), {1}, "keep: want a list of names");
  expect((base + "sparsity").c_str(), 1, "sparsity: this key is not supported");
  expect((base + "lm_head").c_str(), "int8",
         "lm_head: want \"bf16\" or \"e4m3\" or \"e2m1\", found \"int8\"");
  expect((base + "weights/group_size").c_str(), 48, "32, 64, 128 or 256");
  expect((base + "weights/group_size").c_str(), 16, "group_size: want");
  expect((base + "weights/scale_constraint").c_str(), "m3",
         "want \"free\" or \"m1\" or \"m2\", found \"m3\"");
  expect((base + "weights/format").c_str(), "int4", "want \"e2m1\"");
  expect((base + "weights/format").c_str(), "e4m3", "group_size: this key");
  expect((base + "weights/zero_point").c_str(), 1, "zero_point: this key");
  expect((base + "weights").c_str(), 7, "weights: want an object");
  expect((base + "activations/dynamic").c_str(), false, "want true");
  expect((base + "activations/format").c_str(), "e5m2", "want \"e4m3\"");
  nlohmann::json config = Minimal();
  config["quantization_config"] = nlohmann::json::object();
  ExpectRefusal(config, "quant_method: want a string, found nothing");
}

TEST(ConfigTest, RealCheckpoints) {
  for (const char* model : {"tinystories-656k", "babyllama-1m"}) {
    const std::string directory =
        testing::AssetPath(std::string("models/") + model);
    if (directory.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
    const absl::StatusOr<Config> config = LoadConfig(directory);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->model_dim, 128);
    EXPECT_EQ(config->head_dim, 16);
    EXPECT_EQ(config->num_kv_heads, 4);
    EXPECT_TRUE(config->tie_embeddings);
    EXPECT_THAT(config->eos_ids, ElementsAre(2));
  }
}

TEST(ConfigTest, NoSuchDirectory) {
  const absl::StatusOr<Config> config = LoadConfig("no/such/directory");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("config.json: cannot open"));
}

}  // namespace
}  // namespace zqfp
