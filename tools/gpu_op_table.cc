// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_op_table.h"

#include <fmt/format.h>

#include "kernels/core/status_macros.h"
#include "kernels/op_work.h"
#include "tools/gpu_matrix.h"

namespace zqfp::tools {
namespace {

using kernels::DeviceMemory;
using kernels::Exec;
using kernels::RandomKind;
using kernels::Timing;
using kernels::ValueFormat;

using Row = std::vector<Cell>;

// The arrays that any of the ops reads or writes, for up to `most` tokens. As
// in a model, an op finds in the cache what the one before left there.
class OpArrays {
 public:
  static absl::StatusOr<OpArrays> Create(GpuBench& bench, int64_t most) {
    const GpuTableSizes& sizes = bench.sizes();
    OpArrays arrays;
    const int64_t wide = std::max(sizes.ffn_dim, sizes.model_dim);
    for (DeviceMemory* memory : {&arrays.x_, &arrays.z_, &arrays.y_}) {
      ZQFP_ASSIGN_OR_RETURN(*memory,
                            bench.Random(RandomKind::kF32, most * wide));
    }
    // Pages of keys and values are whole ones.
    const int64_t slots = 2 * (most + sizes.page_size);
    ZQFP_ASSIGN_OR_RETURN(arrays.codes_, bench.device().Allocate(slots * wide));
    ZQFP_ASSIGN_OR_RETURN(
        arrays.scale_,
        bench.device().Allocate(slots * sizes.model_dim / sizes.head_dim * 4));
    // Of 45 degrees, so that what is turned again and again stays as long.
    ZQFP_ASSIGN_OR_RETURN(arrays.angle_,
                          bench.Random(RandomKind::kConstant,
                                       most * sizes.head_dim / 2, 0.70710678f));
    ZQFP_ASSIGN_OR_RETURN(arrays.row_, bench.Random(RandomKind::kF32, wide));
    const int64_t rows = std::max(sizes.vocab_size, most);
    ZQFP_ASSIGN_OR_RETURN(
        arrays.table_, bench.Random(RandomKind::kBf16, rows * sizes.model_dim));
    std::vector<int32_t> ids, counting;
    for (int64_t i = 0; i < most + 2; ++i) {
      ids.push_back(static_cast<int32_t>(i * 7919 % sizes.vocab_size));
      counting.push_back(static_cast<int32_t>(i));
    }
    const auto place = [&](const std::vector<int32_t>& values) {
      return bench.Upload(values.data(),
                          static_cast<int64_t>(values.size() * 4));
    };
    ZQFP_ASSIGN_OR_RETURN(arrays.ids_, place(ids));
    ZQFP_ASSIGN_OR_RETURN(arrays.counting_, place(counting));
    arrays.most_ = most;
    return arrays;
  }

  int64_t most() const { return most_; }
  float* x() const { return static_cast<float*>(x_.get()); }
  float* z() const { return static_cast<float*>(z_.get()); }
  float* y() const { return static_cast<float*>(y_.get()); }
  uint8_t* codes() const { return static_cast<uint8_t*>(codes_.get()); }
  float* scale() const { return static_cast<float*>(scale_.get()); }
  const float* angle() const {  // cosines, and sines
    return static_cast<const float*>(angle_.get());
  }
  const float* row() const { return static_cast<const float*>(row_.get()); }
  const void* table() const { return table_.get(); }
  // Below vocab_size; 0, 1, 2 ..
  const int32_t* ids() const { return static_cast<const int32_t*>(ids_.get()); }
  const int32_t* counting() const {
    return static_cast<const int32_t*>(counting_.get());
  }

 private:
  int64_t most_ = 0;
  DeviceMemory x_, z_, y_, codes_, scale_, angle_, row_, table_, ids_,
      counting_;
};

// One op with its arguments for m tokens.
struct OpCase {
  std::string name;
  kernels::OpWork work;
  std::function<void(const Exec&, int64_t call)> run;
  int64_t rotation = 1;  // calls that read different weights
  int64_t workspace_bytes = 0;
};

template <typename Args>
OpCase Case(std::string name, void (*op)(const Args&, const Exec&) noexcept,
            const Args& args) {
  return {std::move(name), kernels::Work(args),
          [op, args](const Exec& exec, int64_t) { op(args, exec); }};
}

std::vector<OpCase> RowCases(const GpuBench& bench, const OpArrays& a,
                             int64_t m) {
  const kernels::OpTable& ops = bench.ops();
  const int64_t dim = bench.sizes().model_dim, ffn = bench.sizes().ffn_dim;
  return {
      Case<kernels::RmsNormArgs>("rms_norm", ops.rms_norm,
                                 {.num_rows = m,
                                  .dim = dim,
                                  .epsilon = 1e-5f,
                                  .x = a.x(),
                                  .weight = a.row(),
                                  .y = a.y()}),
      Case<kernels::LayerNormArgs>("layer_norm", ops.layer_norm,
                                   {.num_rows = m,
                                    .dim = dim,
                                    .epsilon = 1e-5f,
                                    .x = a.x(),
                                    .weight = a.row(),
                                    .bias = a.row(),
                                    .y = a.y()}),
      Case<kernels::QuantizeTokensArgs>("quantize_tokens", ops.quantize_tokens,
                                        {.num_tokens = m,
                                         .dim = dim,
                                         .x = a.x(),
                                         .q = a.codes(),
                                         .scale = a.scale()}),
      Case<kernels::QuantizeTokensArgs>("quantize_tokens, ffn",
                                        ops.quantize_tokens,
                                        {.num_tokens = m,
                                         .dim = ffn,
                                         .x = a.x(),
                                         .q = a.codes(),
                                         .scale = a.scale()}),
      Case<kernels::ActivateArgs>(
          "activate silu, ffn", ops.activate,
          {.num_tokens = m, .dim = ffn, .x = a.x(), .up = a.z(), .y = a.y()}),
      Case<kernels::SoftcapArgs>(
          "softcap", ops.softcap,
          {.num_rows = m, .dim = dim, .cap = 30, .x = a.y()}),
      Case<kernels::GatherRowsArgs>("gather_rows", ops.gather_rows,
                                    {.num_rows = m,
                                     .num_x_rows = a.most(),
                                     .dim = dim,
                                     .row = a.counting(),
                                     .x = a.x(),
                                     .y = a.y()})};
}

kernels::RopeArgs RopeOf(const GpuBench& bench, const OpArrays& a, int64_t m,
                         float* x) {
  const int64_t head_dim = bench.sizes().head_dim;
  return {.num_tokens = m,
          .num_heads = bench.sizes().model_dim / head_dim,
          .head_dim = head_dim,
          .rotary_dim = head_dim,
          .cos = a.angle(),
          .sin = a.angle(),
          .x = x};
}

// As many sequences as tokens, all in the pages 0, 1, 2 ..: sequence s stores
// the token in front of position `context_len` + s.
kernels::StoreKvArgs StoreOf(const GpuBench& bench, const OpArrays& a,
                             int64_t m, int64_t context_len = 1) {
  const GpuTableSizes& sizes = bench.sizes();
  const int64_t heads = sizes.model_dim / sizes.head_dim;
  const int64_t longest = context_len + m - 1;
  const int64_t pages = (longest + sizes.page_size - 1) / sizes.page_size;
  return {.batch = {.num_sequences = m,
                    .token_begin = a.counting(),
                    .context_len = a.counting() + context_len,
                    .page_table = a.counting(),
                    .page_table_stride = 0,
                    .num_tokens = m,
                    .most_tokens = 1,
                    .longest_context = longest},
          .k = a.x(),
          .v = a.z(),
          .pages = {.format = ValueFormat::kE4m3,
                    .num_pages = pages,
                    .num_kv_heads = heads,
                    .page_size = sizes.page_size,
                    .head_dim = sizes.head_dim,
                    .k = a.codes(),
                    .v = a.codes() + pages * sizes.page_size * sizes.model_dim,
                    .k_scale = a.scale(),
                    .v_scale = a.scale() + pages * sizes.page_size * heads}};
}

std::vector<OpCase> TokenCases(const GpuBench& bench, const OpArrays& a,
                               int64_t m) {
  const kernels::OpTable& ops = bench.ops();
  const GpuTableSizes& sizes = bench.sizes();
  const int64_t dim = sizes.model_dim;
  return {
      Case<kernels::EmbedArgs>("embed bf16", ops.embed,
                               {.num_tokens = m,
                                .vocab_size = sizes.vocab_size,
                                .model_dim = dim,
                                .id = a.ids(),
                                .table_format = ValueFormat::kBf16,
                                .table = a.table(),
                                .y = a.y()}),
      Case<kernels::AddPositionsArgs>("add_positions bf16", ops.add_positions,
                                      {.num_tokens = m,
                                       .num_positions = a.most(),
                                       .model_dim = dim,
                                       .position = a.counting(),
                                       .table_format = ValueFormat::kBf16,
                                       .table = a.table(),
                                       .x = a.y()}),
      Case<kernels::RopeArgs>("rope", ops.rope, RopeOf(bench, a, m, a.y())),
      Case<kernels::StoreKvArgs>("store_kv e4m3", ops.store_kv,
                                 StoreOf(bench, a, m))};
}

// Those that the backend has.
std::vector<OpCase> FusedCases(const GpuBench& bench, const OpArrays& a,
                               int64_t m) {
  const kernels::FusedOps& fused = bench.ops().fused;
  const int64_t dim = bench.sizes().model_dim, ffn = bench.sizes().ffn_dim;
  std::vector<OpCase> cases;
  if (fused.rms_norm_quantize != nullptr) {
    const kernels::RmsNormArgs norm = {.num_rows = m,
                                       .dim = dim,
                                       .epsilon = 1e-5f,
                                       .x = a.x(),
                                       .weight = a.row(),
                                       .y = a.y()};
    const kernels::QuantizeTokensArgs quantize = {
        .num_tokens = m, .dim = dim, .q = a.codes(), .scale = a.scale()};
    cases.push_back({"rms_norm_quantize", kernels::Work(norm, quantize),
                     [=](const Exec& exec, int64_t) {
                       fused.rms_norm_quantize(norm, quantize, exec);
                     }});
  }
  if (fused.activate_quantize != nullptr) {
    const kernels::ActivateArgs activate = {
        .num_tokens = m, .dim = ffn, .x = a.x(), .up = a.z(), .y = a.y()};
    const kernels::QuantizeTokensArgs quantize = {
        .num_tokens = m, .dim = ffn, .q = a.codes(), .scale = a.scale()};
    cases.push_back({"activate_quantize", kernels::Work(activate, quantize),
                     [=](const Exec& exec, int64_t) {
                       fused.activate_quantize(activate, quantize, exec);
                     }});
  }
  if (fused.rope_store_kv != nullptr) {
    const kernels::RopeArgs queries = RopeOf(bench, a, m, a.y());
    const kernels::RopeArgs keys = RopeOf(bench, a, m, a.x());
    const kernels::StoreKvArgs store = StoreOf(bench, a, m);
    cases.push_back({"rope_store_kv", kernels::Work(queries, keys, store),
                     [=](const Exec& exec, int64_t) {
                       fused.rope_store_kv(queries, keys, store, exec);
                     }});
  }
  return cases;
}

// The norm and the codes of the tokens that qkv reads, in a launch of their own
// or by the blocks of the matmul: both ways, which decides from how many values
// on (kernels/cuda/own_tokens.h).
std::vector<OpCase> InputCases(const GpuBench& bench, const OpArrays& a,
                               const GpuMatrix& qkv, int64_t m) {
  const kernels::FusedOps& fused = bench.ops().fused;
  if (fused.quantize_matmul_a8 == nullptr) return {};
  const int64_t k = qkv.k();
  const kernels::RmsNormArgs norm = {
      .num_rows = m, .dim = k, .epsilon = 1e-5f, .x = a.x(), .weight = a.row()};
  const kernels::QuantizeTokensArgs quantize = {
      .num_tokens = m, .dim = k, .q = a.codes(), .scale = a.scale()};
  const auto matmul = [&a, &qkv, m](int64_t call) {
    return kernels::MatmulA8Args{.m = m,
                                 .x = {a.codes(), a.scale()},
                                 .weight = qkv.packed(call),
                                 .y = a.y()};
  };
  kernels::MatmulA8Args sizes = matmul(0);
  sizes.weight = qkv.view();
  const kernels::OpWork work = kernels::Work(norm, absl::MakeSpan(&sizes, 1));
  const int64_t workspace =
      bench.backend().WorkspaceBytes({.num_tokens = m, .k = k, .n = qkv.n()});
  return {{"rms_norm_quantize, then qkv", work,
           [=](const Exec& exec, int64_t call) {
             fused.rms_norm_quantize(norm, quantize, exec);
             const kernels::MatmulA8Args args = matmul(call);
             fused.matmul_a8_group(&args, 1, exec);
           },
           qkv.packed_copies(), workspace},
          {"qkv with both", work,
           [=](const Exec& exec, int64_t call) {
             const kernels::MatmulA8Args args = matmul(call);
             fused.quantize_matmul_a8(norm, &args, 1, exec);
           },
           qkv.packed_copies(), workspace}};
}

// A step of m tokens, each the last of its context: what RoPE turns is stored
// in a launch of its own or by the blocks of attention, both ways. The
// sequences share their pages, so that values depend on who is first, and times
// do not.
std::vector<OpCase> AttentionCases(const GpuBench& bench, const OpArrays& a,
                                   int64_t m) {
  const kernels::FusedOps& fused = bench.ops().fused;
  if (fused.rope_store_attention == nullptr) return {};
  const auto attend = bench.ops().attention;
  const int64_t longest = bench.sizes().op_context;
  const kernels::RopeArgs queries = RopeOf(bench, a, m, a.y());
  const kernels::RopeArgs keys = RopeOf(bench, a, m, a.x());
  const kernels::StoreKvArgs store = StoreOf(bench, a, m, longest);
  const kernels::AttentionArgs attention = {.batch = store.batch,
                                            .num_heads = queries.num_heads,
                                            .scale = 1,
                                            .q = a.y(),
                                            .pages = store.pages,
                                            .y = a.z()};
  if (!fused.takes_rope_store_attention({}, queries, keys, store, attention)) {
    return {};
  }
  const int64_t dim = bench.sizes().model_dim;
  const int64_t kv = 2 * m * longest * (dim + 4 * queries.num_heads);
  const int64_t bytes = kernels::Work(queries).bytes +
                        kernels::Work(store).bytes + kv + 4 * m * dim;
  const int64_t workspace =
      bench.backend().WorkspaceBytes({.num_tokens = m,
                                      .num_heads = queries.num_heads,
                                      .head_dim = bench.sizes().head_dim});
  return {{"rope_store_kv, then attention",
           {.bytes = bytes},
           [=](const Exec& exec, int64_t) {
             fused.rope_store_kv(queries, keys, store, exec);
             attend(attention, exec);
           },
           1,
           workspace},
          {"attention with both",
           {.bytes = bytes},
           [=](const Exec& exec, int64_t) {
             fused.rope_store_attention({}, queries, keys, store, attention,
                                        exec);
           },
           1,
           workspace}};
}

absl::StatusOr<Row> OpRow(GpuBench& bench, const OpCase& op, int64_t m) {
  ZQFP_ASSIGN_OR_RETURN(const Exec exec, bench.ExecWith(op.workspace_bytes));
  ZQFP_ASSIGN_OR_RETURN(
      const Timing timing,
      bench.Time(op.rotation, [&](int64_t call) { op.run(exec, call); }));
  const auto bytes = static_cast<double>(op.work.bytes);
  const double us = timing.median_us;
  return Row{op.name,
             static_cast<double>(m),
             us,
             timing.min_us,
             timing.p90_us,
             bytes / us / 1e3,
             bench.ceilings().FloorUs(bytes, 0) / us};
}

}  // namespace

void MeasureSmallOps(GpuBench& bench, Deadline deadline, ReportTable* table) {
  const GpuTableSizes& sizes = bench.sizes();
  table->title = fmt::format("small ops, model_dim {}, ffn_dim {}",
                             sizes.model_dim, sizes.ffn_dim);
  table->columns = {{"op", "op"},
                    {"m", "M", 0},
                    {"us", "us", 2},
                    {"min_us", "min", 2},
                    {"p90_us", "p90", 2},
                    {"gb_per_s", "GB/s", 1},
                    {"floor_share", "of floor", 2}};
  // Of qkv's outputs a token has three rows; behind the context come the
  // lengths of the other sequences.
  const int64_t inputs =
      *std::max_element(sizes.input_tokens.begin(), sizes.input_tokens.end());
  const int64_t most = std::max(
      {*std::max_element(sizes.op_tokens.begin(), sizes.op_tokens.end()),
       3 * inputs, sizes.op_context + inputs});
  const absl::StatusOr<OpArrays> arrays = OpArrays::Create(bench, most);
  if (!arrays.ok()) {
    table->failed.push_back(std::string(arrays.status().message()));
    return;
  }
  const absl::StatusOr<GpuMatrix> qkv =
      GpuMatrix::Create(bench, kernels::WeightFormat::kE2m1Shift,
                        3 * sizes.model_dim, sizes.model_dim, sizes.group_size);
  std::vector<RowJob> jobs;
  const auto add = [&](const std::vector<OpCase>& cases, int64_t m) {
    for (const OpCase& op : cases) {
      jobs.push_back({fmt::format("{} M={}", op.name, m),
                      [&bench, op, m] { return OpRow(bench, op, m); }});
    }
  };
  if (!qkv.ok()) {
    table->failed.push_back(std::string(qkv.status().message()));
  }
  for (const int64_t m : sizes.input_tokens) {
    if (qkv.ok()) add(InputCases(bench, *arrays, *qkv, m), m);
    add(AttentionCases(bench, *arrays, m), m);
  }
  for (const int64_t m : sizes.op_tokens) {
    std::vector<OpCase> cases = RowCases(bench, *arrays, m);
    for (OpCase& op : TokenCases(bench, *arrays, m)) {
      cases.push_back(std::move(op));
    }
    for (OpCase& op : FusedCases(bench, *arrays, m)) {
      cases.push_back(std::move(op));
    }
    add(cases, m);
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {
      "from the cache where it fits, as in a model: more than all of the "
      "memory's bandwidth is possible. Nothing takes less than T0's launch in "
      "a graph"};
}

}  // namespace zqfp::tools
