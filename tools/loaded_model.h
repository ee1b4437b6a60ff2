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

// Why an original has no noise floor; "" where it has one.
std::string WhyNoNoiseFloor(const Model& original);

// An original that has one once more, with the inputs of its linears in bf16:
// what the floor is measured with.
absl::StatusOr<std::unique_ptr<Model>> LoadRounded(const std::string& directory,
                                                   ModelOptions options);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_LOADED_MODEL_H_
