// SPDX-License-Identifier: Apache-2.0
#include "engine/protocol.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr Protocol kProtocols[] = {Protocol::kGptq, Protocol::kSliding,
                                   Protocol::kLlamaCpp, Protocol::kLmEval};

// The ids of one text, and where each begins: documents with their own
// beginning-of-text token, lm-eval with that or the end-of-text token.
absl::StatusOr<std::vector<int32_t>> Encode(const Tokenizer& tokenizer,
                                            const Corpus& corpus,
                                            Protocol protocol, size_t index) {
  const bool lm_eval = protocol == Protocol::kLmEval;
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(
      corpus.texts[index],
      {.add_special_tokens = !lm_eval,
       .parse_special_tokens = protocol != Protocol::kLlamaCpp});
  if (!ids.ok()) {
    return absl::Status(
        ids.status().code(),
        fmt::format("text {}: {}", index, std::string(ids.status().message())));
  }
  int32_t first = tokenizer.bos_id();
  if (lm_eval && first < 0) {
    if (tokenizer.eos_ids().empty()) {
      return absl::InvalidArgumentError(
          "lm-eval: want a tokenizer with a beginning-of-text or end-of-text "
          "token, found neither");
    }
    first = tokenizer.eos_ids().front();
  }
  const bool wants_first = lm_eval || (corpus.is_documents && first >= 0 &&
                                       (ids->empty() || ids->front() != first));
  if (wants_first) ids->insert(ids->begin(), first);
  return ids;
}

// The windows of one text of `size` ids, as if it were alone.
std::vector<Window> Cut(int64_t size, const PlanOptions& options,
                        bool is_document) {
  const int64_t w = options.window;
  std::vector<Window> windows;
  switch (options.protocol) {
    case Protocol::kGptq:
      if (is_document) {
        if (size > w) windows.push_back({.count = w + 1});
        break;
      }
      for (int64_t begin = 0; begin + w <= size; begin += w) {
        windows.push_back({.begin = begin, .count = w});
      }
      break;
    case Protocol::kSliding:
      for (int64_t begin = 0, scored = 1; scored < size;
           begin += options.stride) {
        const int64_t end = std::min(begin + w, size);
        // Windows that do not overlap have nothing in front of their first id.
        const Window window = {
            .begin = begin,
            .count = end - begin,
            .first_scored = std::max<int64_t>(0, scored - begin - 1)};
        if (window.num_scored() > 0) windows.push_back(window);
        scored = end;
      }
      break;
    case Protocol::kLlamaCpp:
      for (int64_t begin = 0; begin + w <= size; begin += w) {
        windows.push_back({.begin = begin, .count = w, .first_scored = w / 2});
      }
      break;
    case Protocol::kLmEval:
      for (int64_t scored = 1; scored < size;) {
        const int64_t end = std::min(scored + w, size);
        const int64_t begin = std::max<int64_t>(0, end - w - 1);
        windows.push_back({.begin = begin,
                           .count = end - begin,
                           .first_scored = scored - begin - 1});
        scored = end;
      }
      break;
  }
  return windows;
}

// Tokens of the text that a protocol uses up with `windows`.
int64_t Cost(const std::vector<Window>& windows, const PlanOptions& options) {
  int64_t tokens = 0;
  for (const Window& window : windows) {
    const bool whole = options.protocol == Protocol::kGptq ||
                       options.protocol == Protocol::kLlamaCpp;
    tokens += whole ? options.window : window.num_scored();
  }
  return tokens;
}

}  // namespace

int64_t WindowPlan::num_scored() const {
  int64_t total = 0;
  for (const Window& window : windows) total += window.num_scored();
  return total;
}

std::string_view ToString(Protocol protocol) {
  switch (protocol) {
    case Protocol::kGptq:
      return "gptq";
    case Protocol::kSliding:
      return "sliding";
    case Protocol::kLlamaCpp:
      return "llama.cpp";
    case Protocol::kLmEval:
      return "lm-eval";
  }
  return "";
}

absl::StatusOr<Protocol> ParseProtocol(std::string_view name) {
  for (const Protocol protocol : kProtocols) {
    if (name == ToString(protocol)) return protocol;
  }
  return absl::InvalidArgumentError(fmt::format(
      "protocol: want gptq, sliding, llama.cpp or lm-eval, found '{}'", name));
}

absl::StatusOr<WindowPlan> PlanWindows(const Tokenizer& tokenizer,
                                       const Corpus& corpus,
                                       const PlanOptions& options) {
  WindowPlan plan;
  int64_t left = options.max_tokens > 0 ? options.max_tokens : INT64_MAX;
  for (size_t i = 0; i < corpus.texts.size() && left > 0; ++i) {
    ZQFP_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                          Encode(tokenizer, corpus, options.protocol, i));
    if (options.protocol == Protocol::kLlamaCpp && i == 0 && !ids.empty() &&
        ids.front() == tokenizer.bos_id()) {
      plan.first_id = ids.front();
    }
    const bool whole_documents =
        options.protocol == Protocol::kLmEval ||
        (options.protocol == Protocol::kGptq && corpus.is_documents);
    int64_t size = static_cast<int64_t>(ids.size());
    if (!whole_documents) size = std::min(size, left);
    std::vector<Window> windows = Cut(size, options, corpus.is_documents);
    const int64_t cost = Cost(windows, options);
    if (whole_documents && cost > left && !plan.windows.empty()) break;
    left -= whole_documents ? std::min(cost, left) : size;
    if (windows.empty()) ++plan.num_dropped_texts;
    for (Window& window : windows) {
      window.text_index = static_cast<int64_t>(i);
      plan.windows.push_back(window);
    }
    if (windows.empty()) ids.clear();
    plan.ids.push_back(std::move(ids));
  }
  return plan;
}

}  // namespace zqfp
