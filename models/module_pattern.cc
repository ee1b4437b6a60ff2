// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "models/module_pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// Far beyond any real list; every pattern is tried on every layer.
constexpr size_t kMaxPatterns = 4096;
constexpr size_t kMaxPatternBytes = 4096;
constexpr uint32_t kMatchLimit = 100000;
// Steps that a match has anyway; those beyond draw on an account of all matches
// of a list.
constexpr uint32_t kEasySteps = 160;
constexpr int64_t kAccount = 20'000'000;
constexpr uint32_t kHeapLimitKb = 1024;

bool IsPlain(const std::string& text) {
  return text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyz"
             "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
             "0123456789_-") == std::string::npos;
}

// The regex of a shell pattern.
std::string FromGlob(const std::string& glob) {
  std::string regex = "(?s:";
  for (const char c : glob) {
    if (c == '*') {
      regex += ".*";
    } else if (c == '?') {
      regex += '.';
    } else {
      if (!IsPlain(std::string(1, c))) regex += '\\';
      regex += c;
    }
  }
  return regex + ")$";
}

}  // namespace

struct ModulePatterns::Regex {
  std::string shown;  // as in the file
  pcre2_code* code = nullptr;

  ~Regex() { pcre2_code_free(code); }

  // PCRE2's result for a match that begins where the name does.
  int Match(const std::string& name, std::atomic<int64_t>& account) const;
};

int ModulePatterns::Regex::Match(const std::string& name,
                                 std::atomic<int64_t>& account) const {
  pcre2_match_data* data = pcre2_match_data_create_from_pattern(code, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_set_heap_limit(context, kHeapLimitKb);
  int found = PCRE2_ERROR_MATCHLIMIT;
  for (uint32_t limit = kEasySteps;
       found == PCRE2_ERROR_MATCHLIMIT && limit <= kMatchLimit && account > 0;
       limit *= 5) {
    pcre2_set_match_limit(context, limit);
    found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(name.data()),
                        name.size(), 0, PCRE2_ANCHORED, data, context);
    if (found == PCRE2_ERROR_MATCHLIMIT) account -= limit;
  }
  pcre2_match_context_free(context);
  pcre2_match_data_free(data);
  return found;
}

ModulePatterns::ModulePatterns(PatternStyle style)
    : style_(style),
      account_(std::make_shared<std::atomic<int64_t>>(kAccount)) {}

absl::Status ModulePatterns::AddRegex(const std::string& regex,
                                      const std::string& shown,
                                      const std::string& where) {
  auto compiled = std::make_shared<Regex>();
  compiled->shown = shown;
  int code = 0;
  PCRE2_SIZE at = 0;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()),
                                 regex.size(), PCRE2_UTF, &code, &at, nullptr);
  if (compiled->code == nullptr) {
    unsigned char reason[128] = "";
    pcre2_get_error_message(code, reason, sizeof(reason));
    return absl::InvalidArgumentError(
        fmt::format("{}: want a pattern, found '{}' ({})", where, shown,
                    reinterpret_cast<const char*>(reason)));
  }
  regexes_.push_back(std::move(compiled));
  return absl::OkStatus();
}

absl::Status ModulePatterns::Add(const std::string& pattern,
                                 const std::string& where) {
  if (pattern.empty() || pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want patterns of 1..{} bytes, found {}", where,
                    kMaxPatternBytes, pattern.size()));
  }
  if (regexes_.size() >= kMaxPatterns || suffixes_.size() >= kMaxPatterns) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: want at most {} patterns", where, kMaxPatterns));
  }
  switch (style_) {
    case PatternStyle::kTargets:
      if (pattern.starts_with("re:")) {
        return AddRegex(pattern.substr(3), pattern, where);
      }
      any_linear_ = any_linear_ || pattern == "Linear";
      names_.insert(pattern);
      return absl::OkStatus();
    case PatternStyle::kGlob:
      if (pattern.find_first_of("[]") != std::string::npos) {
        return absl::UnimplementedError(fmt::format(
            "{}: {}: sets of characters are not supported", where, pattern));
      }
      if (pattern.find_first_of("*?") == std::string::npos) {
        names_.insert(pattern);
        return absl::OkStatus();
      }
      return AddRegex(FromGlob(pattern), pattern, where);
    case PatternStyle::kModules:
      suffixes_.push_back(pattern);
      return AddRegex(fmt::format(R"((?:{})(?:(?<=\.)|(?=\.|$)))", pattern),
                      pattern, where);
  }
  return absl::OkStatus();
}

absl::StatusOr<MatchKind> ModulePatterns::Match(const std::string& name) const {
  if (names_.contains(name)) return MatchKind::kName;
  for (const std::string& suffix : suffixes_) {
    if (name.ends_with(suffix)) return MatchKind::kPattern;
  }
  for (const auto& regex : regexes_) {
    const int found = regex->Match(name, *account_);
    if (found >= 0) return MatchKind::kPattern;
    if (found != PCRE2_ERROR_NOMATCH) {
      return absl::ResourceExhaustedError(fmt::format(
          "pattern '{}': want a match of {} in few steps, it or the "
          "ones before take too many",
          regex->shown, name));
    }
  }
  return any_linear_ ? MatchKind::kClass : MatchKind::kNone;
}

}  // namespace zqfp
