// SPDX-License-Identifier: Apache-2.0
#include "tools/loaded_model.h"

#include <filesystem>
#include <system_error>

#include "engine/model_tokenizer.h"
#include "kernels/core/status_macros.h"

namespace zqfp::tools {

absl::StatusOr<LoadedModel> LoadFrom(const std::string& directory,
                                     const ModelOptions& options) {
  LoadedModel loaded;
  ZQFP_ASSIGN_OR_RETURN(loaded.tokenizer, LoadModelTokenizer(directory));
  ZQFP_ASSIGN_OR_RETURN(loaded.model, Model::Load(directory, options));
  return loaded;
}

std::string BaseName(const std::string& directory) {
  std::error_code error;
  return std::filesystem::weakly_canonical(directory, error)
      .filename()
      .string();
}

std::string WhyNoNoiseFloor(const Model& original) {
  if (original.rounds_inputs()) return "the original's activations are rounded";
  if (original.device() != nullptr) return "it is measured on the CPU only";
  return "";
}

absl::StatusOr<std::unique_ptr<Model>> LoadRounded(const std::string& directory,
                                                   ModelOptions options) {
  options.simulated_activations = ActivationFormat::kBf16;
  return Model::Load(directory, options);
}

}  // namespace zqfp::tools
