// SPDX-License-Identifier: Apache-2.0
// Vocabularies as GGUF files have them: those of Llama 2 and GPT-2 taken apart
// and put together again give the published ids; broken ones are named. (Small
// vocabularies of every kind: tests/engine/model_tokenizer_test.cc.)
#include "tokenizer/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/assets.h"

namespace zqfp {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::zqfp::testing::AssetPath;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A vocabulary that owns its texts.
struct Owned {
  std::vector<std::string> tokens, merges;
  GgufVocabulary vocabulary;

  const GgufVocabulary& View() {
    vocabulary.name = "x.gguf";
    vocabulary.tokens.assign(tokens.begin(), tokens.end());
    vocabulary.merges.assign(merges.begin(), merges.end());
    return vocabulary;
  }
};

void ExpectVectors(const Tokenizer& tokenizer, const std::string& name) {
  const std::string base = AssetPath("tokenizers/vectors") + "/" + name;
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string inputs = ReadFile(base + ".inp");
  std::istringstream outputs(ReadFile(base + ".out"));
  int64_t number = 0;
  for (std::string line; std::getline(outputs, line); ++number) {
    const size_t end = std::min(inputs.find(separator), inputs.size());
    const std::string input = inputs.substr(0, end);
    inputs.erase(0, end + separator.size());
    std::vector<int32_t> want;
    std::istringstream numbers(line);
    for (int32_t id; numbers >> id;) want.push_back(id);
    const auto ids = tokenizer.Encode(input, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, want) << "case " << number << ": '" << input << "'";
    EXPECT_EQ(tokenizer.Decode(*ids), input) << number;
  }
  EXPECT_GT(number, 30);
}

// Reads one field of a protocol buffer; false at its end.
struct Field {
  uint64_t number, value;
  std::string_view bytes;
};
bool NextField(std::string_view& message, Field* field) {
  const auto varint = [&message] {
    uint64_t value = 0;
    for (int shift = 0; !message.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(message[0]);
      message.remove_prefix(1);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) break;
    }
    return value;
  };
  if (message.empty()) return false;
  const uint64_t key = varint();
  *field = {.number = key >> 3};
  if ((key & 7) == 0) {
    field->value = varint();
    return true;
  }
  const size_t size = (key & 7) == 5 ? 4 : varint();
  field->bytes = message.substr(0, size);
  message.remove_prefix(std::min(size, message.size()));
  return true;
}

TEST(GgufTokenizerTest, Llama2FromItsPieces) {
  const std::string path = AssetPath("tokenizers/llama2_tokenizer.model");
  if (path.empty()) GTEST_SKIP() << "NOT RUN: no tokenizers in assets";
  const std::string bytes = ReadFile(path);
  Owned owned;
  owned.vocabulary.model = "llama";
  std::string_view model = bytes;
  for (Field piece; NextField(model, &piece);) {
    if (piece.number != 1) continue;  // pieces
    float score = 0;
    int64_t type = 1;
    for (Field part; NextField(piece.bytes, &part);) {
      if (part.number == 1) owned.tokens.emplace_back(part.bytes);
      if (part.number == 2) memcpy(&score, part.bytes.data(), 4);
      if (part.number == 3) type = static_cast<int64_t>(part.value);
    }
    owned.vocabulary.scores.push_back(score);
    owned.vocabulary.types.push_back(type);
  }
  ASSERT_EQ(owned.tokens.size(), 32000u);
  owned.vocabulary.bos_id = 1;
  owned.vocabulary.eos_ids = {2};
  const auto tokenizer = MakeGgufTokenizer(owned.View());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectVectors(**tokenizer, "llama-spm");
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  EXPECT_EQ((*tokenizer)->Encode("", {})->front(), 1);
  EXPECT_EQ((*tokenizer)->eos_ids(), (std::vector<int32_t>{2}));
}

TEST(GgufTokenizerTest, Gpt2FromItsMerges) {
  const std::string path = AssetPath("tokenizers/gpt2_vocab.json");
  if (path.empty()) GTEST_SKIP() << "NOT RUN: no tokenizers in assets";
  const json vocab = json::parse(ReadFile(path), nullptr, false);
  Owned owned;
  owned.vocabulary.model = "gpt2";
  owned.vocabulary.pre = "gpt-2";
  owned.tokens.resize(vocab.size());
  for (const auto& [text, id] : vocab.items()) {
    owned.tokens[id.get<size_t>()] = text;
  }
  owned.vocabulary.types.assign(vocab.size(), 1);
  owned.vocabulary.types.back() = kGgufControlToken;  // <|endoftext|>
  std::istringstream lines(ReadFile(AssetPath("tokenizers/gpt2_merges.txt")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] != '#') owned.merges.push_back(line);
  }
  owned.vocabulary.eos_ids = {50256};
  const auto tokenizer = MakeGgufTokenizer(owned.View());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectVectors(**tokenizer, "gpt-2");
  EXPECT_EQ(*(*tokenizer)->Encode("<|endoftext|>", {}),
            (std::vector<int32_t>{50256}));
}

// One that is sound, to be broken.
Owned SmallBpe() {
  Owned owned;
  owned.tokens = {"a", "b", "ab", "<|end|>"};
  owned.merges = {"a b"};
  owned.vocabulary.model = "gpt2";
  owned.vocabulary.pre = "gpt-2";
  owned.vocabulary.types = {1, 1, 1, 3};
  owned.vocabulary.eos_ids = {3};
  return owned;
}
Owned SmallLlama() {
  Owned owned;
  owned.tokens = {"<unk>", "<s>", "</s>", "\xe2\x96\x81", "a", "b", "ab"};
  owned.vocabulary.model = "llama";
  owned.vocabulary.types = {2, 3, 3, 1, 1, 1, 1};
  owned.vocabulary.scores = {0, 0, 0, -1, -2, -3, -0.5f};
  owned.vocabulary.bos_id = 1;
  owned.vocabulary.eos_ids = {2};
  return owned;
}

void ExpectError(Owned owned, absl::StatusCode code, const char* message) {
  const auto tokenizer = MakeGgufTokenizer(owned.View());
  ASSERT_FALSE(tokenizer.ok()) << message;
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  EXPECT_THAT(tokenizer.status().message(), HasSubstr(message));
  EXPECT_THAT(tokenizer.status().message(), HasSubstr("x.gguf: "));
}

constexpr auto kBad = absl::StatusCode::kInvalidArgument;
constexpr auto kUnknown = absl::StatusCode::kUnimplemented;

TEST(GgufTokenizerTest, TheSmallOnesAreSound) {
  auto bpe = SmallBpe();
  auto tokenizer = MakeGgufTokenizer(bpe.View());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("ab<|end|>b", {}),
            (std::vector<int32_t>{2, 3, 1}));
  auto llama = SmallLlama();
  tokenizer = MakeGgufTokenizer(llama.View());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("ab", {}), (std::vector<int32_t>{1, 3, 6}));
}

TEST(GgufTokenizerTest, FlagsAreFollowed) {
  auto bpe = SmallBpe();
  bpe.vocabulary.add_eos = true;
  EXPECT_EQ(*(*MakeGgufTokenizer(bpe.View()))->Encode("a", {}),
            (std::vector<int32_t>{0, 3}));
  // Llama 3's split begins texts unless the file refuses.
  bpe = SmallBpe();
  bpe.vocabulary.pre = "llama-bpe";
  bpe.vocabulary.bos_id = 3;
  EXPECT_EQ(*(*MakeGgufTokenizer(bpe.View()))->Encode("a", {}),
            (std::vector<int32_t>{3, 0}));
  bpe.vocabulary.add_bos = false;
  EXPECT_EQ(*(*MakeGgufTokenizer(bpe.View()))->Encode("a", {}),
            (std::vector<int32_t>{0}));
  auto llama = SmallLlama();
  llama.vocabulary.add_space_prefix = false;
  llama.vocabulary.add_bos = false;
  llama.vocabulary.add_eos = true;
  EXPECT_EQ(*(*MakeGgufTokenizer(llama.View()))->Encode("ab", {}),
            (std::vector<int32_t>{6, 2}));
  EXPECT_EQ(*(*MakeGgufTokenizer(llama.View()))->Encode("  ab", {}),
            (std::vector<int32_t>{3, 3, 6, 2}));
  llama.vocabulary.remove_extra_whitespaces = true;
  EXPECT_EQ(*(*MakeGgufTokenizer(llama.View()))->Encode("  ab", {}),
            (std::vector<int32_t>{6, 2}));
}

TEST(GgufTokenizerTest, UnknownKindsAreNamed) {
  for (Owned owned : {SmallBpe(), SmallLlama()}) {
    owned.vocabulary.model = "t5";
    ExpectError(owned, kUnknown, "'t5' is not supported; supported are llama");
    owned.vocabulary.model = "no_vocab";
    ExpectError(owned, absl::StatusCode::kNotFound, "found none");
    owned.vocabulary.model = "\xff";
    ExpectError(owned, kUnknown, "tokenizer.ggml.model");
  }
  Owned bpe = SmallBpe();
  bpe.vocabulary.pre = "deepseek-v3";
  ExpectError(bpe, kUnknown,
              "tokenizer.ggml.pre: 'deepseek-v3' is not supported; supported "
              "are gpt-2, smollm, llama-bpe");
  bpe.vocabulary.pre = "";
  ExpectError(bpe, kUnknown, "does not say how text is split");
}

TEST(GgufTokenizerTest, BrokenVocabulariesAreNamed) {
  for (const Owned& sound : {SmallBpe(), SmallLlama()}) {
    const auto broken = [&](const auto& change, const char* message) {
      Owned owned = sound;
      change(owned);
      ExpectError(owned, kBad, message);
    };
    broken([](Owned& o) { o.tokens[0] = ""; }, "found nothing as token 0");
    broken([](Owned& o) { o.tokens[1] = "\xc3"; }, "other bytes as token 1");
    broken([](Owned& o) { o.tokens[1] = o.tokens[2]; }, "token 2 ('");
    broken([](Owned& o) { o.vocabulary.types.pop_back(); }, "token_type");
    broken([](Owned& o) { o.vocabulary.types[2] = 0; }, "found 0 of token 2");
    broken([](Owned& o) { o.vocabulary.types[2] = 7; }, "found 7 of token 2");
    broken([](Owned& o) { o.vocabulary.eos_ids = {99}; }, "special token 99");
    broken([](Owned& o) { o.vocabulary.bos_id = 99; }, "special token 99");
    broken([](Owned& o) { o.vocabulary.bos_id = -5; }, "special token -5");
    broken([](Owned& o) { o.vocabulary.chat_template = "\xff"; },
           "chat_template");
  }
  Owned owned = SmallBpe();
  owned.merges = {"ab"};
  ExpectError(owned, kBad, "want 'a b', found 'ab'");
  owned.merges = {"a c"};
  ExpectError(owned, kBad, "found 'a' + 'c'");
  owned.merges = {"a \xff"};
  ExpectError(owned, kBad, "other bytes in merge 0");
  owned = SmallLlama();
  owned.vocabulary.scores.pop_back();
  ExpectError(owned, kBad, "scores: want one for each of 7 tokens, found 6");
  owned = SmallLlama();
  owned.vocabulary.types[0] = 1;  // no unknown token
  ExpectError(owned, kBad, "want a sentencepiece model");
  owned = SmallLlama();
  owned.vocabulary.types[4] = 6;  // one byte is not all bytes
  ExpectError(owned, kBad, "want a sentencepiece model");
  owned = SmallLlama();
  owned.vocabulary.normalizer = "garbage!";
  ExpectError(owned, kBad, "precompiled_charsmap: want a trie");
  owned.tokens.clear();
  owned.vocabulary = {.model = "llama"};
  ExpectError(owned, kBad, "want a sentencepiece model");
}

}  // namespace
}  // namespace zqfp
