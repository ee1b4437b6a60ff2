// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_PRE_TOKENIZER_H_
#define ZQFP_TOKENIZER_PRE_TOKENIZER_H_

// The "pre_tokenizer" of a tokenizer.json: cuts text into the words that BPE
// works on.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tokenizer/regex.h"

namespace zqfp {

// Where in the whole input a piece of text stands.
enum class InputPlace { kStart, kLater };

class PreTokenizer {
 public:
  PreTokenizer() = default;  // cuts nothing
  static absl::StatusOr<PreTokenizer> Parse(const nlohmann::json& json);
  // A regex whose matches are the words, then GPT-2's byte alphabet.
  static absl::StatusOr<PreTokenizer> ByteLevel(const std::string& regex);

  // The words of a text in order.
  absl::StatusOr<std::vector<std::string>> Apply(std::string text,
                                                 InputPlace place) const;

 private:
  enum class Kind { kSplit, kBytes, kPrefixSpace, kMetaspace };
  enum class Behavior {
    kIsolated,
    kRemoved,
    kMergedWithPrevious,
    kMergedWithNext,
    kContiguous,
  };
  enum class Prepend { kNever, kFirst, kAlways };
  struct Step {
    Kind kind = Kind::kSplit;
    std::shared_ptr<const Regex> regex;  // kSplit
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    std::string replacement;  // kMetaspace
    Prepend prepend = Prepend::kNever;
    bool split = false;  // kMetaspace
  };
  using Words = std::vector<std::string>;

  absl::Status Add(const nlohmann::json& json);
  absl::Status AddSplit(const nlohmann::json& json);
  absl::Status AddByteLevel(const nlohmann::json& json);
  absl::Status AddMetaspace(const nlohmann::json& json);
  absl::Status AddRegex(const std::string& pattern, Behavior behavior);
  absl::Status Push(Step step);
  static absl::StatusOr<Behavior> ParseBehavior(const nlohmann::json& json,
                                                const std::string& where);
  static absl::Status ApplyStep(const Step& step, std::string text,
                                bool is_first, Words* words);
  static void Cut(const Step& step, const std::string& text,
                  std::vector<std::pair<size_t, size_t>> matches, Words* words);
  static void Mark(const Step& step, std::string text, bool is_first,
                   Words* words);

  std::vector<Step> steps_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_PRE_TOKENIZER_H_
