// SPDX-License-Identifier: Apache-2.0
#include "tools/sampling_flags.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/escaping.h"
#include "kernels/core/status_macros.h"

ABSL_FLAG(int64_t, max_tokens, 1024, "most tokens of one answer");
ABSL_FLAG(std::optional<double>, temperature, std::nullopt,
          "0: always the likeliest token (the model's own, see the end)");
ABSL_FLAG(std::optional<int64_t>, top_k, std::nullopt,
          "draw among so many tokens; 0: off");
ABSL_FLAG(std::optional<double>, top_p, std::nullopt,
          "draw among the likeliest tokens that make up this share; 1: off");
ABSL_FLAG(std::optional<double>, min_p, std::nullopt,
          "drop tokens below this share of the likeliest; 0: off");
ABSL_FLAG(std::optional<double>, typical_p, std::nullopt,
          "locally typical sampling; 1: off");
ABSL_FLAG(std::optional<double>, repetition_penalty, std::nullopt,
          "divide the logits of tokens seen by this; 1: off");
ABSL_FLAG(double, presence_penalty, 0.0, "subtract from tokens answered");
ABSL_FLAG(double, frequency_penalty, 0.0,
          "subtract from tokens answered, each time");
ABSL_FLAG(std::optional<uint64_t>, seed, std::nullopt,
          "the same seed gives the same answer (another one every time)");
ABSL_FLAG(std::vector<std::string>, stop, {},
          "texts that end the answer, between commas, with C escapes");

namespace zqfp::tools {
namespace {

// Replaces *value by the flag where it was given; its range is low..high,
// without low where `open` is set.
absl::Status Override(const char* name, const std::optional<double>& flag,
                      double low, double high, bool open, double* value) {
  if (!flag) return absl::OkStatus();
  if (!(*flag >= low && *flag <= high) || (open && *flag == low)) {
    return UsageError(fmt::format("--{}: want {} {} to {}, found {}", name,
                                  open ? "above" : "from", low, high, *flag));
  }
  *value = *flag;
  return absl::OkStatus();
}

absl::Status ReadStops(std::vector<std::string>* stops) {
  for (const std::string& text : absl::GetFlag(FLAGS_stop)) {
    std::string plain;
    if (text.empty() || !absl::CUnescape(text, &plain)) {
      return UsageError(
          fmt::format("--stop: want texts with C escapes, found '{}'", text));
    }
    stops->push_back(plain);
  }
  return absl::OkStatus();
}

}  // namespace

FlagGroup SamplingFlagGroup() {
  return {"answers",
          {"max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p",
           "repetition_penalty", "presence_penalty", "frequency_penalty",
           "seed", "stop"}};
}

std::optional<uint64_t> SeedFromFlags() { return absl::GetFlag(FLAGS_seed); }

absl::StatusOr<GenerateOptions> GenerateOptionsFromFlags(
    const SamplingOptions& defaults) {
  GenerateOptions options;
  options.sampling = defaults;
  SamplingOptions& s = options.sampling;
  const auto set = [](const char* name, const std::optional<double>& flag,
                      double low, double high, bool open, double* value) {
    return Override(name, flag, low, high, open, value);
  };
  ZQFP_RETURN_IF_ERROR(set("temperature", absl::GetFlag(FLAGS_temperature), 0,
                           100, false, &s.temperature));
  ZQFP_RETURN_IF_ERROR(
      set("top_p", absl::GetFlag(FLAGS_top_p), 0, 1, true, &s.top_p));
  ZQFP_RETURN_IF_ERROR(
      set("min_p", absl::GetFlag(FLAGS_min_p), 0, 1, false, &s.min_p));
  ZQFP_RETURN_IF_ERROR(set("typical_p", absl::GetFlag(FLAGS_typical_p), 0, 1,
                           true, &s.typical_p));
  ZQFP_RETURN_IF_ERROR(set("repetition_penalty",
                           absl::GetFlag(FLAGS_repetition_penalty), 0, 1000,
                           true, &s.repetition_penalty));
  ZQFP_RETURN_IF_ERROR(set("presence_penalty",
                           absl::GetFlag(FLAGS_presence_penalty), -2, 2, false,
                           &s.presence_penalty));
  ZQFP_RETURN_IF_ERROR(set("frequency_penalty",
                           absl::GetFlag(FLAGS_frequency_penalty), -2, 2, false,
                           &s.frequency_penalty));
  if (const std::optional<int64_t> top_k = absl::GetFlag(FLAGS_top_k)) {
    if (*top_k < 0) {
      return UsageError(
          fmt::format("--top_k: want 0 or more, found {}", *top_k));
    }
    s.top_k = *top_k;
  }
  options.max_tokens = absl::GetFlag(FLAGS_max_tokens);
  if (options.max_tokens < 1) {
    return UsageError(fmt::format("--max_tokens: want 1 or more, found {}",
                                  options.max_tokens));
  }
  ZQFP_RETURN_IF_ERROR(ReadStops(&options.stop));
  return options;
}

}  // namespace zqfp::tools
