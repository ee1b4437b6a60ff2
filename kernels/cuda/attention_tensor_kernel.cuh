// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_KERNEL_CUH_
#define ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_KERNEL_CUH_

// The prefill kernel on the tensor cores, and which of its shapes a plan takes.
// One source per format instantiates it.

#include "kernels/cuda/attention_tensor.cuh"

namespace zqfp::kernels::cuda {

// Block (tile, split). While a tile of keys is attended to, the next one is
// being copied, and where the one after that lies is being looked up.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    AttentionTensor(const AttentionPlan plan) {
  AwaitInputs();
  const TensorShared<Shape> shared(DynamicShared());
  const KvPagesView& pages = plan.args.pages;
  const QueryTile tile = FindTile(plan, blockIdx.x);
  const auto [begin, end] = KeysOfBlock(plan, tile);
  if (end <= begin) return;  // the whole block
  // The same in all lanes, of which the shuffle tells the compiler.
  const int warp =
      __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x / 32), 0);
  const WarpKeys seen = KeysOfWarp(plan, tile, warp);
  const bool locates = threadIdx.x < Shape::kTileKeys;
  for (int slot = 0; slot < 2 && locates; ++slot) {
    shared.row[slot * Shape::kTileKeys + threadIdx.x] =
        KeyRow(plan, tile, KeyOfThread(begin + slot * Shape::kTileKeys, end));
  }
  if (threadIdx.x == 0) *shared.tile = tile;
  ClearPadding<Shape>(shared, static_cast<int>(pages.head_dim));
  __syncthreads();
  StartCopies<Shape>(pages, shared, 0);
  TensorState<Shape> state;
  LoadQueries<Shape>(plan, tile, shared, state);

  int slot = 0;
#pragma unroll 1
  for (int32_t first = begin; first < end; first += Shape::kTileKeys) {
    CopyAsyncWait<0>();
    __syncthreads();  // the tile is there, and all are done with the last one
    if constexpr (Shape::kScaled) {
      WidenTile<Shape>(shared);
      __syncthreads();
    }
    const int32_t next = first + Shape::kTileKeys;
    if (next < end) StartCopies<Shape>(pages, shared, slot ^ 1);
    const int32_t located = next + Shape::kTileKeys;
    const int32_t page =
        locates ? PageOf(plan, *shared.tile, KeyOfThread(located, end)) : 0;
    if (first < seen.end && next > seen.begin) {
      AttendTile<Shape>(plan, seen, first, next < end ? next : end, slot,
                        shared, state);
    }
    if (locates) {
      shared.row[slot * Shape::kTileKeys + threadIdx.x] =
          RowInPage(plan, *shared.tile, page, KeyOfThread(located, end));
    }
    slot ^= 1;
  }
  StoreResults<Shape>(plan, *shared.tile, state);
}

template <ValueFormat kFormat, int kDims>
void LaunchTensorShape(const AttentionPlan& plan, const Exec& exec) {
  using Shape = TensorShape<kFormat, kDims>;
  Launch(exec,
         {.grid = dim3(static_cast<unsigned>(plan.blocks()),
                       static_cast<unsigned>(plan.splits)),
          .block = dim3(Shape::kThreads),
          .shared_bytes = Shape::kSharedBytes},
         AttentionTensor<Shape>, plan);
}

template <ValueFormat kFormat>
void LaunchTensorOf(const AttentionPlan& plan, const Exec& exec) {
  const int64_t dim = plan.args.pages.head_dim;
  if (dim <= 64) {
    LaunchTensorShape<kFormat, 64>(plan, exec);
  } else if (dim <= 80) {
    LaunchTensorShape<kFormat, 80>(plan, exec);
  } else if (dim <= 96) {
    LaunchTensorShape<kFormat, 96>(plan, exec);
  } else if (dim <= 128) {
    LaunchTensorShape<kFormat, 128>(plan, exec);
  } else {
    LaunchTensorShape<kFormat, 256>(plan, exec);
  }
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_ATTENTION_TENSOR_KERNEL_CUH_
