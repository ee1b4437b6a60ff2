// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_INSPECTION_H_
#define ZQFP_TOOLS_INSPECTION_H_

// What zqfp-inspect knows about a model and this machine, once as JSON and
// once for people: each section is built as JSON and printed from it, so that
// both say the same.

#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "models/model.h"
#include "models/safetensors.h"
#include "nlohmann/json.hpp"

namespace zqfp::tools {

using Section = nlohmann::ordered_json;

// Architecture, sizes, formats, context, tokens.
Section SummarySection(const Model& model);
// Bytes of everything that a run keeps in memory, for `context` tokens.
Section MemorySection(const Model& model, KvFormat kv, int64_t context,
                      int64_t file_bytes);
// Tokenizer and chat template of a model directory: sizes, hashes and special
// tokens; null where it has no tokenizer. An error is a broken file's.
absl::StatusOr<Section> TextSection(const std::string& directory);
// Every linear layer: formats, kernel, exact or not.
Section ExplainSection(const Model& model);
// Every tensor of the checkpoint.
Section TensorsSection(const Checkpoint& checkpoint);
// Which table serves each op under each backend that was built.
Section OpsSection();

std::string SummaryText(const Section& section);
std::string MemoryText(const Section& section);
std::string TokensText(const Section& section);
std::string ExplainText(const Section& section);
std::string TensorsText(const Section& section);
std::string OpsText(const Section& section);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_INSPECTION_H_
