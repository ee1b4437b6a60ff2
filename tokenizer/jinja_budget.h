// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_BUDGET_H_
#define ZQFP_TOKENIZER_JINJA_BUDGET_H_

// The limits of the template sandbox and the account one rendering draws on.

#include <fmt/format.h>
#include <stdint.h>

#include <string>
#include <utility>

#include "absl/status/status.h"

namespace zqfp::jinja {

inline constexpr int64_t kMaxSourceBytes = 1 << 20;
inline constexpr int kMaxNodeDepth = 160;        // of the syntax tree
inline constexpr int kMaxNodes = 200'000;        // of the syntax tree
inline constexpr int kMaxEvaluationDepth = 600;  // tree levels across macros
inline constexpr int kMaxMacroDepth = 60;
inline constexpr int kMaxValueDepth = 100;  // lists in dicts in lists ...
inline constexpr int64_t kMaxSteps = 4'000'000;
inline constexpr int64_t kMaxValueBytes = int64_t{256} << 20;  // ever made
inline constexpr int64_t kMaxOutputBytes = 16 << 20;
// Of one string: what some functions build beside it is at most 8 times that.
inline constexpr int64_t kMaxTextBytes = kMaxOutputBytes;
inline constexpr int64_t kMaxRange = 100'000;
// Bytes that a search, comparison or copy handles for the price of one step.
inline constexpr int64_t kBytesPerStep = 256;

// An error of the template's author or its data, in Python's words where
// Python has some.
template <typename... T>
absl::Status Error(fmt::format_string<T...> format, T&&... args) {
  return absl::InvalidArgumentError(
      fmt::format(format, std::forward<T>(args)...));
}

template <typename... T>
absl::Status Unsupported(fmt::format_string<T...> format, T&&... args) {
  return absl::UnimplementedError(
      fmt::format(format, std::forward<T>(args)...));
}

// Counts work and memory. The first limit that is reached sticks: every later
// call says no, so deep recursions may unwind with any value at all, and the
// evaluator reports status() before anybody sees that value.
class Budget {
 public:
  bool Step(int64_t steps = 1) {
    steps_ += steps;
    if (steps_ > kMaxSteps && status_.ok()) {
      status_ = absl::ResourceExhaustedError(
          fmt::format("more than {} steps", kMaxSteps));
    }
    return status_.ok();
  }

  // Work over bytes that makes nothing: comparing, searching.
  bool Scan(int64_t num_bytes) { return Step(num_bytes / kBytesPerStep); }

  // Ask before making anything of this size.
  bool Bytes(int64_t num_bytes) {
    if ((num_bytes < 0 || num_bytes > kMaxValueBytes - bytes_) &&
        status_.ok()) {
      status_ = absl::ResourceExhaustedError(fmt::format(
          "values need more than {} MiB of memory", kMaxValueBytes >> 20));
    }
    if (status_.ok()) bytes_ += num_bytes;
    return status_.ok();
  }

  // Ask before making one string of this size.
  bool TextBytes(int64_t num_bytes) {
    if (num_bytes > kMaxTextBytes && status_.ok()) {
      status_ = absl::ResourceExhaustedError(fmt::format(
          "a string needs more than {} MiB of memory", kMaxTextBytes >> 20));
    }
    return Bytes(num_bytes);
  }

  bool TooDeep() {
    if (status_.ok()) {
      status_ = absl::ResourceExhaustedError(
          fmt::format("values nested deeper than {}", kMaxValueDepth));
    }
    return false;
  }

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  absl::Status status_;
};

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_BUDGET_H_
