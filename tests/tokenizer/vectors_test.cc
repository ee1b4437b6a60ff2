// SPDX-License-Identifier: Apache-2.0
// Token ids of published test vectors, for every kind of tokenizer file.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/assets.h"
#include "tests/tokenizer/tokenizer_directory.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"

namespace zqfp {
namespace {

using ::zqfp::testing::AssetPath;

struct VectorCase {
  const char* name;     // of the vectors' files
  const char* asset;    // the tokenizer's file
  const char* as_file;  // its usual name in a model directory
  const char* second_asset;
  const char* second_file;
  const char* config;  // config.json
};

constexpr VectorCase kCases[] = {
    {"llama-spm", "llama2_tokenizer.model", "tokenizer.model", "", "", "{}"},
    {"phi-3", "llama2_tokenizer.model", "tokenizer.model", "", "", "{}"},
    {"gpt-2", "gpt2_vocab.json", "vocab.json", "gpt2_merges.txt", "merges.txt",
     "{}"},
    {"llama-bpe", "llama3_tokenizer.model", "tokenizer.model", "", "",
     R"({"model_type": "llama"})"},
    {"qwen2", "qwen.tiktoken", "qwen.tiktoken", "", "",
     R"({"model_type": "qwen2"})"},
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The cases stand between separator lines; the newline before a separator is
// not part of a case.
std::vector<std::string> SplitInputs(const std::string& text) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> inputs;
  size_t at = 0;
  for (size_t end; (end = text.find(separator, at)) != std::string::npos;
       at = end + separator.size()) {
    inputs.push_back(text.substr(at, end - at));
  }
  if (at < text.size()) inputs.push_back(text.substr(at));
  return inputs;
}

class VectorsTest : public ::testing::TestWithParam<VectorCase> {};

TEST_P(VectorsTest, IdsAreEqual) {
  const VectorCase& param = GetParam();
  const std::string tokenizers = AssetPath("tokenizers");
  if (tokenizers.empty()) GTEST_SKIP() << "NOT RUN: no tokenizers in assets";
  testing::TokenizerDirectory directory;
  directory.Link(tokenizers + "/" + param.asset, param.as_file);
  if (*param.second_asset != '\0') {
    directory.Link(tokenizers + "/" + param.second_asset, param.second_file);
  }
  directory.Write("config.json", param.config);
  const auto tokenizer = LoadTokenizer(directory.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();

  const std::string vectors = tokenizers + "/vectors/" + param.name;
  const auto inputs = SplitInputs(ReadFile(vectors + ".inp"));
  std::istringstream outputs(ReadFile(vectors + ".out"));
  size_t number = 0;
  for (std::string line; std::getline(outputs, line); ++number) {
    ASSERT_LT(number, inputs.size());
    std::vector<int32_t> want;
    std::istringstream numbers(line);
    for (int32_t id; numbers >> id;) want.push_back(id);
    const auto ids =
        (*tokenizer)->Encode(inputs[number], {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, want) << "case " << number << ": '" << inputs[number]
                          << "'";
    StreamDecoder decoder(tokenizer->get(), StreamDecoder::Start::kText);
    std::string streamed;
    for (const int32_t id : *ids) streamed += decoder.Push(id);
    streamed += decoder.Finish();
    EXPECT_EQ(streamed, (*tokenizer)->Decode(*ids));
    EXPECT_EQ(streamed, inputs[number]) << "round trip of case " << number;
  }
  EXPECT_EQ(number, inputs.size());
  EXPECT_GT(number, 30u);
}

INSTANTIATE_TEST_SUITE_P(All, VectorsTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace zqfp
