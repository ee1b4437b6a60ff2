// SPDX-License-Identifier: Apache-2.0
#include "tools/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "models/weights.h"

namespace zqfp::tools {
namespace {

const char* NameOf(kernels::WeightFormat format) {
  using kernels::WeightFormat;
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kE4m3:
      return "e4m3";
    case WeightFormat::kE4m3Groups:
      return "e4m3 groups";
    case WeightFormat::kE2m1Free:
      return "e2m1 free";
    case WeightFormat::kE2m1Shift:
      return "e2m1 shift";
    case WeightFormat::kE2m1E4m3:
      return "e2m1 e4m3";
  }
  return "";
}

std::string NameOf(const kernels::OpCalls& op) {
  if (!op.is_matmul) return op.op;
  return fmt::format("{} {}{}{}", op.op, NameOf(op.format),
                     op.part.empty() ? "" : " ", op.part);
}

// Shares of what the machine can do; nothing where that is not known, or not
// what the op is made of.
std::optional<double> ReadShare(const ProfileRow& row,
                                const Ceilings& ceilings) {
  if (row.bytes == 0 || ceilings.read_bytes_per_s <= 0) return std::nullopt;
  return row.bytes_per_s() / ceilings.read_bytes_per_s;
}
std::optional<double> MultiplyShare(const ProfileRow& row,
                                    const Ceilings& ceilings) {
  if (row.op.op != "matmul_a8" || ceilings.multiply_flop_per_s <= 0) {
    return std::nullopt;
  }
  return row.flop_per_s() / ceilings.multiply_flop_per_s;
}

std::string Percent(std::optional<double> share) {
  return share.has_value() ? fmt::format("{:>8.0f} %", 100 * *share)
                           : std::string(10, ' ');
}

// Columns after the share, which are blank where an op has no such work.
std::string WorkText(const ProfileRow& row, const Ceilings& ceilings) {
  std::string text;
  if (row.bytes == 0) return text;
  text =
      fmt::format("{:>10.3f}{:>9.2f}{}", row.bytes / 1e6,
                  row.bytes_per_s() / 1e9, Percent(ReadShare(row, ceilings)));
  if (row.flop == 0) return text;
  text +=
      fmt::format("{:>10.3f}{:>9.1f}", row.flop / 1e9, row.flop_per_s() / 1e9);
  const std::optional<double> share = MultiplyShare(row, ceilings);
  return share.has_value() ? text + Percent(share) : text;
}

}  // namespace

std::vector<ProfileRow> RowsOf(const PhaseProfile& phase) {
  std::vector<ProfileRow> rows;
  const auto steps = static_cast<double>(std::max<int64_t>(1, phase.steps));
  const double step_seconds = phase.seconds / steps;
  double rest = step_seconds;
  const auto add = [&](ProfileRow row) {
    row.share = step_seconds > 0 ? row.seconds / step_seconds : 0;
    rows.push_back(std::move(row));
  };
  for (const kernels::OpCalls& op : phase.ops) {
    rest -= op.seconds / steps;
    add({.name = NameOf(op),
         .op = op,
         .calls = static_cast<double>(op.calls) / steps,
         .seconds = op.seconds / steps,
         .bytes = static_cast<double>(op.work.bytes) / steps,
         .flop = static_cast<double>(op.work.flop) / steps});
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) {
                     return a.seconds > b.seconds;
                   });
  add({.name = kRestName, .op = {}, .seconds = rest});
  return rows;
}

std::string ProfileText(const std::string& phase_name,
                        const PhaseProfile& phase, const Ceilings& ceilings) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, phase.steps));
  std::string text =
      fmt::format("\n{}: {} step{} of {:.3f} ms\n", phase_name, phase.steps,
                  phase.steps == 1 ? "" : "s", 1e3 * phase.seconds / steps);
  text +=
      fmt::format("{:<28}{:>6}{:>10}{:>8}{:>10}{:>9}{:>10}{:>10}{:>9}{:>10}\n",
                  "op, of one step", "calls", "ms", "share", "MB", "GB/s",
                  "of read", "GFLOP", "GFLOP/s", "of peak");
  for (const ProfileRow& row : RowsOf(phase)) {
    const std::string calls =
        row.calls > 0 ? fmt::format("{:.6g}", row.calls) : std::string();
    text += fmt::format("{:<28}{:>6}{:>10.3f}{:>6.1f} %{}\n", row.name, calls,
                        1e3 * row.seconds, 100 * row.share,
                        WorkText(row, ceilings));
  }
  return text + fmt::format("taking these notes: {:.2f} % of a step\n",
                            phase.seconds > 0
                                ? 100 * phase.noting_seconds / phase.seconds
                                : 0);
}

nlohmann::ordered_json ProfileJson(const PhaseProfile& phase,
                                   const Ceilings& ceilings) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, phase.steps));
  nlohmann::ordered_json ops = nlohmann::ordered_json::array();
  for (const ProfileRow& row : RowsOf(phase)) {
    nlohmann::ordered_json entry = {{"op", row.name},
                                    {"calls_per_step", row.calls},
                                    {"s_per_step", row.seconds},
                                    {"share", row.share}};
    if (row.op.is_matmul) {
      entry["op"] = row.op.op;
      entry["weights"] = NameOf(row.op.format);
      entry["part"] = row.op.part;
    }
    if (row.bytes > 0) {
      entry["bytes_per_step"] = row.bytes;
      entry["gb_per_s"] = row.bytes_per_s() / 1e9;
      entry["read_share"] = ReadShare(row, ceilings).value_or(0);
    }
    if (row.flop > 0) {
      entry["flop_per_step"] = row.flop;
      entry["gflop_per_s"] = row.flop_per_s() / 1e9;
      const std::optional<double> share = MultiplyShare(row, ceilings);
      if (share.has_value()) entry["multiply_share"] = *share;
    }
    ops.push_back(std::move(entry));
  }
  return {{"steps", phase.steps},
          {"s_per_step", phase.seconds / steps},
          {"noting_s_per_step", phase.noting_seconds / steps},
          {"ops", std::move(ops)}};
}

void NameParts(Model& model, kernels::OpProfile* profile) {
  const Weights& weights = model.mutable_weights();
  const auto name = [&](const LinearWeight& linear, const char* part) {
    // An architecture without it has no gate.
    if (linear.view.n > 0) profile->NameWeight(linear.view, part);
  };
  for (const LayerWeights& layer : weights.layers) {
    name(layer.q, "qkv");
    name(layer.k, "qkv");
    name(layer.v, "qkv");
    name(layer.o, "o");
    name(layer.gate, "gate");
    name(layer.up, "up");
    name(layer.down, "down");
  }
  name(weights.lm_head, "head");
}

}  // namespace zqfp::tools
