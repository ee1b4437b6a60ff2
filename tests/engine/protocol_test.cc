// SPDX-License-Identifier: Apache-2.0
#include "engine/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using testing::ByteTokenizer;
using testing::kBos;
using testing::kEos;

WindowPlan Plan(const Corpus& corpus, const PlanOptions& options,
                const Tokenizer& tokenizer = ByteTokenizer()) {
  const auto plan = PlanWindows(tokenizer, corpus, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.value_or(WindowPlan());
}

Corpus Text(size_t num_bytes) {
  return {.texts = {std::string(num_bytes, 'x')}};
}

Corpus Documents(std::vector<size_t> sizes) {
  Corpus corpus = {.is_documents = true};
  for (const size_t size : sizes) corpus.texts.emplace_back(size, 'x');
  return corpus;
}

// "begin+count/first_scored" of each window.
std::vector<std::string> Shapes(const WindowPlan& plan) {
  std::vector<std::string> shapes;
  for (const Window& w : plan.windows) {
    shapes.push_back(std::to_string(w.text_index) + ":" +
                     std::to_string(w.begin) + "+" + std::to_string(w.count) +
                     "/" + std::to_string(w.first_scored));
  }
  return shapes;
}

// Absolute positions that are scored, over all windows of text 0; each once.
std::set<int64_t> Scored(const WindowPlan& plan) {
  std::set<int64_t> scored;
  for (const Window& w : plan.windows) {
    for (int64_t i = w.first_scored; i + 1 < w.count; ++i) {
      EXPECT_TRUE(scored.insert(w.begin + i + 1).second) << "scored twice";
    }
  }
  return scored;
}

TEST(Protocol, NamesGoBothWays) {
  for (const char* name : {"gptq", "sliding", "llama.cpp", "lm-eval"}) {
    const auto protocol = ParseProtocol(name);
    ASSERT_TRUE(protocol.ok());
    EXPECT_EQ(ToString(*protocol), name);
  }
  EXPECT_THAT(std::string(ParseProtocol("ppl").status().message()),
              ::testing::HasSubstr("lm-eval"));
}

TEST(Protocol, GptqCutsAndDropsTheRemainder) {
  // 27 bytes and the first token: 28 ids.
  EXPECT_THAT(Shapes(Plan(Text(27), {.window = 8})),
              ::testing::ElementsAre("0:0+8/0", "0:8+8/0", "0:16+8/0"));
  EXPECT_TRUE(Plan(Text(6), {.window = 8}).windows.empty());
  EXPECT_EQ(Plan(Text(6), {.window = 8}).num_dropped_texts, 1);
  const auto plan = Plan(Text(7), {.window = 8});
  ASSERT_EQ(plan.windows.size(), 1u);
  EXPECT_EQ(plan.ids[0].front(), kBos) << "as the tokenizer does by itself";
  EXPECT_EQ(Plan(Text(27), {.window = 8, .max_tokens = 23}).windows.size(), 2u);
}

TEST(Protocol, GptqAddsNoTokenOfItsOwnToAText) {
  const auto plan =
      Plan(Text(8), {.window = 8}, ByteTokenizer(ByteTokenizer::AddBos::kNo));
  EXPECT_EQ(plan.ids[0].front(), 'x');
}

TEST(Protocol, GptqScoresTheBeginningOfEachDocument) {
  for (const auto add :
       {ByteTokenizer::AddBos::kYes, ByteTokenizer::AddBos::kNo}) {
    const auto plan =
        Plan(Documents({20, 7, 8, 100}), {.window = 8}, ByteTokenizer(add));
    EXPECT_THAT(Shapes(plan),
                ::testing::ElementsAre("0:0+9/0", "2:0+9/0", "3:0+9/0"));
    EXPECT_EQ(plan.num_dropped_texts, 1);
    for (const auto index : {0, 2, 3}) EXPECT_EQ(plan.ids[index].front(), kBos);
  }
  // max_tokens counts whole documents.
  const auto some =
      Plan(Documents({20, 7, 8, 100}), {.window = 8, .max_tokens = 16});
  EXPECT_EQ(some.windows.size(), 2u);
}

TEST(Protocol, SlidingScoresEveryTokenOnceWithContext) {
  for (const int64_t size : {2, 5, 8, 9, 30, 64}) {
    for (const int64_t stride : {1, 3, 8}) {
      const auto plan =
          Plan(Text(static_cast<size_t>(size - 1)),
               {.protocol = Protocol::kSliding, .window = 8, .stride = stride});
      std::set<int64_t> wanted;
      for (int64_t i = 1; i < size; ++i) {
        if (stride < 8 || i % 8 != 0) wanted.insert(i);
      }
      EXPECT_EQ(Scored(plan), wanted);
      for (const Window& w : plan.windows) {
        EXPECT_LE(w.count, 8);
        EXPECT_GE(w.first_scored, 0);
        EXPECT_GT(w.num_scored(), 0);
        if (w.begin > 0) {
          EXPECT_GE(w.first_scored, 8 - stride - 1);
        }
      }
    }
  }
  // The worked example of Hugging Face's loop: 20 ids, window 8, stride 4.
  EXPECT_THAT(
      Shapes(Plan(Text(19),
                  {.protocol = Protocol::kSliding, .window = 8, .stride = 4})),
      ::testing::ElementsAre("0:0+8/0", "0:4+8/3", "0:8+8/3", "0:12+8/3"));
}

TEST(Protocol, LlamaCppScoresTheSecondHalf) {
  const auto plan =
      Plan(Text(27), {.protocol = Protocol::kLlamaCpp, .window = 8});
  EXPECT_THAT(Shapes(plan),
              ::testing::ElementsAre("0:0+8/4", "0:8+8/4", "0:16+8/4"));
  EXPECT_EQ(plan.first_id, kBos);
  EXPECT_EQ(plan.windows[0].num_scored(), 3) << "n_ctx - n_ctx / 2 - 1";
  EXPECT_EQ(Plan(Text(27), {.protocol = Protocol::kLlamaCpp, .window = 8},
                 ByteTokenizer(ByteTokenizer::AddBos::kNo))
                .first_id,
            -1);
}

// '#' is how this one writes out its end token.
class SpecialTokenizer : public ByteTokenizer {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    std::vector<int32_t> ids = *ByteTokenizer::Encode(text, options);
    if (options.parse_special_tokens) {
      std::replace(ids.begin(), ids.end(), int32_t{'#'}, kEos);
    }
    return ids;
  }
};

TEST(Protocol, LlamaCppAloneTakesSpecialTokensForText) {
  const Corpus corpus = {.texts = {"some#thing#or#other#"}};
  for (const auto protocol : {Protocol::kGptq, Protocol::kSliding,
                              Protocol::kLlamaCpp, Protocol::kLmEval}) {
    const auto plan =
        Plan(corpus, {.protocol = protocol, .window = 8, .stride = 4},
             SpecialTokenizer());
    const auto& ids = plan.ids[0];
    EXPECT_EQ(std::count(ids.begin(), ids.end(), kEos),
              protocol == Protocol::kLlamaCpp ? 0 : 4)
        << ToString(protocol);
  }
}

TEST(Protocol, LmEvalScoresEveryTokenOfEveryDocument) {
  const PlanOptions options = {.protocol = Protocol::kLmEval, .window = 8};
  for (const size_t size : {1, 7, 8, 9, 16, 27}) {
    const auto plan = Plan(Text(size), options);
    const auto scored = Scored(plan);
    EXPECT_EQ(scored.size(), size);
    EXPECT_EQ(plan.ids[0].front(), kBos);
  }
  // get_rolling_token_windows of 20 tokens, max_seq_len 8, context_len 1.
  EXPECT_THAT(Shapes(Plan(Text(20), options)),
              ::testing::ElementsAre("0:0+9/0", "0:8+9/0", "0:12+9/4"));
  EXPECT_EQ(Plan(Documents({3, 3, 3}),
                 {.protocol = Protocol::kLmEval, .window = 8, .max_tokens = 7})
                .windows.size(),
            2u);
}

TEST(Protocol, LmEvalWantsATokenToBeginWith) {
  ByteTokenizer none;
  none.RemoveSpecials();
  const PlanOptions options = {.protocol = Protocol::kLmEval, .window = 8};
  EXPECT_EQ(PlanWindows(none, Text(5), options).status().code(),
            absl::StatusCode::kInvalidArgument);
  class OnlyEnd : public ByteTokenizer {
   public:
    OnlyEnd() { bos_id_ = -1; }
  };
  const auto plan = PlanWindows(OnlyEnd(), Text(5), options);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->ids[0].front(), kEos);
}

}  // namespace
}  // namespace zqfp
