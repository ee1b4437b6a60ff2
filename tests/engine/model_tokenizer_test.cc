// SPDX-License-Identifier: Apache-2.0
// Tokenizers inside of GGUF files against the ids of tokenizers and
// sentencepiece for the same vocabularies (tests/golden/gguf_golden.py).
#include "engine/model_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using zqfp::testing::AssetPath;
using zqfp::testing::ScratchDirectory;
using zqfp::testing::SourcePath;

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

class GgufIdsTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path() const {
    return GoldenFile(std::string(GetParam()) + ".gguf");
  }
  void ExpectGoldenIds(const Tokenizer& tokenizer) const {
    const json& texts = Golden()["texts"];
    const json& cases = Golden()["tokenizers"][GetParam()];
    ASSERT_EQ(cases.size(), texts.size());
    for (size_t i = 0; i < cases.size(); ++i) {
      if (cases[i].is_null()) continue;  // the library has no answer
      const std::string text = texts[i];
      const auto with = tokenizer.Encode(text, {});
      const auto without =
          tokenizer.Encode(text, {.add_special_tokens = false});
      ASSERT_TRUE(with.ok() && without.ok()) << with.status();
      EXPECT_EQ(json(*with), cases[i][0]) << "'" << text << "'";
      EXPECT_EQ(json(*without), cases[i][1]) << "'" << text << "'";
      // Models that remove extra spaces drop all leading marks of a text, which
      // only a text that has the mark itself can show; we drop one.
      if (text.rfind("\u2581", 0) == 0 &&
          std::string(GetParam()) == "llama_q8_0") {
        continue;
      }
      EXPECT_EQ(tokenizer.Decode(*with), cases[i][2].get<std::string>())
          << "'" << text << "'";
    }
  }
};

TEST_P(GgufIdsTest, AreTheLibrarys) {
  const auto tokenizer = LoadModelTokenizer(path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectGoldenIds(**tokenizer);
  EXPECT_EQ((*tokenizer)->hash().size(), 16u);
}

// What a quantized copy takes along is the same tokenizer.
TEST_P(GgufIdsTest, AreThoseOfTheFilesMadeOfIt) {
  const auto files = TokenizerFilesOfGguf(path());
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 2u);
  const ScratchDirectory scratch;
  for (const auto& [name, bytes] : *files) scratch.Write(name, bytes);
  const auto copy = LoadModelTokenizer(scratch.path());
  ASSERT_TRUE(copy.ok()) << copy.status();
  ExpectGoldenIds(**copy);
  const auto original = LoadModelTokenizer(path());
  EXPECT_EQ((*copy)->hash(), (*original)->hash());
  EXPECT_EQ((*copy)->bos_id(), (*original)->bos_id());
  EXPECT_EQ((*copy)->eos_ids(), (*original)->eos_ids());
  EXPECT_EQ((*copy)->chat_template(), (*original)->chat_template());
}

INSTANTIATE_TEST_SUITE_P(All, GgufIdsTest,
                         ::testing::Values("llama_f16", "llama_q8_0",
                                           "llama_mxfp4", "qwen2_bf16",
                                           "qwen3_f32", "tokenizer_smollm",
                                           "tokenizer_tekken"),
                         [](const auto& info) { return info.param; });

TEST(ModelTokenizerTest, TemplateAndSpecialTokensComeAlong) {
  const auto tokenizer = LoadModelTokenizer(GoldenFile("llama_f16.gguf"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->chat_template(), HasSubstr("for m in messages"));
  EXPECT_EQ((*tokenizer)->TokenText((*tokenizer)->bos_id()), "<|begin|>");
  EXPECT_EQ((*tokenizer)->TokenText((*tokenizer)->eos_ids().front()),
            "<|end|>");
  // The last row of the embedding is padding.
  EXPECT_FALSE((*tokenizer)->IdOf("[PAD]").has_value());
}

TEST(ModelTokenizerTest, TheRealFile) {
  const std::string directory = AssetPath("models/stories-260k");
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no assets";
  // The directory means its safetensors, which bring no tokenizer.
  EXPECT_TRUE(absl::IsNotFound(LoadModelTokenizer(directory).status()));
  const auto tokenizer =
      LoadModelTokenizer(directory + "/tinyllamas-stories-260k-f32.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 512);
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  for (const std::string text :
       {"Once upon a time, there was a little girl named Lily.",
        " two  spaces\n", "h\xc3\xa9 \xe4\xb8\x96"}) {
    const auto ids = (*tokenizer)->Encode(text, {});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(ids->front(), 1);
    EXPECT_EQ((*tokenizer)->Decode(*ids), text);
  }
}

TEST(ModelTokenizerTest, DirectoriesAreReadAsBefore) {
  EXPECT_TRUE(LoadModelTokenizer(SourcePath("models/demo")).ok());
  EXPECT_TRUE(TokenizerFilesOfGguf(SourcePath("models/demo"))->empty());
  EXPECT_TRUE(absl::IsNotFound(LoadModelTokenizer("/nonexistent").status()));
}

}  // namespace
}  // namespace zqfp
