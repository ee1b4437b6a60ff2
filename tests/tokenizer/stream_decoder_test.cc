// SPDX-License-Identifier: Apache-2.0
// Characters that come in pieces, broken ones, special tokens, and the start
// of a text.
#include "tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zqfp {
namespace {

// Token i is text i; the first token of a text loses one leading space; the
// token "<s>" is special.
class ListTokenizer : public Tokenizer {
 public:
  explicit ListTokenizer(std::vector<std::string> tokens)
      : tokens_(std::move(tokens)) {}
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view, const EncodeOptions&) const override {
    return absl::UnimplementedError("only decodes");
  }
  std::string Decode(absl::Span<const int32_t>) const override { return ""; }
  std::string TokenBytes(int32_t id) const override {
    return IsSpecial(id) ? "" : tokens_[static_cast<size_t>(id)];
  }
  std::string FirstTokenBytes(int32_t id) const override {
    const std::string bytes = TokenBytes(id);
    return bytes.starts_with(' ') ? bytes.substr(1) : bytes;
  }
  std::string TokenText(int32_t id) const override {
    return tokens_[static_cast<size_t>(id)];
  }
  std::optional<int32_t> IdOf(std::string_view) const override { return {}; }
  bool IsSpecial(int32_t id) const override { return TokenText(id) == "<s>"; }
  int64_t vocab_size() const override {
    return static_cast<int64_t>(tokens_.size());
  }

 private:
  std::vector<std::string> tokens_;
};

// What every push and the end return, with a broken bar between them.
std::string Streamed(const std::vector<std::string>& pushes,
                     StreamDecoder::Start start) {
  const ListTokenizer tokenizer(pushes);
  StreamDecoder decoder(&tokenizer, start);
  std::string out;
  for (size_t i = 0; i < pushes.size(); ++i) {
    out += decoder.Push(static_cast<int32_t>(i)) + "\u00a6";
  }
  return out + decoder.Finish();
}

struct Case {
  std::vector<std::string> pushes;
  const char* want;
};

// What is wanted is Python's incremental UTF-8 decoder with 'replace'.
TEST(StreamDecoder, PiecesAreWholeCharacters) {
  const Case kCases[] = {
      {{"a", "bc", ""}, "a¦bc¦¦"},
      {{"\303", "\251"}, "¦é¦"},
      {{"\344", "\275", "\240", "x"}, "¦¦你¦x¦"},
      {{"\360\237", "\230\200!"}, "¦😀!¦"},
      {{"a\344\275", "\240\345", "\245\275"}, "a¦你¦好¦"},
      {{"\344\275"}, "¦�"},
      {{"\344", "A"}, "¦�A¦"},
      {{"\344\275", "\344\275\240"}, "¦�你¦"},
      {{"\360\237\230", "\303\251"}, "¦�é¦"},
      {{"\200", "a"}, "�¦a¦"},
      {{"\377\376", "\300\257"}, "��¦��¦"},
      {{"\355\240\200"}, "���¦"},
      {{"\364\220", "\200\200"}, "��¦��¦"},
      {{"\340\200", "\200"}, "��¦�¦"},
      {{"\365", "\301\201"}, "�¦��¦"},
      {{"\303", "\303", "\251"}, "¦�¦é¦"},
      {{"\360", "\220", "\200", ""}, "¦¦¦¦�"},
      {{"", "", "\342\202", "", "\254"}, "¦¦¦¦€¦"},
  };
  for (const Case& test : kCases) {
    EXPECT_EQ(Streamed(test.pushes, StreamDecoder::Start::kContinuation),
              test.want);
  }
}

TEST(StreamDecoder, OnlyATextsStartLosesItsSpace) {
  using Start = StreamDecoder::Start;
  EXPECT_EQ(Streamed({" a", " b"}, Start::kText), "a\u00a6 b\u00a6");
  EXPECT_EQ(Streamed({" a", " b"}, Start::kContinuation), " a\u00a6 b\u00a6");
  // A special token says nothing and starts nothing.
  EXPECT_EQ(Streamed({"<s>", " a", "<s>", " b"}, Start::kText),
            "\u00a6a\u00a6\u00a6 b\u00a6");
  EXPECT_EQ(Streamed({"\xe4", "<s>", "\xbd\xa0"}, Start::kText),
            "\u00a6\u00a6\u4f60\u00a6");
}

TEST(StreamDecoder, FinishLeavesNothingBehind) {
  const ListTokenizer tokenizer({"\xe4\xbd", "a"});
  StreamDecoder decoder(&tokenizer, StreamDecoder::Start::kText);
  EXPECT_EQ(decoder.Push(0), "");
  EXPECT_EQ(decoder.Finish(), "\ufffd");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_EQ(decoder.Push(1), "a");
}

}  // namespace
}  // namespace zqfp
