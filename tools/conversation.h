// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CONVERSATION_H_
#define ZQFP_TOOLS_CONVERSATION_H_

// The turns between a person and a model, and the file that keeps them.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "zqfp/zqfp.h"

namespace zqfp::tools {

enum class PromptStyle {
  kChat,  // the model's chat template, all turns
  kRaw,   // the text alone, continued; nothing is remembered
};

class Conversation {
 public:
  // `model` outlives the conversation. With no seed each answer draws its own.
  Conversation(LanguageModel* model, PromptStyle style, GenerateOptions options,
               std::optional<uint64_t> seed);

  // The answer to `text`; pieces go to `on_text` as they come. Ctrl-C ends the
  // answer (kCancelled) at any time. A turn that fails leaves no trace; what
  // was said before an interrupt stays.
  absl::StatusOr<Generation> Ask(
      const std::string& text,
      const std::function<void(const std::string&)>& on_text);

  // Forgets all turns but the system's.
  void Clear();
  // Replaces the system's text; "" removes it.
  void SetSystem(const std::string& text);

  // One JSON object with all turns, under its name only when complete. Refuses
  // to replace a file that is not such an object.
  absl::Status Save(const std::string& path) const;
  // Replaces all turns by those of the file, or leaves them alone.
  absl::Status Load(const std::string& path);

  const std::vector<Message>& messages() const { return messages_; }
  // Of the last answer.
  const GenerationStats& stats() const { return stats_; }
  uint64_t last_seed() const { return last_seed_; }

 private:
  LanguageModel* model_;
  PromptStyle style_;
  GenerateOptions options_;
  std::optional<uint64_t> seed_;
  uint64_t last_seed_ = 0;
  std::vector<Message> messages_;
  GenerationStats stats_;
};

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CONVERSATION_H_
