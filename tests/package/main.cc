// SPDX-License-Identifier: Apache-2.0
// usage: stranger [MODEL_DIRECTORY]
// Walks through everything that the public header declares, as a user of the
// installed library would; exits 1 at the first thing that is not as declared.

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "zqfp/zqfp.h"

namespace {

void Expect(bool condition, const std::string& what) {
  if (condition) return;
  fprintf(stderr, "stranger: not as declared: %s\n", what.c_str());
  exit(1);
}

template <typename T>
T Value(zqfp::Result<T> result) {
  if (!result.ok()) {
    fprintf(stderr, "stranger: %s\n", result.error().message.c_str());
    exit(1);
  }
  return std::move(*result);
}

void CheckErrors() {
  const auto absent = zqfp::LanguageModel::Load({.directory = "/nonexistent"});
  Expect(!absent.ok(), "a model that is not there");
  Expect(absent.error().code == zqfp::ErrorCode::kNotFound, "kNotFound");
  Expect(!absent.error().message.empty(), "an error has a message");
}

void CheckText(zqfp::LanguageModel& model) {
  const std::string text = "Once upon a time";
  const auto ids = Value(model.Tokenize(text));
  Expect(!ids.empty(), "ids of a text");
  const std::string back = Value(model.Detokenize(ids));
  Expect(back.find(text) != std::string::npos, "text of these ids: " + back);
  Expect(!model.Tokenize("\xff\xfe").ok(), "a text that is not UTF-8");
}

void CheckGenerate(zqfp::LanguageModel& model) {
  const auto prompt = Value(model.Tokenize("Once upon a time"));
  std::string streamed;
  zqfp::GenerateOptions options;
  options.max_tokens = 24;
  options.on_text = [&](const std::string& piece) {
    streamed += piece;
    return true;
  };
  const auto first = Value(model.Generate(prompt, options));
  Expect(first.text == streamed, "the stream is the text");
  Expect(first.error.empty(), first.error);
  const auto again = Value(model.Generate(prompt, options));
  Expect(again.ids == first.ids, "temperature 0 repeats itself");
  model.Reset();
  const auto fresh = Value(model.Generate(prompt, options));
  Expect(fresh.ids == first.ids, "a reset cache changes nothing");
  Expect(fresh.stats.reused_tokens == 0, "a reset cache is empty");
  options.on_text = [](const std::string&) { return false; };
  const auto stopped = Value(model.Generate(prompt, options));
  Expect(stopped.finish_reason == zqfp::FinishReason::kCancelled,
         zqfp::ToString(stopped.finish_reason));
  options.sampling.top_p = 7;
  Expect(!model.Generate(prompt, options).ok(), "top_p 7");
  Expect(!model.Generate({}, {}).ok(), "an empty prompt");
  printf("%s\n", first.text.c_str());
}

void CheckLogits(zqfp::LanguageModel& model) {
  const auto prompt = Value(model.Tokenize("Once upon a time"));
  const auto logits = Value(model.Logits(prompt));
  const size_t vocab_size = static_cast<size_t>(model.vocab_size());
  Expect(logits.size() == prompt.size() * vocab_size, "the logits' shape");
  for (const float logit : logits) Expect(std::isfinite(logit), "a logit");
  zqfp::GenerateOptions one;
  one.max_tokens = 1;
  one.ignore_end_tokens = true;
  const auto next = Value(model.Generate(prompt, one));
  const auto row = logits.end() - static_cast<ptrdiff_t>(vocab_size);
  Expect(std::max_element(row, logits.end()) - row == next.ids.front(),
         "greedy takes the largest logit");
}

}  // namespace

int main(int argc, char** argv) {
  printf("zqfp %s\n", zqfp::Version());
  CheckErrors();
  if (argc < 2) {
    printf("stranger: NOT RUN with a model: none was named\n");
    return 0;
  }
  auto model = Value(zqfp::LanguageModel::Load({.directory = argv[1]}));
  CheckText(model);
  CheckGenerate(model);
  CheckLogits(model);
  zqfp::LanguageModel moved = std::move(model);
  Expect(moved.context_tokens() > 1, "a moved model works");
  printf("stranger: all as declared\n");
  return 0;
}
