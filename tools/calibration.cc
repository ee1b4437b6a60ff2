// SPDX-License-Identifier: Apache-2.0
#include "tools/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/corpus.h"
#include "engine/model_tokenizer.h"
#include "engine/protocol.h"
#include "kernels/core/status_macros.h"
#include "models/config.h"
#include "tokenizer/tokenizer.h"
#include "tools/file_hash.h"

namespace zqfp::tools {
absl::StatusOr<Calibration> ReadCalibration(const std::string& directory,
                                            const CalibrationOptions& options) {
  ZQFP_ASSIGN_OR_RETURN(const Config config, LoadConfig(directory));
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        LoadModelTokenizer(directory));
  ZQFP_ASSIGN_OR_RETURN(const Corpus corpus,
                        ReadCorpus(options.text, options.split));
  const int64_t length = std::min(options.length, config.max_positions);
  // A document's window has one more id, the last prediction's target.
  const int64_t window = corpus.is_documents ? length - 1 : length;
  ZQFP_ASSIGN_OR_RETURN(
      const WindowPlan plan,
      PlanWindows(*tokenizer, corpus,
                  {.protocol = Protocol::kGptq, .window = window}));
  const auto num_windows = static_cast<int64_t>(plan.windows.size());
  if (num_windows == 0) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want text for at least one sequence of {} tokens, found {} "
        "text(s) that are all shorter (--calibration_length)",
        options.text, length, corpus.texts.size()));
  }
  Calibration calibration;
  calibration.source.text = std::filesystem::path(options.text).filename();
  ZQFP_ASSIGN_OR_RETURN(calibration.source.text_hash, HashOfFile(options.text));
  const int64_t count = std::min(options.num_samples, num_windows);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = corpus.is_documents ? i : i * num_windows / count;
    const Window& window = plan.windows[static_cast<size_t>(index)];
    const auto begin =
        plan.ids[static_cast<size_t>(window.text_index)].begin() + window.begin;
    calibration.sequences.emplace_back(begin, begin + length);
    for (const int32_t id : calibration.sequences.back()) {
      if (id < 0 || id >= config.vocab_size) {
        return absl::InvalidArgumentError(fmt::format(
            "tokenizer: want ids below {} (the model's vocab_size), found {}",
            config.vocab_size, id));
      }
    }
  }
  return calibration;
}

}  // namespace zqfp::tools
