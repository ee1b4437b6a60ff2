// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regex.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// The published pre-tokenizers need a few steps a character; a pattern made to
// explode needs billions.
constexpr uint32_t kMatchLimit = 2'000'000;
constexpr uint32_t kHeapLimitKb = 64 * 1024;
constexpr size_t kMaxPatternBytes = 16 * 1024;

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// What \w stands for, as the members of a class: letters with their marks,
// decimal and letter numbers, connectors, joiners, circled letters. PCRE2's own
// \w knows no marks and takes all numbers.
constexpr char kWord[] =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9})"
    R"(\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

// The pattern with \w and \W spelled out. \W inside of a class would need the
// difference of two classes: Unimplemented.
absl::StatusOr<std::string> SpellOutWords(const std::string& pattern) {
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 'w') {
        result += in_class ? kWord : fmt::format("[{}]", kWord);
      } else if (next == 'W' && !in_class) {
        result += fmt::format("[^{}]", kWord);
      } else if (next == 'W') {
        return absl::UnimplementedError(fmt::format(
            "regex '{}': \\W inside of a class is not supported", pattern));
      } else {
        (result += c) += next;
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      // A bracket right after the opening one is a member.
      result += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') {
        result += pattern[++i];
      }
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
        result += pattern[++i];
      }
      continue;
    }
    if (c == ']') in_class = false;
    result += c;
  }
  return result;
}

}  // namespace

struct Regex::State {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;

  ~State() {
    pcre2_code_free(code);
    pcre2_match_context_free(context);
  }
};

Regex::Regex() : state_(std::make_unique<State>()) {}
Regex::Regex(Regex&&) = default;
Regex& Regex::operator=(Regex&&) = default;
Regex::~Regex() = default;

absl::StatusOr<Regex> Regex::Compile(const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        fmt::format("regex: want at most {} bytes, found {}", kMaxPatternBytes,
                    pattern.size()));
  }
  ZQFP_ASSIGN_OR_RETURN(const std::string spelled, SpellOutWords(pattern));
  Regex regex;
  int error = 0;
  PCRE2_SIZE offset = 0;
  regex.state_->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
      nullptr);
  if (regex.state_->code == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("regex '{}': {} at {}", pattern, ErrorText(error), offset));
  }
  // Where JIT is not there the interpreter does the same, more slowly.
  pcre2_jit_compile(regex.state_->code, PCRE2_JIT_COMPLETE);
  regex.state_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(regex.state_->context, kMatchLimit);
  pcre2_set_heap_limit(regex.state_->context, kHeapLimitKb);
  return regex;
}

absl::StatusOr<std::vector<std::pair<size_t, size_t>>> Regex::FindAll(
    std::string_view text, EmptyMatches empty) const {
  std::vector<std::pair<size_t, size_t>> matches;
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(
      pcre2_match_data_create_from_pattern(state_->code, nullptr),
      pcre2_match_data_free);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const bool keeps_empty = empty == EmptyMatches::kKept;
  for (size_t at = 0; at < text.size() + (keeps_empty ? 1 : 0);) {
    const int count =
        pcre2_match(state_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                    data.get(), state_->context);
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      return absl::ResourceExhaustedError(
          fmt::format("regex: want a match within the limits, found: {}",
                      ErrorText(count)));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    if (range[1] > range[0]) {
      matches.emplace_back(range[0], range[1]);
      at = range[1];
      continue;
    }
    // An empty match: go one character on.
    if (keeps_empty && (matches.empty() || matches.back().second < range[0])) {
      matches.emplace_back(range[0], range[1]);
    }
    at = range[1] + 1;
    while (at < text.size() &&
           (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) {
      ++at;
    }
  }
  return matches;
}

}  // namespace zqfp
