// SPDX-License-Identifier: Apache-2.0
#include "models/foreign_quantization.h"

#include <fmt/format.h>

#include "kernels/core/status_macros.h"

namespace zqfp {

absl::StatusOr<const ForeignScheme*> ForeignQuantization::SchemeOf(
    const std::string& linear) const {
  ZQFP_ASSIGN_OR_RETURN(const MatchKind ignored, ignore.Match(linear));
  if (ignored != MatchKind::kNone) return nullptr;
  const ForeignGroup* best = nullptr;
  MatchKind best_kind = MatchKind::kNone;
  for (const ForeignGroup& group : groups) {
    ZQFP_ASSIGN_OR_RETURN(const MatchKind kind, group.targets.Match(linear));
    if (kind == MatchKind::kNone || kind < best_kind) continue;
    if (kind == best_kind) {
      return absl::InvalidArgumentError(fmt::format(
          "quantization_config: {}: want one group that targets it, found {} "
          "and {}",
          linear, best->name, group.name));
    }
    best = &group;
    best_kind = kind;
  }
  return best == nullptr ? nullptr : &best->scheme;
}

absl::Status ForeignQuantization::CheckRunnable() const {
  if (weight_only) return absl::OkStatus();
  std::string refused = refused_cache;
  for (const ForeignGroup& group : groups) {
    if (refused.empty()) refused = group.scheme.refused;
  }
  if (refused.empty()) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("{} is not supported; --weight_only runs such a model with "
                  "f32 inputs and our own cache",
                  refused));
}

std::string_view ToString(ForeignMethod method) {
  constexpr const char* kNames[] = {"compressed-tensors", "modelopt", "fp8",
                                    "mxfp4"};
  return kNames[static_cast<size_t>(method)];
}

std::string_view ToString(ForeignWeights weights) {
  constexpr const char* kNames[] = {"mxfp4", "nvfp4", "e4m3 per tensor",
                                    "e4m3 per row", "e4m3 blocks"};
  return kNames[static_cast<size_t>(weights)];
}

}  // namespace zqfp
