// SPDX-License-Identifier: Apache-2.0
#include "kernels/op_profile.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

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
const char* NameOf(const TopLogitsArgs&) { return "top_logits"; }

template <typename Args>
void End(const Args& args) {
  active->End(NameOf(args), {}, Work(args));
}
void End(const MatmulArgs& args) {
  active->End(NameOf(args), {&args.weight}, Work(args));
}
void End(const MatmulA8Args& args) {
  active->End(NameOf(args), {&args.weight}, Work(args));
}
// Only the device can read its lengths.
void End(const AttentionArgs& args) {
  active->End(NameOf(args), {}, active->is_of_device() ? OpWork() : Work(args));
}

// What stands in kSlot of the wrapped table.
template <auto kSlot, typename Args>
void Note(const Args& args, const Exec& exec) noexcept {
  active->Begin();
  (active->ops().*kSlot)(args, exec);
  End(args);
}

template <auto kSlot, typename Args>
void Replace(void (*&slot)(const Args&, const Exec&) noexcept) {
  if (slot != nullptr) slot = Note<kSlot, Args>;
}

void NoteRmsNormQuantize(const RmsNormArgs& norm,
                         const QuantizeTokensArgs& quantize,
                         const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.rms_norm_quantize(norm, quantize, exec);
  active->End("rms_norm_quantize", {}, Work(norm, quantize));
}

void NoteActivateQuantize(const ActivateArgs& activate,
                          const QuantizeTokensArgs& quantize,
                          const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.activate_quantize(activate, quantize, exec);
  active->End("activate_quantize", {}, Work(activate, quantize));
}

void NoteRopeStoreKv(const RopeArgs& queries, const RopeArgs& keys,
                     const StoreKvArgs& store, const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.rope_store_kv(queries, keys, store, exec);
  active->End("rope_store_kv", {}, Work(queries, keys, store));
}

// Devices alone have it, and can read their lengths.
void NoteRopeStoreAttention(const HeadNorms& norms, const RopeArgs& queries,
                            const RopeArgs& keys, const StoreKvArgs& store,
                            const AttentionArgs& attention,
                            const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.rope_store_attention(norms, queries, keys, store,
                                           attention, exec);
  active->End("rope_store_attention", {}, {});
}

std::vector<const WeightView*> WeightsOf(absl::Span<const MatmulA8Args> group) {
  std::vector<const WeightView*> weights;
  for (const MatmulA8Args& args : group) weights.push_back(&args.weight);
  return weights;
}

void NoteMatmulA8Group(const MatmulA8Args* group, int size,
                       const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.matmul_a8_group(group, size, exec);
  const absl::Span<const MatmulA8Args> all(group, static_cast<size_t>(size));
  active->End("matmul_a8", WeightsOf(all), Work(all));
}

void NoteQuantizeMatmulA8(const RmsNormArgs& input, const MatmulA8Args* group,
                          int size, const Exec& exec) noexcept {
  active->Begin();
  active->ops().fused.quantize_matmul_a8(input, group, size, exec);
  const absl::Span<const MatmulA8Args> all(group, static_cast<size_t>(size));
  active->End("quantize_matmul_a8", WeightsOf(all), Work(input, all));
}

// What tells a weight from the others.
const void* PlaceOf(const WeightView& weight) {
  return weight.data != nullptr ? weight.data : weight.packed;
}

FusedOps WrapFused(const FusedOps& plain) {
  FusedOps noted = plain;
  if (noted.rms_norm_quantize != nullptr) {
    noted.rms_norm_quantize = NoteRmsNormQuantize;
  }
  if (noted.activate_quantize != nullptr) {
    noted.activate_quantize = NoteActivateQuantize;
  }
  if (noted.rope_store_kv != nullptr) noted.rope_store_kv = NoteRopeStoreKv;
  if (noted.rope_store_attention != nullptr) {
    noted.rope_store_attention = NoteRopeStoreAttention;
  }
  if (noted.matmul_a8_group != nullptr) {
    noted.matmul_a8_group = NoteMatmulA8Group;
  }
  if (noted.quantize_matmul_a8 != nullptr) {
    noted.quantize_matmul_a8 = NoteQuantizeMatmulA8;
  }
  return noted;
}

}  // namespace

OpProfile::OpProfile() {
  ZQFP_CHECK(active == nullptr);
  active = this;
}

OpProfile::~OpProfile() { active = nullptr; }

OpTable OpProfile::Wrap(const OpTable& ops, DeviceLab* lab) {
  ops_ = ops;
  marks_ = lab != nullptr ? lab->MakeMarks() : nullptr;
  OpTable noted = ops;
  noted.fused = WrapFused(ops.fused);
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
  Replace<&OpTable::top_logits>(noted.top_logits);
  return noted;
}

void OpProfile::NameWeight(const WeightView& weight, const std::string& part) {
  parts_[PlaceOf(weight)] = part;
}

void OpProfile::Clear() {
  rows_.clear();
  marked_.clear();
  if (marks_ != nullptr) (void)marks_->Take();
}

absl::Status OpProfile::Settle() {
  if (marks_ == nullptr) return absl::OkStatus();
  const std::vector<size_t> marked = std::exchange(marked_, {});
  ZQFP_ASSIGN_OR_RETURN(const std::vector<double> us, marks_->Take());
  for (size_t i = 0; i < marked.size(); ++i) {
    rows_[marked[i]].seconds += 1e-6 * us[2 * i];
  }
  return absl::OkStatus();
}

void OpProfile::Begin() {
  if (marks_ != nullptr) return marks_->Add();
  start_ = Clock::now();
}

void OpProfile::End(const char* op, absl::Span<const WeightView* const> weights,
                    const OpWork& work) {
  std::chrono::duration<double> time = {};
  if (marks_ != nullptr) {
    marks_->Add();
  } else {
    time = Clock::now() - start_;
  }
  OpCalls& row = RowOf(op, weights);
  ++row.calls;
  row.seconds += time.count();
  row.work.bytes += work.bytes;
  row.work.flop += work.flop;
  if (marks_ != nullptr) {
    marked_.push_back(static_cast<size_t>(&row - rows_.data()));
  }
}

// Each name once, in their order.
std::string OpProfile::PartOf(
    absl::Span<const WeightView* const> weights) const {
  std::string all, last;
  for (const WeightView* weight : weights) {
    const auto found = parts_.find(PlaceOf(*weight));
    if (found == parts_.end() || found->second == last) continue;
    last = found->second;
    all += (all.empty() ? "" : "+") + last;
  }
  return all;
}

OpCalls& OpProfile::RowOf(const char* op,
                          absl::Span<const WeightView* const> weights) {
  const bool is_matmul = !weights.empty();
  const std::string part = PartOf(weights);
  for (OpCalls& row : rows_) {
    if (row.op == op && row.part == part &&
        (!is_matmul || row.format == weights.front()->format)) {
      return row;
    }
  }
  OpCalls row = {.op = op, .part = part, .is_matmul = is_matmul};
  if (is_matmul) row.format = weights.front()->format;
  return rows_.emplace_back(std::move(row));
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
    (void)Settle();
    const std::chrono::duration<double> time = Clock::now() - start;
    best = std::min(best, time.count() / kCalls);
  }
  ops_ = ops;
  rows_ = rows;
  return best;
}

}  // namespace zqfp::kernels
