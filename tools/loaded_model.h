// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_LOADED_MODEL_H_
#define ZQFP_TOOLS_LOADED_MODEL_H_

// Models as a comparison needs them.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/comparison.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace zqfp::tools {

// A model with its tokenizer.
struct LoadedModel {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Model> model;

  Subject subject() const { return {model.get(), tokenizer.get()}; }
};

absl::StatusOr<LoadedModel> LoadFrom(const std::string& directory,
                                     const ModelOptions& options);

// What a person calls the model: the last part of its path, links resolved.
std::string BaseName(const std::string& directory);

// The original of `directory` once more, with the inputs of its linears in
// bf16: what a noise floor is measured with. Null where they are in a narrower
// format already.
absl::StatusOr<std::unique_ptr<Model>> LoadRounded(const Model& original,
                                                   const std::string& directory,
                                                   ModelOptions options);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_LOADED_MODEL_H_
