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

absl::StatusOr<std::unique_ptr<Model>> LoadRounded(const Model& original,
                                                   const std::string& directory,
                                                   ModelOptions options) {
  const auto& quantization = original.config().quantization;
  if (quantization.has_value() &&
      quantization->activations != ActivationFormat::kNone) {
    return nullptr;
  }
  options.simulated_activations = ActivationFormat::kBf16;
  return Model::Load(directory, options);
}

}  // namespace zqfp::tools
