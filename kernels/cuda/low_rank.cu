// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/quads.h"
#include "kernels/cuda/row_reduction.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

// One block: one token and one rank.
template <ValueFormat kTokens, ValueFormat kFactor>
__global__ void LowRankInnerKernel(LowRankInnerArgs args, const void* x,
                                   bool whole) {
  AwaitInputs();
  const int64_t rank = args.lorc.rank;
  const int64_t token = blockIdx.x / rank;
  const int64_t r = blockIdx.x % rank;
  float sum = 0;
#pragma unroll 4
  for (int64_t k = threadIdx.x * 4; k < args.k; k += kThreads * 4) {
    const float4 v = ReadQuad<kFactor>(args.lorc.v, r, args.k, k, whole);
    const float4 t = ReadQuad<kTokens>(x, token, args.k, k, whole);
    sum = AddDot(v, t, sum);
  }
  __shared__ float sums[kWarps];
  sum = ReduceWarp<Sum>(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kWarps; ++warp) sum += sums[warp];
  if (kFactor == ValueFormat::kE4m3) sum *= args.lorc.v_scale[r];
  args.inner[token * rank + r] = sum;
}

template <ValueFormat kTokens>
void LaunchInner(const LowRankInnerArgs& args, const void* x,
                 const Exec& exec) {
  const LorcView& lorc = args.lorc;
  const bool whole = HasWholeQuads(kTokens, x, args.k) &&
                     HasWholeQuads(lorc.format, lorc.v, args.k);
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(args.m * lorc.rank)),
      .block = dim3(kThreads)};
  if (lorc.format == ValueFormat::kE4m3) {
    Launch(exec, shape, LowRankInnerKernel<kTokens, ValueFormat::kE4m3>, args,
           x, whole);
  } else {
    Launch(exec, shape, LowRankInnerKernel<kTokens, ValueFormat::kBf16>, args,
           x, whole);
  }
}

}  // namespace

void LowRankInner(const LowRankInnerArgs& args, const Exec& exec) {
  if (args.x != nullptr) {
    LaunchInner<ValueFormat::kF32>(args, args.x, exec);
  } else {
    LaunchInner<ValueFormat::kE4m3>(args, args.codes, exec);
  }
}

}  // namespace zqfp::kernels::cuda
