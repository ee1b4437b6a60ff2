// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_REGEX_H_
#define ZQFP_TOKENIZER_REGEX_H_

// Regular expressions over UTF-8 through PCRE2, with limits on their work.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace zqfp {

class Regex {
 public:
  // Unicode classes are on: \p{L}, and \s \d \w by Unicode's properties, as
  // Hugging Face's tokenizers have them.
  // InvalidArgument names the pattern, the place and the reason.
  static absl::StatusOr<Regex> Compile(const std::string& pattern);
  Regex(Regex&&);
  Regex& operator=(Regex&&);
  ~Regex();

  enum class EmptyMatches {
    kSkipped,
    kKept,  // but for one right behind the match before, as in Oniguruma
  };
  // All matches from left to right as (begin, end). InvalidArgument for a text
  // that is not UTF-8; ResourceExhausted where matches take too many steps.
  absl::StatusOr<std::vector<std::pair<size_t, size_t>>> FindAll(
      std::string_view text, EmptyMatches empty = EmptyMatches::kSkipped) const;

 private:
  Regex();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_REGEX_H_
