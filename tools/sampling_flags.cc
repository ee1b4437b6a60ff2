// SPDX-License-Identifier: Apache-2.0
#include "tools/sampling_flags.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/sampler.h"
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
  s.temperature = absl::GetFlag(FLAGS_temperature).value_or(s.temperature);
  s.top_k = absl::GetFlag(FLAGS_top_k).value_or(s.top_k);
  s.top_p = absl::GetFlag(FLAGS_top_p).value_or(s.top_p);
  s.min_p = absl::GetFlag(FLAGS_min_p).value_or(s.min_p);
  s.typical_p = absl::GetFlag(FLAGS_typical_p).value_or(s.typical_p);
  s.repetition_penalty =
      absl::GetFlag(FLAGS_repetition_penalty).value_or(s.repetition_penalty);
  s.presence_penalty = absl::GetFlag(FLAGS_presence_penalty);
  s.frequency_penalty = absl::GetFlag(FLAGS_frequency_penalty);
  // It names the option, which has the flag's name.
  if (const absl::Status valid = ValidateSampling(s); !valid.ok()) {
    return UsageError(absl::StrCat("--", valid.message()));
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
