// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_NEW_TOKENS_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_NEW_TOKENS_CUH_

// What a decode block does where its sequence has one new token, in front of
// the rest and instead of launches: it norms and rotates its queries, and if
// that token's key is one of its own, it stores that and the value.
//
// Blocks of other heads or keys read neither. Where a KV head has several tiles
// of queries, each one's last block stores the same bytes.

#include "kernels/cuda/attention_decode.cuh"
#include "kernels/cuda/rms_norm_row.h"
#include "kernels/cuda/rope_row.h"
#include "kernels/cuda/store_kv_row.h"

namespace zqfp::kernels::cuda {

template <typename Shape>
struct NewRows {
  __align__(16) float query[Shape::kQueries][Shape::kStride];
  __align__(16) float key[Shape::kStride];
};

// One row of a token, to `to`: its norm where there is a weight, rotated. A
// warp. RmsNorm has a warp for a row, too.
__device__ __forceinline__ void TakeNewRow(const AttentionPlan& plan,
                                           int64_t token, const float* row,
                                           const float* norm_weight,
                                           float* to) {
  const NewTokens& tokens = plan.new_tokens;
  const int64_t dim = plan.args.pages.head_dim;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (norm_weight != nullptr) {
    const RmsNormRow<4, RowTeam<true>> normed(row, norm_weight, dim,
                                              tokens.norms.epsilon);
    for (int64_t i = lane * 4; i < dim; i += 32 * 4) {
      StoreFloats<4>(to + i, normed(i));
    }
    __syncwarp();  // a lane reads what others have normed
    row = to;
  }
  const int64_t angles = token * tokens.half;
  RotateRow<4>(tokens.cos + angles, tokens.sin + angles, tokens.half, lane, 32,
               row, to);
  for (int64_t i = 2 * tokens.half + lane * 4; i < dim; i += 32 * 4) {
    StoreFloats<4>(to + i, LoadFloats<4>(row + i));
  }
}

// The whole block, of which this is warp `warp`; `stores` where the newest key
// is one of the block's. Afterwards all of its threads see the rows and what is
// stored.
template <typename Shape>
__device__ __forceinline__ void TakeNewToken(const AttentionPlan& plan,
                                             const QueryTile& tile, bool stores,
                                             int warp, NewRows<Shape>& rows) {
  const KvPagesView& pages = plan.args.pages;
  const int64_t dim = pages.head_dim, token = tile.first_row;
  const int64_t kv_row = (token * pages.num_kv_heads + tile.kv_head) * dim;
  const int num_rows = tile.num_queries + (stores ? 2 : 0);
#pragma unroll 1
  for (int i = warp; i < num_rows; i += kDecodeWarps) {
    if (i < tile.num_queries) {
      TakeNewRow(plan, token, plan.args.q + QueryRow(plan, tile, i) * dim,
                 plan.new_tokens.norms.q_weight, rows.query[i]);
      continue;
    }
    const bool is_value = i > tile.num_queries;
    const float* row = plan.new_tokens.v + kv_row;
    if (!is_value) {
      TakeNewRow(plan, token, plan.new_tokens.k + kv_row,
                 plan.new_tokens.norms.k_weight, rows.key);
      __syncwarp();  // a lane reads what others have rotated
      row = rows.key;
    }
    StoreInRow<Shape::kFormat, 4>(pages, is_value,
                                  KeyRow(plan, tile, tile.end_key - 1), row);
  }
  __syncthreads();
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_NEW_TOKENS_CUH_
