// SPDX-License-Identifier: Apache-2.0
#include "engine/generation_config.h"

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/sampler.h"
#include "kernels/core/status_macros.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

constexpr int64_t kMaxBytes = 1 << 20;
// ValidateSampling knows the ranges.
constexpr RealRange kAnyNumber = {std::numeric_limits<double>::lowest(),
                                  std::numeric_limits<double>::max()};

}  // namespace

absl::StatusOr<SamplingOptions> LoadDefaultSampling(
    const std::string& directory) {
  const std::string name = "generation_config.json";
  const std::filesystem::path path = std::filesystem::path(directory) / name;
  SamplingOptions sampling;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return sampling;
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path.string(), kMaxBytes));
  ZQFP_ASSIGN_OR_RETURN(
      const nlohmann::json root,
      ParseJson(text.data(), text.data() + text.size(), name));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(name + ": want an object, found " +
                                      Excerpt(root));
  }
  const JsonReader reader(root, name);
  bool do_sample = false;
  ZQFP_RETURN_IF_ERROR(reader.Read("do_sample", &do_sample));
  if (!do_sample) return sampling;
  sampling.temperature = 1.0;
  const std::pair<const char*, double*> numbers[] = {
      {"temperature", &sampling.temperature},
      {"top_p", &sampling.top_p},
      {"typical_p", &sampling.typical_p},
      {"min_p", &sampling.min_p},
      {"repetition_penalty", &sampling.repetition_penalty}};
  for (const auto& [key, value] : numbers) {
    ZQFP_RETURN_IF_ERROR(reader.Read(key, kAnyNumber, value));
  }
  ZQFP_RETURN_IF_ERROR(reader.Read(
      "top_k", {0, std::numeric_limits<int64_t>::max()}, &sampling.top_k));
  if (const absl::Status valid = ValidateSampling(sampling); !valid.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", valid.message()));
  }
  return sampling;
}

}  // namespace zqfp
