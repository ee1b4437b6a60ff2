// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_MODULE_PATTERN_H_
#define ZQFP_MODELS_MODULE_PATTERN_H_

// The lists of layers in the configs of other quantizers, with each tool's own
// idea of a pattern.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zqfp {

enum class PatternStyle : uint8_t {
  // compressed-tensors: the class "Linear", "re:" and a regex that matches from
  // the start of the name, or the whole name.
  kTargets,
  // ModelOpt: the whole name, * and ? as in a shell.
  kGlob,
  // transformers: a regex that matches up to a dot or the end, or a suffix.
  kModules,
};

// How directly a list names a layer; the larger one decides.
enum class MatchKind : uint8_t { kNone, kClass, kPattern, kName };

// Copies share the compiled patterns and the steps they may take.
class ModulePatterns {
 public:
  explicit ModulePatterns(PatternStyle style);

  // InvalidArgument, opened by `where`, for a pattern that does not compile or
  // is too long; ResourceExhausted for too many.
  absl::Status Add(const std::string& pattern, const std::string& where);
  // `name` is a linear layer's: "model.layers.0.mlp.up_proj".
  // ResourceExhausted where a pattern takes too many steps, or all matches of
  // the list together do.
  absl::StatusOr<MatchKind> Match(const std::string& name) const;

 private:
  struct Regex;
  absl::Status AddRegex(const std::string& regex, const std::string& shown,
                        const std::string& where);

  PatternStyle style_;
  bool any_linear_ = false;
  absl::flat_hash_set<std::string> names_;
  std::vector<std::string> suffixes_;  // kModules
  std::vector<std::shared_ptr<const Regex>> regexes_;
  std::shared_ptr<std::atomic<int64_t>> account_;  // steps that are left
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_MODULE_PATTERN_H_
