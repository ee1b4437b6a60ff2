// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/rope_row.h"

namespace zqfp::kernels::cuda {
namespace {

// Block (token, some heads): threadIdx.y is the head, threadIdx.x goes over the
// pairs of one head.
template <int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    RotateHeads(int num_heads, int head_dim, int half,
                const float* __restrict__ cos, const float* __restrict__ sin,
                float* __restrict__ x) {
  AwaitInputs();
  const int head = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  if (head >= num_heads) return;
  const int64_t token = blockIdx.x;
  float* row = x + (token * num_heads + head) * head_dim;
  RotateRow<kWidth>(cos + token * half, sin + token * half, half,
                    static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x),
                    row, row);
}

template <int kWidth>
void Run(const RopeArgs& args, const Exec& exec) {
  const int half = static_cast<int>(args.rotary_dim / 2);
  if (half == 0) return;
  const int pairs = (half + kWidth - 1) / kWidth;
  const int across = pairs < kRowThreads ? pairs : kRowThreads;
  const int most_heads = kRowThreads / across;
  const int heads = args.num_heads < most_heads
                        ? static_cast<int>(args.num_heads)
                        : most_heads;
  if (heads == 0) return;
  const int64_t groups = (args.num_heads + heads - 1) / heads;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(args.num_tokens),
                   static_cast<unsigned>(groups)),
      .block =
          dim3(static_cast<unsigned>(across), static_cast<unsigned>(heads))};
  Launch(exec, shape, RotateHeads<kWidth>, args.num_heads, args.head_dim, half,
         args.cos, args.sin, args.x);
}

}  // namespace

void Rope(const RopeArgs& args, const Exec& exec) noexcept {
  const bool wide = args.rotary_dim % 8 == 0 && args.head_dim % 4 == 0 &&
                    IsAligned16(args.cos, args.sin, args.x);
  return wide ? Run<4>(args, exec) : Run<1>(args, exec);
}

}  // namespace zqfp::kernels::cuda
