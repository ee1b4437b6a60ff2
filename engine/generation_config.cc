// SPDX-License-Identifier: Apache-2.0
#include "engine/generation_config.h"

#include <filesystem>

#include "kernels/core/status_macros.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

constexpr int64_t kMaxBytes = 1 << 20;

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
  ZQFP_RETURN_IF_ERROR(
      reader.Read("temperature", {0.0, 100.0}, &sampling.temperature));
  ZQFP_RETURN_IF_ERROR(reader.Read("top_k", {0, 1 << 30}, &sampling.top_k));
  ZQFP_RETURN_IF_ERROR(reader.Read("top_p", {1e-9, 1.0}, &sampling.top_p));
  ZQFP_RETURN_IF_ERROR(
      reader.Read("typical_p", {1e-9, 1.0}, &sampling.typical_p));
  ZQFP_RETURN_IF_ERROR(reader.Read("min_p", {0.0, 1.0}, &sampling.min_p));
  ZQFP_RETURN_IF_ERROR(reader.Read("repetition_penalty", {1e-3, 1e3},
                                   &sampling.repetition_penalty));
  return sampling;
}

}  // namespace zqfp
