// SPDX-License-Identifier: Apache-2.0
// Every broken or unknown field of the configs that other quantizers write is
// refused by name.
#include "models/foreign_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "models/config.h"
#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::zqfp::testing::SourcePath;

constexpr const char* kUp = "model.layers.0.mlp.up_proj";

json Read(const std::string& variant) {
  std::ifstream file(
      SourcePath("tests/golden/foreign/" + variant + "/config.json"));
  return json::parse(file);
}

absl::StatusOr<Config> Parse(const json& config) {
  return ParseConfig(config.dump(), "config.json");
}

// The config of `variant` with one value of "quantization_config" changed.
absl::Status Changed(const std::string& variant, const std::string& pointer,
                     const json& value) {
  json config = Read(variant);
  config[json::json_pointer("/quantization_config" + pointer)] = value;
  return Parse(config).status();
}

void ExpectRefusal(const absl::Status& status, const std::string& text) {
  EXPECT_FALSE(status.ok()) << text;
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("config.json: quantization_config"));
}

// What only weight_only runs: parsed, and refused by CheckRunnable.
void ExpectWeightOnly(const json& config, const std::string& text) {
  auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_TRUE(parsed->foreign.has_value());
  const absl::Status status = parsed->foreign->CheckRunnable();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--weight_only"));
  parsed->foreign->weight_only = true;
  EXPECT_TRUE(parsed->foreign->CheckRunnable().ok());
}

void ExpectWeightOnly(const std::string& variant, const std::string& pointer,
                      const json& value, const std::string& text) {
  json config = Read(variant);
  config[json::json_pointer("/quantization_config" + pointer)] = value;
  ExpectWeightOnly(config, text);
}

const std::string kGroup = "/config_groups/group_0/";

TEST(CompressedTensorsConfigTest, ReadsTheSchemesOfItsTools) {
  const auto mxfp4 = Parse(Read("ct_mxfp4"));
  ASSERT_TRUE(mxfp4.ok()) << mxfp4.status();
  EXPECT_FALSE(mxfp4->quantization.has_value());
  const ForeignScheme* scheme = *mxfp4->foreign->SchemeOf(kUp);
  ASSERT_NE(scheme, nullptr);
  EXPECT_EQ(scheme->weights, ForeignWeights::kMxfp4);
  EXPECT_EQ(scheme->group_size, 32);
  EXPECT_EQ(scheme->activations, ActivationFormat::kNone);
  EXPECT_EQ(*mxfp4->foreign->SchemeOf("lm_head"), nullptr);

  const auto block = Parse(Read("ct_fp8_block"));
  ASSERT_TRUE(block.ok()) << block.status();
  scheme = *block->foreign->SchemeOf(kUp);
  EXPECT_EQ(scheme->weights, ForeignWeights::kE4m3Block);
  EXPECT_EQ(scheme->block_rows, 128);
  EXPECT_EQ(scheme->group_size, 128);
  EXPECT_EQ(scheme->activations, ActivationFormat::kE4m3Groups);
  EXPECT_EQ(scheme->activation_group, 128);

  const auto mixed = Parse(Read("ct_mixed"));
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ(*mixed->foreign->SchemeOf(kUp), nullptr);
  EXPECT_EQ(
      (*mixed->foreign->SchemeOf("model.layers.0.self_attn.q_proj"))->weights,
      ForeignWeights::kMxfp4);
  EXPECT_EQ(
      (*mixed->foreign->SchemeOf("model.layers.0.mlp.down_proj"))->weights,
      ForeignWeights::kE4m3Channel);
}

TEST(CompressedTensorsConfigTest, TheOlderSpellingReadsAlike) {
  json config = Read("ct_mxfp4");
  config["compression_config"] = config["quantization_config"];
  config.erase("quantization_config");
  config["compression_config"].erase("quant_method");
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_NE(*parsed->foreign->SchemeOf(kUp), nullptr);
  config["compression_config"]["quant_method"] = "gptq";
  EXPECT_THAT(std::string(Parse(config).status().message()),
              HasSubstr("want \"compressed-tensors\", found \"gptq\""));
  config["quantization_config"] = Read("ct_mxfp4")["quantization_config"];
  EXPECT_THAT(std::string(Parse(config).status().message()),
              HasSubstr("want none beside a quantization_config"));
}

TEST(CompressedTensorsConfigTest, NamesGoBeforePatternsBeforeClasses) {
  json config = Read("ct_fp8_dynamic");
  json& groups = config["quantization_config"]["config_groups"];
  groups["group_1"] =
      Read("ct_fp8_block")["quantization_config"]["config_groups"]["group_0"];
  groups["group_1"]["targets"] = {"re:.*up_proj"};
  auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ((*parsed->foreign->SchemeOf(kUp))->weights,
            ForeignWeights::kE4m3Block);
  groups["group_0"]["targets"] = {"Linear", kUp};
  EXPECT_EQ((*Parse(config)->foreign->SchemeOf(kUp))->weights,
            ForeignWeights::kE4m3Channel);
  config["quantization_config"]["ignore"] = {"re:.*mlp.*"};
  EXPECT_EQ(*Parse(config)->foreign->SchemeOf(kUp), nullptr);
  config["quantization_config"]["ignore"] = json::array();
  groups["group_1"]["targets"] = {kUp};
  const auto both = Parse(config)->foreign->SchemeOf(kUp);
  EXPECT_THAT(std::string(both.status().message()),
              HasSubstr("found group_0 and group_1"));
}

TEST(CompressedTensorsConfigTest, RefusesWhatItDoesNotKnowByName) {
  const auto expect = [](const std::string& pointer, const json& value,
                         const std::string& text) {
    ExpectRefusal(Changed("ct_mxfp4", pointer, value), text);
  };
  expect(kGroup + "format", "marlin-24", "as mxfp4-pack-quantized");
  expect(kGroup + "format", "float-quantized", "as mxfp4-pack-quantized");
  expect("/format", nullptr, "format: want a string");
  expect("/surprise", 1, "surprise: this key is not supported");
  expect("/quantization_status", "frozen", "want \"compressed\"");
  expect("/transform_config", {{"R1", 1}}, "transform_config: {\"R1\":1}");
  expect("/moe_sparsity_config", {{"a", 1}}, "moe_sparsity_config");
  expect("/sparsity_config", {{"format", "sparse-24-bitmask"}},
         "sparsity_config");
  expect("/sparsity_config", 7, "sparsity_config: want an object");
  expect("/ignore", "lm_head", "ignore: want a list of strings");
  expect("/ignore", {"re:["}, "ignore: want a pattern");
  expect("/config_groups", 3, "config_groups: want an object");
  expect("/config_groups/group_0", 3, "group_0: want an object");
  expect(kGroup + "targets", nullptr, "targets: want a list");
  expect(kGroup + "targets", {1}, "targets: want a list of strings");
  expect(kGroup + "output_activations", {{"num_bits", 8}},
         "output_activations: {\"num_bits\":8} is not supported");
  expect(kGroup + "surprise", 1, "surprise: this key");
  expect(kGroup + "weights", nullptr, "weights: want an object");
}

TEST(CompressedTensorsConfigTest, RefusesWeightSchemesByName) {
  const auto expect = [](const std::string& variant, const std::string& key,
                         const json& value, const std::string& text) {
    ExpectRefusal(Changed(variant, kGroup + "weights/" + key, value), text);
  };
  expect("ct_mxfp4", "num_bits", 3, "3-bit float per group 32");
  expect("ct_mxfp4", "num_bits", 6, "6-bit float per group 32");
  expect("ct_mxfp4", "num_bits", "4", "num_bits: want an integer");
  expect("ct_mxfp4", "type", "int", "4-bit int per group 32");
  expect("ct_mxfp4", "type", "bool", "want \"float\" or \"int\"");
  expect("ct_mxfp4", "symmetric", false, "symmetric: false");
  expect("ct_mxfp4", "group_size", 64, "per group 64");
  expect("ct_mxfp4", "strategy", "channel", "4-bit float per channel");
  expect("ct_mxfp4", "scale_dtype", "torch.bfloat16", "is not supported");
  expect("ct_mxfp4", "actorder", "group", "actorder: \"group\"");
  expect("ct_mxfp4", "actorder", true, "actorder: true");
  expect("ct_mxfp4", "dynamic", true, "dynamic: want false");
  expect("ct_mxfp4", "dynamic", "often", "want true, false or \"local\"");
  expect("ct_mxfp4", "zero_point", 1, "zero_point: this key");
  expect("ct_nvfp4", "group_size", 32, "per tensor_group 32");
  expect("ct_fp8_dynamic", "strategy", "group", "8-bit float per group");
  expect("ct_fp8_dynamic", "strategy", "block", "8-bit float per block");
  expect("ct_fp8_block", "block_structure", {128, 100}, "per block");
  expect("ct_fp8_block", "block_structure", {0, 128}, "want an integer in 1");
  expect("ct_fp8_block", "block_structure", "128x128", "list of two integers");
  for (const char* harmless : {"weight", "static"}) {
    const absl::Status status =
        Changed("ct_mxfp4", kGroup + "weights/actorder", harmless);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(CompressedTensorsConfigTest, InputsAndCachesThatOnlyWeightOnlyRuns) {
  ExpectWeightOnly(Read("ct_nvfp4_a4"), "input_activations: 4-bit float");
  const std::string inputs = kGroup + "input_activations/";
  ExpectWeightOnly("ct_fp8_dynamic", inputs + "strategy", "tensor",
                   "8-bit float per tensor, dynamic true");
  ExpectWeightOnly("ct_fp8_dynamic", inputs + "type", "int", "8-bit int");
  ExpectWeightOnly("ct_fp8_dynamic", inputs + "scale_dtype", "torch.uint8",
                   "input_activations");
  ExpectWeightOnly("ct_fp8_static", inputs + "strategy", "channel",
                   "per channel, dynamic false");
  ExpectWeightOnly("ct_fp8_dynamic", "/kv_cache_scheme", {{"num_bits", 8}},
                   "kv_cache_scheme: {\"num_bits\":8}");
}

TEST(ModelOptConfigTest, ReadsAndRefusesByName) {
  const auto fp8 = Parse(Read("modelopt_fp8"));
  ASSERT_TRUE(fp8.ok()) << fp8.status();
  EXPECT_EQ((*fp8->foreign->SchemeOf(kUp))->activations,
            ActivationFormat::kE4m3Static);
  ExpectWeightOnly(Read("modelopt_nvfp4_a4"), "NVFP4 (4-bit inputs)");
  ExpectWeightOnly(Read("modelopt_mxfp4_mlp"), "does not say");
  ExpectWeightOnly("modelopt_fp8", "/quant_algo", "W4A8_MXFP4_FP8",
                   "one dynamic scale for all tokens");
  ExpectWeightOnly("modelopt_fp8", "/kv_cache_scheme", {{"num_bits", 8}},
                   "kv_cache_scheme: {\"num_bits\":8}");
  const auto expect = [](const std::string& pointer, const json& value,
                         const std::string& text) {
    ExpectRefusal(Changed("modelopt_fp8", pointer, value), text);
  };
  for (const char* algorithm : {"NVFP4_AWQ", "W4A16_AWQ", "MXFP8", "NVFP4_SVD",
                                "W8A8_SQ_PER_CHANNEL"}) {
    expect("/quant_algo", algorithm,
           std::string("quant_algo: ") + algorithm + " is not supported");
  }
  expect("/quant_algo", nullptr, "quant_algo: want a string");
  expect("/pre_quant_scale", true, "pre_quant_scale: true");
  expect("/has_zero_point", true, "has_zero_point: true");
  expect("/surprise", 1, "surprise: this key");
  expect("/ignore", 1, "ignore: want a list of strings");
  json config = Read("modelopt_nvfp4_a4");
  config["quantization_config"]["group_size"] = 24;
  ExpectRefusal(Parse(config).status(), "group_size: want 16, 32, 64");
  config["quantization_config"]["quant_algo"] = "MXFP4";
  ExpectRefusal(Parse(config).status(), "group_size: want 32");
}

TEST(ModelOptConfigTest, MixedModelsNameEachLayer) {
  json config = Read("modelopt_fp8");
  json& own = config["quantization_config"];
  own["quant_algo"] = "MIXED_PRECISION";
  own["quantized_layers"] = {
      {kUp, {{"quant_algo", "W4A16_NVFP4"}, {"group_size", 16}}},
      {"model.layers.0.mlp.down*", {{"quant_algo", "FP8"}}}};
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ((*parsed->foreign->SchemeOf(kUp))->weights, ForeignWeights::kNvfp4);
  EXPECT_EQ(
      (*parsed->foreign->SchemeOf("model.layers.0.mlp.down_proj"))->weights,
      ForeignWeights::kE4m3Tensor);
  EXPECT_EQ(*parsed->foreign->SchemeOf("model.layers.0.mlp.gate_proj"),
            nullptr);
  own["quantized_layers"][kUp]["awq_thing"] = 1;
  ExpectRefusal(Parse(config).status(), "awq_thing: this key");
  own["quantized_layers"] = 1;
  ExpectRefusal(Parse(config).status(), "quantized_layers: want an object");
}

// The file of its own says more, and goes before config.json.
TEST(ModelOptConfigTest, ReadsItsOwnFile) {
  const auto both =
      LoadConfig(SourcePath("tests/golden/foreign/modelopt_nvfp4_a8"));
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ((*both->foreign->SchemeOf(kUp))->group_size, 32);
  // Alone it will do, too.
  json config = Read("modelopt_nvfp4_a8");
  config.erase("quantization_config");
  const testing::ScratchDirectory scratch;
  scratch.Write("config.json", config.dump());
  EXPECT_FALSE(LoadConfig(scratch.path())->foreign.has_value());
  scratch.Write("hf_quant_config.json",
                R"({"quantization": {"quant_algo": "FP8"}})");
  EXPECT_TRUE(LoadConfig(scratch.path())->foreign.has_value());
  config["quantization_config"] = Read("ct_mxfp4")["quantization_config"];
  scratch.Write("config.json", config.dump());
  EXPECT_THAT(std::string(LoadConfig(scratch.path()).status().message()),
              HasSubstr("want none beside a config.json of another"));
  const json good = {
      {"producer", {{"name", "modelopt"}}},
      {"quantization", {{"quant_algo", "FP8"}, {"exclude_modules", {"lm*"}}}}};
  const auto read = [](const json& root) {
    return ReadModelOptFile(JsonReader(root, "hf_quant_config.json"));
  };
  ASSERT_TRUE(read(good).ok());
  EXPECT_EQ(*read(good)->SchemeOf("lm_head"), nullptr);
  json bad = good;
  bad["quantization"] = nullptr;
  EXPECT_THAT(std::string(read(bad).status().message()),
              HasSubstr("hf_quant_config.json: quantization: want an object"));
  bad = good;
  bad["quantization"]["kv_cache_quant_algo"] = "FP8";
  EXPECT_THAT(std::string(read(bad)->CheckRunnable().message()),
              HasSubstr("kv_cache_quant_algo: \"FP8\" is not supported"));
}

TEST(Fp8ConfigTest, ReadsAndRefusesByName) {
  const auto parsed = Parse(Read("deepseek_fp8"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ((*parsed->foreign->SchemeOf(kUp))->weights,
            ForeignWeights::kE4m3Block);
  EXPECT_EQ(*parsed->foreign->SchemeOf("lm_head"), nullptr);
  json config = Read("deepseek_fp8");
  json& own = config["quantization_config"];
  own["modules_to_not_convert"] = {"model.layers.0.mlp"};
  EXPECT_EQ(*Parse(config)->foreign->SchemeOf(kUp), nullptr);
  own.erase("modules_to_not_convert");
  own["weight_block_size"] = nullptr;
  EXPECT_EQ((*Parse(config)->foreign->SchemeOf(kUp))->activations,
            ActivationFormat::kE4m3);
  own["activation_scheme"] = "static";
  EXPECT_EQ((*Parse(config)->foreign->SchemeOf(kUp))->activations,
            ActivationFormat::kE4m3Static);
  const auto expect = [](const std::string& pointer, const json& value,
                         const std::string& text) {
    ExpectRefusal(Changed("deepseek_fp8", pointer, value), text);
  };
  expect("/fmt", "e5m2", "fmt: want \"e4m3\"");
  expect("/activation_scheme", "none", "want \"dynamic\" or \"static\"");
  expect("/weight_block_size", {128}, "a list of two integers");
  expect("/weight_block_size", {128, 100}, "blocks of 100 columns");
  expect("/weight_block_size", {0, 128}, "want an integer in 1..");
  expect("/scale_fmt", "int8", "scale_fmt: want");
  expect("/modules_to_not_convert", {"("}, "want a pattern");
  expect("/surprise", 1, "surprise: this key");
  ExpectWeightOnly("deepseek_fp8", "/scale_fmt", "ue8m0", "scale_fmt: ue8m0");
  ExpectWeightOnly("deepseek_fp8", "/activation_scheme", "static",
                   "static with weight_block_size");
}

TEST(Mxfp4ConfigTest, ReadsAndRefusesByName) {
  const auto parsed = Parse(Read("gptoss_mxfp4"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->foreign->method, ForeignMethod::kMxfp4);
  EXPECT_EQ((*parsed->foreign->SchemeOf(kUp))->weights, ForeignWeights::kMxfp4);
  ExpectRefusal(Changed("gptoss_mxfp4", "/surprise", 1), "surprise: this key");
}

}  // namespace
}  // namespace zqfp
