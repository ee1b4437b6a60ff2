// SPDX-License-Identifier: Apache-2.0
#include "models/window_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "models/rope_config.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr IntRange kPositions = {1, kMaxPositions};
constexpr IntRange kLayerIndex = {0, 4096};
constexpr int64_t kNoWindow = 0;

// The key's number; `absent` stands where there is no key, no window for null.
absl::Status ReadSlidingWindow(const JsonReader& reader, int64_t absent,
                               Config& config) {
  config.sliding_window = reader.IsNull("sliding_window") ? kNoWindow : absent;
  return reader.Read("sliding_window", kPositions, &config.sliding_window);
}

// One list entry for each layer, or fewer where all are alike.
void SetSpans(std::vector<LayerSpan> spans, Config& config) {
  const auto num_windows =
      std::count(spans.begin(), spans.end(), LayerSpan::kWindow);
  if (num_windows == 0) config.sliding_window = kNoWindow;
  const bool differ = num_windows > 0 && num_windows < config.num_layers;
  config.layer_spans = differ ? std::move(spans) : std::vector<LayerSpan>();
}

template <typename IsWindow>
std::vector<LayerSpan> MakeSpans(const Config& config,
                                 const IsWindow& is_window) {
  std::vector<LayerSpan> spans;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    spans.push_back(is_window(i) ? LayerSpan::kWindow : LayerSpan::kFull);
  }
  return spans;
}

// Layers below max_window_layers are full.
absl::Status ReadQwenWindow(const JsonReader& reader, Config& config) {
  bool is_used = false;
  int64_t first = 28;
  ZQFP_RETURN_IF_ERROR(ReadSlidingWindow(reader, 4096, config));
  ZQFP_RETURN_IF_ERROR(reader.Read("use_sliding_window", &is_used));
  ZQFP_RETURN_IF_ERROR(reader.Read("max_window_layers", kLayerIndex, &first));
  if (!is_used) config.sliding_window = kNoWindow;
  if (config.sliding_window == kNoWindow || reader.Has("layer_types")) {
    return absl::OkStatus();
  }
  SetSpans(MakeSpans(config, [&](int64_t i) { return i >= first; }), config);
  return absl::OkStatus();
}

// Every second layer of Gemma 2 is full, every sixth of Gemma 3.
absl::Status ReadGemmaWindow(const JsonReader& reader, Config& config) {
  const bool is_gemma2 = config.architecture == Architecture::kGemma2;
  int64_t period = is_gemma2 ? 2 : 6;
  ZQFP_RETURN_IF_ERROR(ReadSlidingWindow(reader, 4096, config));
  if (!is_gemma2) {
    ZQFP_RETURN_IF_ERROR(
        reader.Read("sliding_window_pattern", {1, kLayerIndex.max}, &period));
  }
  if (reader.Has("layer_types")) return absl::OkStatus();
  if (config.sliding_window == kNoWindow && period > 1) {
    return reader.Wrong("sliding_window", "a number of tokens");
  }
  SetSpans(MakeSpans(config, [&](int64_t i) { return (i + 1) % period != 0; }),
           config);
  return absl::OkStatus();
}

absl::StatusOr<LayerSpan> ReadSpan(const JsonReader& reader, const json& type) {
  if (type == "full_attention") return LayerSpan::kFull;
  if (type == "sliding_attention") return LayerSpan::kWindow;
  return absl::UnimplementedError(
      fmt::format("{}: layer_types: {} is not supported; supported are "
                  "full_attention and sliding_attention",
                  reader.where(), Excerpt(type)));
}

// Architectures whose layers may differ.
bool HasLayerTypes(Architecture architecture) {
  return architecture == Architecture::kQwen2 ||
         architecture == Architecture::kQwen3 ||
         architecture == Architecture::kGemma2 ||
         architecture == Architecture::kGemma3;
}

// layer_types of newer transformers, which has the last word.
absl::Status ReadLayerTypes(const JsonReader& reader, Config& config) {
  const json* types = reader.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() ||
      static_cast<int64_t>(types->size()) != config.num_layers) {
    return reader.Wrong("layer_types",
                        fmt::format("a list of {}", config.num_layers));
  }
  std::vector<LayerSpan> spans;
  for (const json& type : *types) {
    ZQFP_ASSIGN_OR_RETURN(const LayerSpan span, ReadSpan(reader, type));
    spans.push_back(span);
  }
  const auto num_full =
      std::count(spans.begin(), spans.end(), LayerSpan::kFull);
  const bool has_window = config.sliding_window != kNoWindow;
  if (num_full < config.num_layers && !has_window) {
    return reader.Wrong("layer_types",
                        "full_attention only, as there is no sliding window");
  }
  if (!HasLayerTypes(config.architecture) && has_window && num_full > 0) {
    return reader.Wrong("layer_types",
                        "sliding_attention only, as this "
                        "architecture has one sliding window");
  }
  SetSpans(std::move(spans), config);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadWindow(const JsonReader& reader, Config& config) {
  switch (config.architecture) {
    case Architecture::kOpt:
    case Architecture::kGpt2:
      return absl::OkStatus();
    case Architecture::kLlama:
      // No window whatever the file says, as in Hugging Face's class.
      break;
    case Architecture::kMistral:
      ZQFP_RETURN_IF_ERROR(ReadSlidingWindow(reader, 4096, config));
      break;
    case Architecture::kPhi3:
      ZQFP_RETURN_IF_ERROR(ReadSlidingWindow(reader, kNoWindow, config));
      break;
    case Architecture::kQwen2:
    case Architecture::kQwen3:
      ZQFP_RETURN_IF_ERROR(ReadQwenWindow(reader, config));
      break;
    case Architecture::kGemma2:
    case Architecture::kGemma3:
      ZQFP_RETURN_IF_ERROR(ReadGemmaWindow(reader, config));
      break;
  }
  return ReadLayerTypes(reader, config);
}

}  // namespace zqfp
