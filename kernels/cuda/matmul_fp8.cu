// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/library_gemm.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/matmul_output.h"
#include "kernels/cuda/unpack_fp8.h"

namespace zqfp::kernels::cuda {
namespace {

// Of e4m3 weights at a time: a third of the 50 to 60 MB of L2.
constexpr int64_t kScratchBytes = int64_t{16} << 20;
constexpr int kThreads = 256;

// Rows of the weight that are unpacked at a time, a multiple of 16: pieces of
// one size but for the last.
int64_t PieceRows(int64_t n, int64_t k) {
  const int64_t most = kScratchBytes / k / kSlabRows * kSlabRows;
  const int64_t rows = most < kSlabRows ? int64_t{kSlabRows} : most;
  const int64_t pieces = (n + rows - 1) / rows;
  const int64_t even = (n + pieces - 1) / pieces;
  return (even + kSlabRows - 1) / kSlabRows * kSlabRows;
}

int64_t ScratchBytes(int64_t k) {
  return kScratchBytes > kSlabRows * k ? kScratchBytes : kSlabRows * k;
}

// What cuBLASLt does not add: the low-rank branch and the bias.
__global__ void __launch_bounds__(kThreads)
    AddBranchKernel(const __grid_constant__ MatmulOutput output) {
  AwaitInputs();
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= output.m * output.n) return;
  StoreOutput(output, at / output.n, at % output.n, 0.0f);
}

void AddBranch(const MatmulA8Args& args, int64_t m, const float* inner,
               const Exec& exec) {
  if (args.weight.lorc.rank == 0 && args.bias == nullptr) return;
  const int64_t count = m * args.weight.n;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  const MatmulOutput output = {.m = m,
                               .n = args.weight.n,
                               .token_scale = args.x.scale,
                               .lorc = args.weight.lorc,
                               .inner = inner,
                               .bias = args.bias,
                               .residual = args.y,
                               .y = args.y};
  Launch(exec, {.grid = dim3(blocks), .block = dim3(kThreads)}, AddBranchKernel,
         output);
}

}  // namespace

int64_t MatmulFp8(const MatmulA8Args& args, const float* inner,
                  uint8_t* workspace, const Exec& exec, int64_t least_tokens) {
  const WeightView& weight = args.weight;
  const int64_t m = args.m / kFp8Multiple * kFp8Multiple;
  if (!FitsMatmulFp8(weight) || args.m < least_tokens || m == 0) return 0;
  const PackedWeight w = DescribePacked(weight, weight.packed);
  const bool is_kept = weight.fp8_rows != nullptr;  // as e4m3, the whole of it
  const int64_t n = weight.n;
  const int64_t rows = is_kept ? n : PieceRows(n, weight.k);
  const auto piece = [&](int64_t first) {
    const float* residual =
        args.residual == nullptr ? nullptr : args.residual + first;
    return LibraryGemm{.m = m,
                       .n = rows < n - first ? rows : n - first,
                       .k = weight.k,
                       .format = ValueFormat::kE4m3,
                       .y_format = ValueFormat::kF32,
                       .sums = weight.fp8_sums,
                       .weight = is_kept ? weight.fp8_rows : workspace,
                       .row_scale = w.row_scale + first,
                       .x = args.x.data,
                       .token_scale = args.x.scale,
                       .unit = Fp8Unit(weight.format),
                       .residual = residual,
                       .y = args.y + first,
                       .stride = n};
  };
  const int64_t last = (n - 1) / rows * rows;
  if (NumLibraryAlgorithms(piece(0)) == 0 ||
      NumLibraryAlgorithms(piece(last)) == 0) {
    return 0;
  }
  for (int64_t first = 0; first < n; first += rows) {
    const LibraryGemm gemm = piece(first);
    if (!is_kept) UnpackFp8(w, first, gemm.n, weight.k, workspace, exec);
    const absl::Status done =
        RunLibraryGemm(gemm, 0, workspace + ScratchBytes(weight.k), exec);
    if (done.ok()) continue;
    // It had said that it could. Nothing is written yet: the other way is open.
    ZQFP_CHECK(first == 0);
    DropLibraryAlgorithms(gemm);
    return 0;
  }
  AddBranch(args, m, inner, exec);
  return m;
}

int64_t MatmulFp8WorkspaceBytes(int64_t num_tokens, int64_t k) {
  if (num_tokens < kFp8LeastTokens) return 0;
  return ScratchBytes(k) + kLibraryWorkspaceBytes;
}

}  // namespace zqfp::kernels::cuda
