// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_OPS_H_
#define ZQFP_KERNELS_CORE_OPS_H_

// The only door to the kernels: one card, one argument struct and one slot of
// OpTable per operation.
//
// The name of an op is the basename of every file that concerns it:
// kernels/reference/rms_norm.cc, tests/kernels/rms_norm_test.cc. Arguments are
// plain data; a backend may assume that Validate (validate.h) would pass.
// Outputs do not overlap inputs unless the card says so. Only C headers here.

#include <stdint.h>

#include "kernels/core/views.h"

namespace zqfp::kernels {

// A body of a parallel loop: handles [begin, end); `thread` is 0..num_threads-1
// and no two bodies with the same `thread` run at the same time.
using LoopBody = void (*)(void* context, int64_t begin, int64_t end,
                          int thread);

// How an op runs on several threads: run() splits [0, count) in some contiguous
// pieces a thread, multiples of `grain` but for the last, and returns when all
// are done. The same count gives the same pieces every time; who runs which is
// a matter of who has time.
struct Parallel {
  int num_threads = 1;
  void* pool = nullptr;
  void (*run)(void* pool, int64_t count, int64_t grain, LoopBody body,
              void* context) = nullptr;
};

// What an op may use while it runs. No op allocates.
struct Exec {
  Parallel parallel;
  // 64-byte aligned, a device's 256-byte; >= OpTable::workspace_bytes
  void* workspace = nullptr;
  void* stream = nullptr;  // Device::stream(), where the ops have a device
};

// Upper limits of what a plan will ask; see OpTable::workspace_bytes.
struct WorkspaceQuery {
  int64_t num_tokens = 0;  // most rows of one step
  int64_t k = 0;           // largest k of a matmul
  int64_t n = 0;           // largest n of a matmul
  int64_t lorc_rank = 0;   // largest rank of a low-rank branch
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  int num_threads = 1;
};

// Embed: y[t] = scale * table[id[t]]
//   shapes   id [num_tokens]; table [vocab_size, model_dim]; y [num_tokens,
//            model_dim]
//   dtypes   table f32|bf16|f16; y f32
//   numerics one f32 product: the same bits on every backend
//   checks   Validate: 0 <= id < vocab_size
struct EmbedArgs {
  int64_t num_tokens = 0;
  int64_t vocab_size = 0;
  int64_t model_dim = 0;
  float scale = 1;
  const int32_t* id = nullptr;
  ValueFormat table_format = ValueFormat::kF32;
  const void* table = nullptr;
  float* y = nullptr;
};

// GatherRows: y[i] = x[row[i]]
//   shapes   row [num_rows]; x [num_x_rows, dim]; y [num_rows, dim]
//   dtypes   f32
//   checks   Validate: 0 <= row < num_x_rows
struct GatherRowsArgs {
  int64_t num_rows = 0;
  int64_t num_x_rows = 0;
  int64_t dim = 0;
  const int32_t* row = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
};

// AddPositions: x[t] += table[position[t]], learned position embeddings
//   shapes   position [num_tokens]; table [num_positions, model_dim];
//            x [num_tokens, model_dim]
//   dtypes   table f32|bf16|f16; x f32
//   numerics one f32 sum: the same bits on every backend
//   checks   Validate: 0 <= position < num_positions
struct AddPositionsArgs {
  int64_t num_tokens = 0;
  int64_t num_positions = 0;
  int64_t model_dim = 0;
  const int32_t* position = nullptr;
  ValueFormat table_format = ValueFormat::kF32;
  const void* table = nullptr;
  float* x = nullptr;
};

// RmsNorm: y = x / sqrt(mean(x^2) + epsilon) * weight + residual
//                                                            [arXiv:1910.07467]
//   shapes   x, residual, y [num_rows, dim]; weight [dim]
//   dtypes   f32
//   numerics sum in f32 or wider
//   memory   y may be x or residual; residual may be null
//   note     num_rows = num_tokens * num_heads for Qwen3's q/k norm
struct RmsNormArgs {
  int64_t num_rows = 0;
  int64_t dim = 0;
  float epsilon = 0;
  const float* x = nullptr;
  const float* weight = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;
};

// LayerNorm: y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias
//                                                            [arXiv:1607.06450]
//   shapes   x, y [num_rows, dim]; weight, bias [dim]
//   dtypes   f32
//   numerics variance = mean((x - mean(x))^2), in a second pass; sums in f32 or
//            wider
//   memory   y may be x
struct LayerNormArgs {
  int64_t num_rows = 0;
  int64_t dim = 0;
  float epsilon = 0;
  const float* x = nullptr;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
};

// QuantizeTokens: s = max|x| / 448, q = e4m3(x / s)     [arXiv:2307.09782, 3.2]
//   shapes   x, q [num_tokens, dim]; scale [num_tokens]
//   dtypes   x f32; q e4m3; scale f32
//   numerics a division, round to nearest even, saturating: the same bits on
//            every backend. A zero row has scale 1. A row with a NaN or an
//            infinity has scale NaN, so that it surfaces in the logits.
struct QuantizeTokensArgs {
  int64_t num_tokens = 0;
  int64_t dim = 0;
  const float* x = nullptr;
  uint8_t* q = nullptr;
  float* scale = nullptr;
};

// Matmul: y = x W^T + (x V^T) U^T + bias + residual, weights of any format
//   shapes   x [m, k]; W [n, k]; bias [n] or null; residual, y [m, n]; U, V of
//            LorcView, where W has them
//   dtypes   x, bias, residual, y f32; W of any WeightFormat
//   numerics products and sums in f32 or wider, any order
//   memory   y may be residual; residual may be null
struct MatmulArgs {
  int64_t m = 0;
  const float* x = nullptr;
  WeightView weight;
  const float* bias = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;
};

// MatmulA8: Matmul of tokens in e4m3, x = s_x[t] * q[t]: W4A8 and W8A8
//   y[t,n] = s_x[t] * S_row[n] * sum_g 2^-shift[n,g] sum_{k in g} q[t,k] c[n,k]
//            + low-rank branch + bias + residual       [arXiv:2307.09782, 3.3]
//   shapes   as Matmul
//   dtypes   x e4m3 with one scale per token; W e2m1 | e4m3, with the scales of
//            any WeightFormat; bias, residual, y f32
//   numerics every product is exact; sums in f32 or wider, any order; a
//            residual or bias is added after the scales
//   memory   y may be residual
struct MatmulA8Args {
  int64_t m = 0;
  QuantizedTokensView x;
  WeightView weight;
  const float* bias = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;
};

// Rope: rotates pairs (x[i], x[i + rotary_dim/2]) of every head by the angle of
// the token's position                                      [arXiv:2104.09864]
//   x'[i]     = x[i] cos - x[i + r/2] sin
//   x'[i+r/2] = x[i + r/2] cos + x[i] sin         i < r/2, r = rotary_dim
//   shapes   x [num_tokens, num_heads, head_dim] in place; cos, sin
//            [num_tokens, rotary_dim / 2]; dims >= rotary_dim stay
//   dtypes   f32
struct RopeArgs {
  int64_t num_tokens = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;
  const float* cos = nullptr;
  const float* sin = nullptr;
  float* x = nullptr;
};

// StoreKv: writes this step's keys and values to their pages
//   shapes   k, v [num_tokens, num_kv_heads, head_dim]
//   dtypes   k, v f32; pages f32|bf16|e4m3
//   numerics bf16 to nearest even; e4m3 as QuantizeTokens, one scale per
//            (token, head)
struct StoreKvArgs {
  RaggedBatchView batch;
  const float* k = nullptr;
  const float* v = nullptr;
  KvPagesView pages;
};

// Attention: y = softmax(cap(scale * q K^T), causal, window) V
//                                                            [arXiv:2309.06180]
//   shapes   q, y [num_tokens, num_heads, head_dim]; query head h reads KV head
//            h / (num_heads / num_kv_heads)
//   dtypes   q, y f32; pages f32|bf16|e4m3
//   numerics scores, maximum and sums in f32 or wider; q and the weights of the
//            values may be the sum of two bf16, off by 2^-18, or of two f16,
//            off by 2^-22 (q: of the largest in its row)
//   window   0: all earlier tokens; w: the last w tokens, the own one included
//   cap      cap(s) = softcap * tanh(s / softcap), as Softcap; softcap 0: s
struct AttentionArgs {
  RaggedBatchView batch;
  int64_t num_heads = 0;
  float scale = 0;
  float softcap = 0;
  int64_t window = 0;
  const float* q = nullptr;
  KvPagesView pages;
  float* y = nullptr;
};

// What Activate applies.
enum class Activation : uint8_t {
  kSilu,      // x sigmoid(x)                                 [arXiv:1702.03118]
  kRelu,      // max(x, 0)
  kGeluTanh,  // x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
              //                                              [arXiv:1606.08415]
};

// Activate: y = f(x) * up; without up, y = f(x)              [arXiv:2002.05202]
//   shapes   x, up, y [num_tokens, dim];  dtypes f32
//   numerics exp to 2 ulp; (1 + tanh(u)) / 2 is sigmoid(2 u). A NaN stays one.
//   memory   y may be x; up may be null
struct ActivateArgs {
  int64_t num_tokens = 0;
  int64_t dim = 0;
  Activation activation = Activation::kSilu;
  const float* x = nullptr;
  const float* up = nullptr;
  float* y = nullptr;
};

// Softcap: x = cap * tanh(x / cap), in place                 [arXiv:2408.00118]
//   shapes   x [num_rows, dim];  dtypes f32
//   numerics off by at most 9 * 2^-24 * cap. A NaN stays one.
struct SoftcapArgs {
  int64_t num_rows = 0;
  int64_t dim = 0;
  float cap = 0;
  float* x = nullptr;
};

// Entries of a row that TopLogits finds, and rows that it takes at most.
inline constexpr int kTopLogits = 64;
inline constexpr int64_t kMostTopLogitRows = 256;

// How far TopLogitsArgs::mass may be from the sum, of it.
inline constexpr double kTopMassError = 0x1p-15;

// TopLogits: the kTopLogits largest entries of every row, largest first, of
// equal ones that with the smaller index first; and what all entries weigh
//   mass[r] = sum_i exp((x[r, i] - max_j x[r, j]) / temperature[r])
//   shapes   x [num_rows, dim]; id, logit [num_rows, kTopLogits]; temperature,
//            mass [num_rows]
//   dtypes   x, logit, temperature, mass f32; id int32
//   numerics the entries are exact; -0 equals 0. NaN and +infinity come before
//            all others, in the order of their indices, and leave no mass to
//            rely on. Short rows end with -1, -infinity. The mass is off by
//            kTopMassError of it at most; 0 where the temperature is 0.
//   note     of devices only, from which a sampler need not fetch all logits
struct TopLogitsArgs {
  int64_t num_rows = 0;
  int64_t dim = 0;
  const float* x = nullptr;
  const float* temperature = nullptr;
  int32_t* id = nullptr;
  float* logit = nullptr;
  float* mass = nullptr;
};

// The norms of FusedOps::rope_store_attention.
struct HeadNorms {
  const float* q_weight = nullptr;  // [head_dim], or null: none
  const float* k_weight = nullptr;  // [head_dim], or null: none
  float epsilon = 0;
};

// Most weights of FusedOps::matmul_a8_group.
inline constexpr int kMostGroupedMatmuls = 3;

// Ops that follow one another in every step, in one launch: of few tokens a
// step is as slow as it has launches. A null slot: the plain ops one after the
// other are as fast. Never mixed with the ops of another table.
struct FusedOps {
  // RmsNorm, then QuantizeTokens of what would be its y; `quantize.x` is not
  // read. The same bits as from the two (of codes at a multiple of 4 bytes).
  void (*rms_norm_quantize)(const RmsNormArgs& norm,
                            const QuantizeTokensArgs& quantize,
                            const Exec&) noexcept = nullptr;
  // Activate, then QuantizeTokens of what would be its y, in the same way.
  void (*activate_quantize)(const ActivateArgs& activate,
                            const QuantizeTokensArgs& quantize,
                            const Exec&) noexcept = nullptr;
  // Rope of the queries and of the keys, in place, then StoreKv of the keys.
  // The same bits.
  void (*rope_store_kv)(const RopeArgs& queries, const RopeArgs& keys,
                        const StoreKvArgs& store,
                        const Exec&) noexcept = nullptr;
  // RmsNorm of every head of the queries and keys where there are norms,
  // rope_store_kv, then Attention of that batch and those pages. The same bits,
  // where no sequence reads what another one stores in this step; but the
  // queries and keys may stay as they are.
  void (*rope_store_attention)(const HeadNorms& norms, const RopeArgs& queries,
                               const RopeArgs& keys, const StoreKvArgs& store,
                               const AttentionArgs& attention,
                               const Exec&) noexcept = nullptr;
  // Whether that takes these, which it does where it is faster.
  bool (*takes_rope_store_attention)(
      const HeadNorms& norms, const RopeArgs& queries, const RopeArgs& keys,
      const StoreKvArgs& store,
      const AttentionArgs& attention) noexcept = nullptr;
  // MatmulA8 of `size` weights, at most kMostGroupedMatmuls, that read the same
  // tokens; their outputs do not overlap. Sums may be in another order.
  void (*matmul_a8_group)(const MatmulA8Args* group, int size,
                          const Exec&) noexcept = nullptr;
  // RmsNorm of input.x where it has a weight, QuantizeTokens of that (or of
  // input.x), then matmul_a8_group of the codes, which nobody else gets: `y` of
  // `input` and `x` of the group are not read. The same codes; sums may be in
  // another order. Outputs do not overlap input.x.
  void (*quantize_matmul_a8)(const RmsNormArgs& input,
                             const MatmulA8Args* group, int size,
                             const Exec&) noexcept = nullptr;
  // Whether that takes these, which it does where it is faster.
  bool (*takes_quantize_matmul_a8)(const RmsNormArgs& input,
                                   const MatmulA8Args* group,
                                   int size) noexcept = nullptr;
};

// One backend: a null slot falls to the next table down (backend.h).
struct OpTable {
  const char* name;  // "reference", "avx2", ...
  void (*embed)(const EmbedArgs&, const Exec&) noexcept;
  void (*gather_rows)(const GatherRowsArgs&, const Exec&) noexcept;
  void (*add_positions)(const AddPositionsArgs&, const Exec&) noexcept;
  void (*rms_norm)(const RmsNormArgs&, const Exec&) noexcept;
  void (*layer_norm)(const LayerNormArgs&, const Exec&) noexcept;
  void (*quantize_tokens)(const QuantizeTokensArgs&, const Exec&) noexcept;
  void (*matmul)(const MatmulArgs&, const Exec&) noexcept;
  void (*matmul_a8)(const MatmulA8Args&, const Exec&) noexcept;
  void (*rope)(const RopeArgs&, const Exec&) noexcept;
  void (*store_kv)(const StoreKvArgs&, const Exec&) noexcept;
  void (*attention)(const AttentionArgs&, const Exec&) noexcept;
  void (*activate)(const ActivateArgs&, const Exec&) noexcept;
  void (*softcap)(const SoftcapArgs&, const Exec&) noexcept;
  // Bytes of Exec::workspace that any op of this table needs for a plan within
  // these limits. Null: none.
  int64_t (*workspace_bytes)(const WorkspaceQuery&) noexcept;
  // No op, but its measure: multiplies and adds `rounds` times from registers
  // alone, as matmul_a8 does for many tokens, and returns the flops of that.
  // Null: the table has no such loop.
  int64_t (*multiply)(int64_t rounds) noexcept;
  // Null: the logits are in the host's memory.
  void (*top_logits)(const TopLogitsArgs&, const Exec&) noexcept = nullptr;
  FusedOps fused = {};
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_OPS_H_
