// SPDX-License-Identifier: Apache-2.0
#include "kernels/op_profile.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "kernels/core/check.h"

namespace zqfp::kernels {
namespace {

using Clock = std::chrono::steady_clock;

OpProfile* active = nullptr;

// Every op has an argument struct of its own, so that tells its name.
const char* NameOf(const EmbedArgs&) { return "embed"; }
const char* NameOf(const GatherRowsArgs&) { return "gather_rows"; }
const char* NameOf(const AddPositionsArgs&) { return "add_positions"; }
const char* NameOf(const RmsNormArgs&) { return "rms_norm"; }
const char* NameOf(const LayerNormArgs&) { return "layer_norm"; }
const char* NameOf(const QuantizeTokensArgs&) { return "quantize_tokens"; }
const char* NameOf(const MatmulArgs&) { return "matmul"; }
const char* NameOf(const MatmulA8Args&) { return "matmul_a8"; }
const char* NameOf(const RopeArgs&) { return "rope"; }
const char* NameOf(const StoreKvArgs&) { return "store_kv"; }
const char* NameOf(const AttentionArgs&) { return "attention"; }
const char* NameOf(const ActivateArgs&) { return "activate"; }
const char* NameOf(const SoftcapArgs&) { return "softcap"; }

template <typename Args>
const WeightView* WeightOf(const Args&) {
  return nullptr;
}
template <>
const WeightView* WeightOf(const MatmulArgs& args) {
  return &args.weight;
}
template <>
const WeightView* WeightOf(const MatmulA8Args& args) {
  return &args.weight;
}

// What stands in kSlot of the wrapped table.
template <auto kSlot, typename Args>
void Note(const Args& args, const Exec& exec) noexcept {
  const Clock::time_point start = Clock::now();
  (active->ops().*kSlot)(args, exec);
  const std::chrono::duration<double> time = Clock::now() - start;
  active->Add(NameOf(args), WeightOf(args), time.count(), Work(args));
}

template <auto kSlot, typename Args>
void Replace(void (*&slot)(const Args&, const Exec&) noexcept) {
  if (slot != nullptr) slot = Note<kSlot, Args>;
}

}  // namespace

OpProfile::OpProfile() {
  ZQFP_CHECK(active == nullptr);
  active = this;
}

OpProfile::~OpProfile() { active = nullptr; }

OpTable OpProfile::Wrap(const OpTable& ops) {
  ops_ = ops;
  OpTable noted = ops;
  noted.fused = {};  // every op by itself
  Replace<&OpTable::embed>(noted.embed);
  Replace<&OpTable::gather_rows>(noted.gather_rows);
  Replace<&OpTable::add_positions>(noted.add_positions);
  Replace<&OpTable::rms_norm>(noted.rms_norm);
  Replace<&OpTable::layer_norm>(noted.layer_norm);
  Replace<&OpTable::quantize_tokens>(noted.quantize_tokens);
  Replace<&OpTable::matmul>(noted.matmul);
  Replace<&OpTable::matmul_a8>(noted.matmul_a8);
  Replace<&OpTable::rope>(noted.rope);
  Replace<&OpTable::store_kv>(noted.store_kv);
  Replace<&OpTable::attention>(noted.attention);
  Replace<&OpTable::activate>(noted.activate);
  Replace<&OpTable::softcap>(noted.softcap);
  return noted;
}

void OpProfile::NameWeight(const void* data, const std::string& part) {
  parts_[data] = part;
}

void OpProfile::Add(const char* op, const WeightView* weight, double seconds,
                    const OpWork& work) {
  const std::string* part = nullptr;
  if (weight != nullptr) {
    const auto found = parts_.find(weight->data);
    if (found != parts_.end()) part = &found->second;
  }
  const auto add = [&](OpCalls& row) {
    ++row.calls;
    row.seconds += seconds;
    row.work.bytes += work.bytes;
    row.work.flop += work.flop;
  };
  for (OpCalls& row : rows_) {
    if (row.op != op) continue;
    if (weight != nullptr &&
        (row.format != weight->format ||
         (part == nullptr ? !row.part.empty() : row.part != *part))) {
      continue;
    }
    return add(row);
  }
  OpCalls row = {.op = op, .is_matmul = weight != nullptr};
  if (weight != nullptr) row.format = weight->format;
  if (part != nullptr) row.part = *part;
  add(rows_.emplace_back(std::move(row)));
}

double OpProfile::SecondsPerCall() {
  // The best of several rounds, since a machine has other things to do, too.
  constexpr int kRounds = 20, kCalls = 500;
  const OpTable ops = ops_;
  const std::vector<OpCalls> rows = rows_;
  ops_.matmul_a8 = [](const MatmulA8Args&, const Exec&) noexcept {};
  const MatmulA8Args nothing = {};
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kCalls; ++i) {
      Note<&OpTable::matmul_a8, MatmulA8Args>(nothing, {});
    }
    const std::chrono::duration<double> time = Clock::now() - start;
    best = std::min(best, time.count() / kCalls);
  }
  ops_ = ops;
  rows_ = rows;
  return best;
}

}  // namespace zqfp::kernels
