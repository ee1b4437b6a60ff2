// SPDX-License-Identifier: Apache-2.0
// Perplexities of real checkpoints on real texts against transformers,
// recorded by tests/golden/perplexity_golden.py.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/evaluation.h"
#include "tests/assets.h"

namespace zqfp {
namespace {

using nlohmann::json;
using testing::AssetPath;

// The ids that perplexity_golden.py gives a model without a tokenizer: bytes
// + 3, after a 1.
class BytesPlusThree : public Tokenizer {
 public:
  BytesPlusThree() { bos_id_ = 1; }
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids = {1};
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c) + 3);
    return ids;
  }
  std::string Decode(absl::Span<const int32_t>) const override { return ""; }
  std::string TokenBytes(int32_t) const override { return ""; }
  std::string TokenText(int32_t) const override { return ""; }
  std::optional<int32_t> IdOf(std::string_view) const override {
    return std::nullopt;
  }
  bool IsSpecial(int32_t) const override { return false; }
  int64_t vocab_size() const override { return 259; }
};

std::unique_ptr<Tokenizer> MakeTokenizer(const std::string& directory) {
  if (directory.ends_with("stories-260k")) {
    return std::make_unique<BytesPlusThree>();
  }
  auto tokenizer = LoadTokenizer(directory);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// The first bytes of a file, without a character that they cut.
std::string Beginning(const std::string& path, size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string text(count, '\0');
  file.read(text.data(), static_cast<std::streamsize>(count));
  size_t begin = text.size();
  while (begin > 0 && (text[begin - 1] & 0xc0) == 0x80) --begin;
  const bool cut = begin > 0 && (text[begin - 1] & 0x80) != 0;
  if (cut) text.resize(begin - 1);
  return text;
}

TEST(PerplexityGolden, EqualsTransformersOnRealModelsAndTexts) {
  std::ifstream file(testing::SourcePath("tests/golden/perplexity.json"));
  const json golden = json::parse(file);
  for (const json& c : golden["cases"]) {
    const std::string name = c["model"], text = c["text"];
    const std::string directory = AssetPath("models/" + name);
    const std::string path = AssetPath(text);
    if (directory.empty() || path.empty()) {
      GTEST_SKIP() << "NOT RUN: shared/assets is not here";
    }
    const auto tokenizer = MakeTokenizer(directory);
    ASSERT_NE(tokenizer, nullptr);
    const auto model = Model::Load(directory, {});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto protocol = ParseProtocol(c["protocol"].get<std::string>());
    ASSERT_TRUE(protocol.ok());
    const auto result =
        Evaluate(**model, *tokenizer, {.texts = {Beginning(path, c["bytes"])}},
                 {.protocol = *protocol, .window = c["window"]});
    ASSERT_TRUE(result.ok()) << result.status();
    const std::string what =
        name + " " + text + " " + std::string(c["protocol"]);
    EXPECT_EQ(result->num_tokens, c["num_tokens"].get<int64_t>()) << what;
    EXPECT_NEAR(result->perplexity / std::exp(c["loss"].get<double>()), 1.0,
                1e-4)
        << what;
  }
}

}  // namespace
}  // namespace zqfp
