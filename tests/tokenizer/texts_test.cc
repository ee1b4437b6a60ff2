// SPDX-License-Identifier: Apache-2.0
// Whole texts, megabytes each: the ids of every tokenizer's own library
// (tests/golden/tokenizer_golden.py), and back to the same text.

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tests/tokenizer/tokenizer_directory.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

using ::zqfp::testing::AssetPath;

struct TokenizerFiles {
  const char* name;
  std::vector<std::pair<const char*, const char*>> links;  // asset, file
  const char* config;
  // How the library that made the goldens reads "<unk>" in a text.
  bool parses_special_tokens;
};

const std::vector<TokenizerFiles>& Cases() {
  static const auto& cases = *new std::vector<TokenizerFiles>{
      {"llama2",
       {{"tokenizers/llama2_tokenizer.model", "tokenizer.model"}},
       "{}",
       false},
      {"mistral",
       {{"tokenizers/mistral_tokenizer.model.v1", "tokenizer.model"}},
       "{}",
       false},
      {"babyllama",
       {{"models/babyllama-1m/tokenizer.model", "tokenizer.model"}},
       "{}",
       false},
      {"gpt2",
       {{"tokenizers/gpt2_vocab.json", "vocab.json"},
        {"tokenizers/gpt2_merges.txt", "merges.txt"}},
       "{}",
       false},
      {"opt",
       {{"tokenizers/opt_vocab.json", "vocab.json"},
        {"tokenizers/opt_merges.txt", "merges.txt"}},
       "{}",
       false},
      {"llama3",
       {{"tokenizers/llama3_tokenizer.model", "tokenizer.model"}},
       R"({"model_type": "llama"})",
       false},
      {"qwen",
       {{"tokenizers/qwen.tiktoken", "qwen.tiktoken"}},
       R"({"model_type": "qwen2"})",
       false},
      {"tinystories",
       {{"models/tinystories-656k/tokenizer.json", "tokenizer.json"}},
       "{}",
       true},
  };
  return cases;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Fnv(const std::vector<int32_t>& ids) {
  uint64_t value = 0xcbf29ce484222325;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      value =
          (value ^ (static_cast<uint32_t>(id) >> shift & 0xff)) * 0x100000001b3;
    }
  }
  char text[17];
  snprintf(text, sizeof(text), "%016llx",
           static_cast<unsigned long long>(value));
  return text;
}

std::unique_ptr<Tokenizer> Load(const TokenizerFiles& files) {
  testing::TokenizerDirectory directory;
  for (const auto& [asset, file] : files.links) {
    const std::string path = AssetPath(asset);
    if (path.empty()) return nullptr;
    directory.Link(path, file);
  }
  directory.Write("config.json", files.config);
  auto tokenizer = LoadTokenizer(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

class TextsTest : public ::testing::TestWithParam<TokenizerFiles> {};

TEST_P(TextsTest, WholeTextsHaveTheLibrarysIdsAndComeBack) {
  const auto tokenizer = Load(GetParam());
  if (tokenizer == nullptr) GTEST_SKIP() << "NOT RUN: no such asset";
  const nlohmann::json golden = nlohmann::json::parse(
      ReadFile(testing::SourcePath("tests/golden/tokenizer_texts.json")));
  for (const auto& [name, want] : golden[GetParam().name].items()) {
    const std::string text = ReadFile(AssetPath("text/" + name));
    if (text.empty()) GTEST_SKIP() << "NOT RUN: no " << name;
    const EncodeOptions options = {
        .add_special_tokens = false,
        .parse_special_tokens = GetParam().parses_special_tokens};
    const auto ids = tokenizer->Encode(text, options);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(ids->size(), want[0].get<size_t>()) << name;
    EXPECT_EQ(Fnv(*ids), want[1].get<std::string>()) << name;
    StreamDecoder decoder(tokenizer.get(), StreamDecoder::Start::kText);
    std::string streamed;
    for (const int32_t id : *ids) {
      const std::string piece = decoder.Push(id);
      ASSERT_EQ(FirstInvalidUtf8(piece), std::string_view::npos);
      streamed += piece;
    }
    streamed += decoder.Finish();
    EXPECT_EQ(streamed, tokenizer->Decode(*ids)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TextsTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// Four times the text may take little more than four times as long, whatever
// the text: no input makes the merging quadratic.
TEST(TextsTime, LongRunsAreNotQuadratic) {
  // Of the processor: what else runs on it does not count.
  const auto seconds = [](const Tokenizer& tokenizer, const std::string& text) {
    double best = 1e9;
    for (int i = 0; i < 2; ++i) {
      const std::clock_t start = std::clock();
      const auto ids = tokenizer.Encode(text, {});
      EXPECT_TRUE(ids.ok()) << ids.status();
      best = std::min(
          best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
  };
  int num_run = 0;
  for (const TokenizerFiles& files : Cases()) {
    const auto tokenizer = Load(files);
    if (tokenizer == nullptr) continue;
    ++num_run;
    for (const char* unit : {"a", " ", "\u00e9", "\n", "1", "ab"}) {
      // Debian's sentencepiece 0.1.97 joins unknown characters in quadratic
      // time (0.6 s for 256 KB of newlines); later versions do not.
      if (std::string(files.name) == "babyllama" && *unit == '\n') continue;
      std::string text;
      while (text.size() < 64 * 1024) text += unit;
      const double once = seconds(*tokenizer, text);
      const double four = seconds(*tokenizer, text + text + text + text);
      EXPECT_LT(four, 10 * once + 0.02) << files.name << " '" << unit << "'";
    }
  }
  if (num_run == 0) GTEST_SKIP() << "NOT RUN: no tokenizers in assets";
}

}  // namespace
}  // namespace zqfp
