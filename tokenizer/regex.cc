// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regex.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// The published pre-tokenizers need a few steps a character; a pattern made to
// explode needs billions. The library counts the steps of each character that a
// match may begin at by itself: of the first kind there are kEasySteps, what is
// beyond them draws on an account of all matches in a text.
constexpr uint32_t kEasySteps = 500;
constexpr uint32_t kMatchLimit = 2'000'000;
constexpr int64_t kAccount = 4 * int64_t{kMatchLimit};
constexpr int64_t kAccountPerByte = 100;
// Characters that are tried in one go as long as they are easy.
constexpr size_t kWindowBytes = 4096;
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
// difference of two classes: Unimplemented, as is \K, which moves the beginning
// of a match to any place.
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
      } else if (next == 'K') {
        return absl::UnimplementedError(
            fmt::format("regex '{}': \\K is not supported", pattern));
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

size_t NextCharacter(std::string_view text, size_t at) {
  ++at;
  while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) {
    ++at;
  }
  return at;
}

absl::Status MatchError(int code) {
  if (code <= PCRE2_ERROR_UTF8_ERR1 && code >= PCRE2_ERROR_UTF8_ERR21) {
    return absl::InvalidArgumentError(
        fmt::format("regex: want a text of UTF-8, found: {}", ErrorText(code)));
  }
  return absl::ResourceExhaustedError(fmt::format(
      "regex: want a match within the limits, found: {}", ErrorText(code)));
}

// Looks for one match after another in a text, all on one account of steps.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view text)
      : code_(code),
        text_(text),
        account_(kAccount +
                 kAccountPerByte * static_cast<int64_t>(text.size())),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    pcre2_set_heap_limit(context_, kHeapLimitKb);
  }
  ~Search() {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(context_);
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // The first match that begins at `at` or behind it: its range() is known if
  // the result is positive, else it is PCRE2's error.
  int Find(size_t at);

  std::pair<size_t, size_t> range() const {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data_);
    return {range[0], range[1]};
  }

 private:
  int Try(size_t first, size_t last, uint32_t limit);
  int TryHard(size_t at);

  const pcre2_code* code_;
  std::string_view text_;
  int64_t account_;
  pcre2_match_data* data_;
  pcre2_match_context* context_;
  uint32_t options_ = 0;   // the first try looks at the text's encoding
  size_t hard_until_ = 0;  // some character before that is not easy
};

// Matches that begin at first..last, in `limit` steps for each character there.
int Search::Try(size_t first, size_t last, uint32_t limit) {
  pcre2_set_match_limit(context_, limit);
  pcre2_set_offset_limit(context_, last);
  const int count =
      pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text_.data()),
                  text_.size(), first, options_, data_, context_);
  options_ = PCRE2_NO_UTF_CHECK;
  return count;
}

// A match that begins at `at`.
int Search::TryHard(size_t at) {
  for (uint32_t limit = kEasySteps;; limit = std::min(8 * limit, kMatchLimit)) {
    const int count = Try(at, at, limit);
    if (count != PCRE2_ERROR_MATCHLIMIT) return count;
    account_ -= limit;
    if (limit == kMatchLimit || account_ < 0) return count;
  }
}

int Search::Find(size_t at) {
  while (at <= text_.size()) {
    size_t last = at;
    int count;
    if (at < hard_until_) {
      count = TryHard(at);
    } else {
      last = std::min(at + kWindowBytes, text_.size());
      count = Try(at, last, kEasySteps);
      if (count == PCRE2_ERROR_MATCHLIMIT) {
        hard_until_ = last + 1;
        continue;
      }
    }
    if (count != PCRE2_ERROR_NOMATCH) return count;
    at = NextCharacter(text_, last);
  }
  return PCRE2_ERROR_NOMATCH;
}

}  // namespace

struct Regex::State {
  pcre2_code* code = nullptr;

  ~State() { pcre2_code_free(code); }
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
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      &error, &offset, nullptr);
  if (regex.state_->code == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("regex '{}': {} at {}", pattern, ErrorText(error), offset));
  }
  // Where JIT is not there the interpreter does the same, more slowly.
  pcre2_jit_compile(regex.state_->code, PCRE2_JIT_COMPLETE);
  return regex;
}

absl::StatusOr<std::vector<std::pair<size_t, size_t>>> Regex::FindAll(
    std::string_view text, EmptyMatches empty) const {
  std::vector<std::pair<size_t, size_t>> matches;
  Search search(state_->code, text);
  const bool keeps_empty = empty == EmptyMatches::kKept;
  for (size_t at = 0; at < text.size() + (keeps_empty ? 1 : 0);) {
    const int count = search.Find(at);
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) return MatchError(count);
    const auto [begin, end] = search.range();
    if (begin < at || begin > end || end > text.size()) {
      return absl::InvalidArgumentError(
          fmt::format("regex: want a match within {}..{}, found one of {}..{}",
                      at, text.size(), begin, end));
    }
    if (end > begin) {
      matches.emplace_back(begin, end);
      at = end;
      continue;
    }
    // An empty match: go one character on.
    if (keeps_empty && (matches.empty() || matches.back().second < begin)) {
      matches.emplace_back(begin, end);
    }
    at = NextCharacter(text, end);
  }
  return matches;
}

}  // namespace zqfp
