// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_NORMALIZER_H_
#define ZQFP_TOKENIZER_NORMALIZER_H_

// The "normalizer" of a tokenizer.json: rewrites text before it is split.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tokenizer/regex.h"

namespace zqfp {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // InvalidArgument or Unimplemented names what is wrong or not known.
  static absl::StatusOr<Normalizer> Parse(const nlohmann::json& json);

  // ResourceExhausted where a text becomes more than 16 times as long and a
  // megabyte.
  absl::StatusOr<std::string> Apply(std::string text) const;
  bool empty() const { return steps_.empty(); }

 private:
  enum class Kind {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kPrepend,
    kReplace,
    kLowercase,
    kStrip,
    kStripAccents,
  };
  struct Step {
    Kind kind;
    std::string from;  // kReplace without a regex
    std::string to;    // kReplace, kPrepend
    std::shared_ptr<const Regex> regex;
    bool left = false, right = false;  // kStrip
  };

  absl::Status Add(const nlohmann::json& json);
  static absl::StatusOr<Step> ParseStep(const nlohmann::json& json,
                                        const std::string& type);
  static absl::StatusOr<Step> ParseReplace(const nlohmann::json& json,
                                           const std::string& where);
  static absl::StatusOr<std::string> ApplyStep(const Step& step,
                                               std::string text, size_t limit);

  std::vector<Step> steps_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_NORMALIZER_H_
