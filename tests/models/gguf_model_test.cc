// SPDX-License-Identifier: Apache-2.0
// Models in GGUF files against transformers and against the format's own
// package (tests/golden/gguf_golden.py), and what a config may not say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/backend.h"
#include "models/gguf.h"
#include "models/gguf_blocks.h"
#include "models/gguf_checkpoint.h"
#include "models/gguf_config.h"
#include "models/model.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tests/assets.h"
#include "tests/backends.h"
#include "tests/models/gguf_file.h"
#include "tests/models/logit_bound.h"
#include "tests/models/safetensors_file.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using nlohmann::json;
using testing::AssetPath;
using testing::GgufArray;
using testing::GgufBytes;
using testing::GgufInt;
using testing::GgufReal;
using testing::GgufTensor;
using testing::GgufText;
using testing::GgufTexts;
using ::testing::HasSubstr;
using testing::Raw;
using testing::ScratchDirectory;
using testing::SequenceRunner;
using testing::SourcePath;

std::string GoldenFile(const std::string& name) {
  return SourcePath("tests/golden/gguf/" + name);
}

const json& Golden() {
  static const json& golden = *new json([] {
    std::ifstream file(GoldenFile("gguf.json"));
    return json::parse(file, nullptr, false);
  }());
  return golden;
}

std::string DecodeBase64(const std::string& text) {
  const std::string alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(alphabet.find(c));
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return bytes;
}

class GgufGoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufGoldenTest, LogitsAndGreedyIdsOfEveryBackend) {
  const json& golden = Golden()["models"][GetParam()];
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();
  for (const std::string& backend : testing::Backends()) {
    const auto model =
        Model::Load(GoldenFile(std::string(GetParam()) + ".gguf"),
                    {.num_threads = 2, .backend = backend});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto vocab_size = static_cast<size_t>((*model)->config().vocab_size);
    SequenceRunner runner(model->get(), ValueFormat::kF32);
    const auto logits = runner.RunChunks(prompt, 16);
    ASSERT_TRUE(logits.ok()) << logits.status();
    const auto first = golden["first_row"].get<size_t>();
    double largest = 0, difference = 0;
    for (size_t row = 0; row < golden["logits"].size(); ++row) {
      ASSERT_EQ(golden["logits"][row].size(), vocab_size);
      for (size_t i = 0; i < vocab_size; ++i) {
        const double want = golden["logits"][row][i].get<double>();
        const double found = (*logits)[(first + row) * vocab_size + i];
        largest = std::max(largest, std::fabs(want));
        difference = std::max(difference, std::fabs(want - found));
      }
    }
    EXPECT_LE(difference, testing::LogitBound((*model)->config(), largest))
        << backend;
    EXPECT_EQ(runner.Greedy(*logits, 20),
              golden["greedy"].get<std::vector<int32_t>>())
        << backend;
  }
}

TEST_P(GgufGoldenTest, BlocksAreThePackagesOwnToTheBit) {
  const auto checkpoint =
      OpenGgufCheckpoint(GoldenFile(std::string(GetParam()) + ".gguf"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  for (const auto& [name, text] :
       Golden()["models"][GetParam()]["tensors"].items()) {
    const std::string want = DecodeBase64(text.get<std::string>());
    const Tensor* tensor = checkpoint->Find(name);
    ASSERT_NE(tensor, nullptr) << name;
    std::vector<float> found(static_cast<size_t>(NumElements(*tensor)));
    ASSERT_EQ(want.size(), found.size() * 4);
    ExpandBlocks(*tensor, 0, NumElements(*tensor), found.data());
    EXPECT_EQ(memcmp(found.data(), want.data(), want.size()), 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufGoldenTest,
                         ::testing::Values("llama_f16", "llama_q8_0",
                                           "llama_mxfp4", "qwen2_bf16",
                                           "qwen3_f32"),
                         [](const auto& info) { return info.param; });

TEST(GgufModelTest, ExplainSaysWhatTheFileHas) {
  const auto sources = [](const char* name) {
    const auto model = Model::Load(GoldenFile(name), {.num_threads = 1});
    EXPECT_TRUE(model.ok()) << model.status();
    std::map<std::string, std::string> found;
    for (const LinearInfo& linear : (*model)->Explain()) {
      found[linear.name.substr(linear.name.rfind('.') + 1)] =
          linear.weights + " from " + linear.source;
      EXPECT_EQ(linear.activations, "f32");
      EXPECT_GT(linear.source_bytes, 0);
    }
    found["converted"] = (*model)->converted_bytes() > 0 ? "yes" : "no";
    return found;
  };
  auto found = sources("llama_mxfp4.gguf");
  EXPECT_EQ(found["q_proj"],
            "e2m1 m1 group 32 from GGUF MXFP4, rows put in order");
  EXPECT_EQ(found["down_proj"], "e2m1 m1 group 32 from GGUF MXFP4");
  EXPECT_EQ(found["lm_head"], "f32 from GGUF Q8_0");
  EXPECT_EQ(found["converted"], "yes");
  found = sources("llama_q8_0.gguf");
  EXPECT_EQ(found["v_proj"], "f32 from GGUF Q8_0");
  found = sources("qwen2_bf16.gguf");
  EXPECT_EQ(found["q_proj"], "bf16 from GGUF BF16");
  EXPECT_EQ(found["converted"], "no");
}

// A tied head is the embedding's f32, not a second copy.
TEST(GgufModelTest, ConvertedBytesCountTheTiedHeadOnce) {
  const auto model =
      Model::Load(GoldenFile("llama_q8_0.gguf"), {.num_threads = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t bytes = 0;
  for (const LinearInfo& linear : (*model)->Explain()) {
    bytes += linear.n * linear.k * 4;
  }
  EXPECT_EQ((*model)->converted_bytes(), bytes);
}

TEST(GgufModelTest, TheRealFileIsItsSafetensorsToTheBit) {
  const std::string directory = AssetPath("models/stories-260k");
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no assets";
  const auto file = Model::Load(directory + "/tinyllamas-stories-260k-f32.gguf",
                                {.num_threads = 2});
  const auto original = Model::Load(directory, {.num_threads = 2});
  ASSERT_TRUE(file.ok() && original.ok()) << file.status();
  std::vector<int32_t> ids = {1};
  for (int32_t i = 0; i < 60; ++i) ids.push_back((i * 37 + 11) % 512);
  SequenceRunner a(file->get(), ValueFormat::kF32);
  SequenceRunner b(original->get(), ValueFormat::kF32);
  EXPECT_EQ(*a.RunChunks(ids, 16), *b.RunChunks(ids, 16));
  EXPECT_EQ((*file)->config().eos_ids, (*original)->config().eos_ids);
}

TEST(GgufModelTest, ADirectoryWithOneFileIsThatFile) {
  const ScratchDirectory scratch;
  std::filesystem::copy_file(GoldenFile("llama_f16.gguf"), scratch / "m.gguf");
  EXPECT_TRUE(Model::Load(scratch.path(), {.num_threads = 1}).ok());
  std::filesystem::copy_file(GoldenFile("llama_f16.gguf"), scratch / "n.gguf");
  EXPECT_THAT(Model::Load(scratch.path(), {}).status().message(),
              HasSubstr("want one *.gguf file, found 2"));
}

TEST(GgufModelTest, QuantizesFloatsAndExpandedBlocks) {
  for (const char* name : {"llama_f16.gguf", "llama_q8_0.gguf",
                           "qwen2_bf16.gguf", "qwen3_f32.gguf"}) {
    const ScratchDirectory scratch;
    QuantizeOptions options;
    options.input = GoldenFile(name);
    options.output = scratch / "quantized";
    options.linears.grid.scales.group_size = 32;
    options.num_threads = 1;
    options.companions = {{"tokenizer.json", "{}"}};
    const auto report = QuantizeCheckpoint(options);
    ASSERT_TRUE(report.ok()) << report.status();
    const bool blocks = std::string(name) == "llama_q8_0.gguf";
    EXPECT_EQ(report->num_expanded > 0, blocks);
    const auto found = Model::Load(options.output, {.num_threads = 1});
    ASSERT_TRUE(found.ok()) << found.status();
    // What the file said of the rotation came along.
    const auto before = LoadConfig(options.input);
    EXPECT_EQ((*found)->config().rope.scaling, before->rope.scaling);
    EXPECT_EQ((*found)->config().rope.factors, before->rope.factors);
    EXPECT_EQ((*found)->config().eos_ids, before->eos_ids);
    EXPECT_TRUE(std::filesystem::exists(options.output + "/tokenizer.json"));
    EXPECT_FALSE(std::filesystem::exists(options.output + "/gguf.json"));
  }
}

TEST(GgufModelTest, QuantizingRefusesFourBits) {
  const ScratchDirectory scratch;
  QuantizeOptions options;
  options.input = GoldenFile("llama_mxfp4.gguf");
  options.output = scratch / "quantized";
  options.num_threads = 1;
  EXPECT_THAT(QuantizeCheckpoint(options).status().message(),
              HasSubstr("file has MXFP4"));
  EXPECT_FALSE(std::filesystem::exists(options.output));
}

// A model of one layer, with keys replaced, added or ("" for the value) left
// out.
struct Edit {
  const char* name;
  std::string key;
  std::string entry;
  const char* message;
};

std::string ModelBytes(const Edit& edit, const std::string& rope_freqs = "") {
  std::map<std::string, std::string> keys = {
      {"general.architecture", GgufText("general.architecture", "llama")},
      {"llama.context_length", GgufInt("llama.context_length", 16)},
      {"llama.embedding_length", GgufInt("llama.embedding_length", 8)},
      {"llama.block_count", GgufInt("llama.block_count", 1)},
      {"llama.feed_forward_length", GgufInt("llama.feed_forward_length", 8)},
      {"llama.attention.head_count", GgufInt("llama.attention.head_count", 2)},
      {"llama.attention.layer_norm_rms_epsilon",
       GgufReal("llama.attention.layer_norm_rms_epsilon", 1e-5f)}};
  if (!edit.key.empty()) keys[edit.key] = edit.entry;
  GgufBytes file;
  for (const auto& [key, entry] : keys) {
    if (!entry.empty()) file.keys.push_back(entry);
  }
  const auto add = [&](const std::string& name, std::vector<uint64_t> dims,
                       const std::string& bytes) {
    file.data.resize((file.data.size() + 31) / 32 * 32);
    file.tensors.push_back(GgufTensor(name, dims, 0, file.data.size()));
    file.data += bytes;
  };
  add("token_embd.weight", {8, 4}, std::string(128, '\0'));
  if (!rope_freqs.empty()) {
    add("rope_freqs.weight", {rope_freqs.size() / 4}, rope_freqs);
  }
  return file.Build();
}

absl::StatusOr<std::string> ConfigOf(const std::string& bytes) {
  const auto gguf = Gguf::Parse(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.gguf");
  if (!gguf.ok()) return gguf.status();
  return GgufConfigText(*gguf);
}

std::vector<Edit> Edits() {
  const auto number = [](const char* name, const char* key, uint32_t value,
                         const char* message) {
    return Edit{name, key, GgufInt(key, value), message};
  };
  const auto without = [](const char* name, const char* key) {
    return Edit{name, key, "", key};
  };
  return {
      without("no_architecture", "general.architecture"),
      without("no_context", "llama.context_length"),
      without("no_width", "llama.embedding_length"),
      without("no_layers", "llama.block_count"),
      without("no_ffn", "llama.feed_forward_length"),
      without("no_heads", "llama.attention.head_count"),
      without("no_epsilon", "llama.attention.layer_norm_rms_epsilon"),
      {"other_architecture", "general.architecture",
       GgufText("general.architecture", "mamba"),
       "\"mamba\" (supported are llama, qwen2, qwen3) is not supported"},
      {"adapter", "general.type", GgufText("general.type", "adapter"),
       "general.type: \"adapter\""},
      number("zero_heads", "llama.attention.head_count", 0, "head_count"),
      number("heads_do_not_divide", "llama.attention.head_count", 3,
             "multiple of the 3 heads"),
      number("zero_width", "llama.embedding_length", 0, "embedding_length"),
      number("experts", "llama.expert_count", 8, "8 (supported is 0)"),
      number("partial_rotation", "llama.rope.dimension_count", 2,
             "rope.dimension_count: 2 (supported is 4)"),
      number("other_values", "llama.attention.value_length", 2, "value_length"),
      number("other_vocabulary", "llama.vocab_size", 5, "vocab_size: 5"),
      number("unknown_key", "llama.attention.temperature_length", 1,
             "llama.attention.temperature_length: this key"),
      {"uneven_layers", "llama.feed_forward_length",
       GgufArray("llama.feed_forward_length", 4, 2, Raw(8u) + Raw(4u)),
       "differs between layers"},
      {"no_layers_listed", "llama.feed_forward_length",
       GgufArray("llama.feed_forward_length", 4, 0, ""), "want a size"},
      {"not_causal", "llama.attention.causal",
       testing::GgufKey("llama.attention.causal", 7, Raw(uint8_t{0})),
       "causal: false"},
      {"longrope", "llama.rope.scaling.type",
       GgufText("llama.rope.scaling.type", "longrope"),
       "\"longrope\" (supported are none, linear and yarn)"},
      {"epsilon_is_text", "llama.attention.layer_norm_rms_epsilon",
       GgufText("llama.attention.layer_norm_rms_epsilon", "x"), "a number"},
      number("bos_beyond", "tokenizer.ggml.bos_token_id", 4, "found id 4"),
      number("eos_beyond", "tokenizer.ggml.eos_token_id", 1000,
             "found id 1000"),
      number("eos_huge", "tokenizer.ggml.eos_token_id", ~0u, "eos_token_id"),
  };
}

class ConfigEditTest : public ::testing::TestWithParam<Edit> {};

TEST_P(ConfigEditTest, IsNamed) {
  const auto text = ConfigOf(ModelBytes(GetParam()));
  ASSERT_FALSE(text.ok()) << *text;
  EXPECT_THAT(text.status().message(), HasSubstr("x.gguf: "));
  EXPECT_THAT(text.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, ConfigEditTest, ::testing::ValuesIn(Edits()),
                         [](const auto& info) { return info.param.name; });

TEST(GgufConfigTest, SaysWhatAConfigJsonWould) {
  const auto text = ConfigOf(ModelBytes({}));
  ASSERT_TRUE(text.ok()) << text.status();
  const auto config = ParseConfig(*text, "x");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kLlama);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_TRUE(config->tie_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_EQ(config->norm_epsilon, 1e-5);  // not the f32 nearest to it
  EXPECT_EQ(config->rope.theta, 10000.0);
  EXPECT_EQ(config->bos_id, -1);
  EXPECT_TRUE(config->eos_ids.empty());
}

TEST(GgufConfigTest, AWindowMakesItMistral) {
  const auto text =
      ConfigOf(ModelBytes({"", "llama.attention.sliding_window",
                           GgufInt("llama.attention.sliding_window", 5), ""}));
  const auto config = ParseConfig(*text, "x");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kMistral);
  EXPECT_EQ(config->sliding_window, 5);
}

TEST(GgufConfigTest, FactorsOfTheFrequencies) {
  const auto text = ConfigOf(ModelBytes({}, Raw(1.0f) + Raw(8.0f)));
  ASSERT_TRUE(text.ok()) << text.status();
  const auto config = ParseConfig(*text, "x");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.scaling, RopeScaling::kFactors);
  EXPECT_EQ(config->rope.factors, (std::vector<double>{1, 8}));
  for (const std::string& broken :
       {Raw(1.0f), Raw(1.0f) + Raw(0.0f), Raw(-1.0f) + Raw(1.0f),
        Raw(1.0f) + Raw(std::nanf("")),
        Raw(1.0f) + Raw(std::numeric_limits<float>::infinity())}) {
    EXPECT_THAT(ConfigOf(ModelBytes({}, broken)).status().message(),
                HasSubstr("rope_freqs.weight"));
  }
}

TEST(GgufConfigTest, EndsAreTheKeysAndTheWellKnownControlTokens) {
  const std::vector<std::string> tokens = {"<|im_end|>", "</s>", "a",
                                           "<|eot_id|>"};
  GgufBytes file = {.keys = {GgufText("tokenizer.ggml.model", "gpt2"),
                             GgufTexts("tokenizer.ggml.tokens", tokens),
                             GgufArray("tokenizer.ggml.token_type", 5, 4,
                                       Raw(1) + Raw(3) + Raw(1) + Raw(3)),
                             GgufInt("tokenizer.ggml.eos_token_id", 2)}};
  const std::string bytes = file.Build();
  const auto gguf = Gguf::Parse(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x");
  ASSERT_TRUE(gguf.ok());
  // "<|im_end|>" is an ordinary text here.
  EXPECT_EQ(*GgufEndIds(*gguf), (std::vector<int32_t>{2, 1, 3}));
  EXPECT_EQ(*GgufBeginId(*gguf), -1);
}

}  // namespace
}  // namespace zqfp
