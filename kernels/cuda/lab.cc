// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/lab.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "kernels/core/status_macros.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/library_gemm.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/matmul_wgmma.h"
#include "kernels/cuda/place_weight.h"
#include "kernels/cuda/random_fill.h"
#include "kernels/cuda/stopwatch.h"
#include "kernels/cuda/unpack_fp8.h"

namespace zqfp::kernels::cuda {
namespace {

class CudaLab final : public DeviceLab {
 public:
  explicit CudaLab(Device* device)
      : device_(*device), exec_({.stream = device->stream()}) {}

  Device& device() override { return device_; }

  absl::StatusOr<Timing> TimeRepeated(
      const TimeLimits& limits,
      const std::function<void(int64_t call)>& enqueue) override {
    return TimeCalls(device_, limits, enqueue);
  }
  std::unique_ptr<StreamMarks> MakeMarks() override {
    return MakeEventMarks(device_);
  }

  void Fill(RandomKind kind, uint64_t seed, float unit, int64_t count,
            void* memory) override {
    RandomFill(kind, seed, unit, count, memory, exec_);
  }

  absl::StatusOr<PlacedWeight> Pack(const WeightView& weight) override {
    PlacedWeight placed;
    placed.view = weight;
    ZQFP_RETURN_IF_ERROR(PackArrays(device_, placed));
    ZQFP_RETURN_IF_ERROR(device_.Synchronize());
    return placed;
  }

  void Copy(const void* from, int64_t num_bytes, void* to) override {
    (void)cudaMemcpyAsync(to, from, static_cast<size_t>(num_bytes),
                          cudaMemcpyDeviceToDevice,
                          static_cast<cudaStream_t>(exec_.stream));
  }
  void Read(ReadBy by, const void* from, int64_t num_bytes,
            void* sums) override {
    if (by == ReadBy::kBulkCopies) {
      BulkReadCeiling(from, num_bytes, sums, exec_);
    } else {
      ReadCeiling(from, num_bytes, sums, exec_);
    }
  }
  void Nothing(LaunchOverlap overlap) override {
    NothingCeiling(overlap, exec_);
  }
  int64_t Multiply(int64_t rounds, void* sink) override {
    return HmmaCeiling(rounds, sink, exec_);
  }
  int64_t MultiplyFp8(int columns, int64_t rounds, void* sink) override {
    return WgmmaCeiling(columns, rounds, sink, exec_);
  }

  int64_t NumAlgorithms(const LibraryGemm& gemm) override {
    return NumLibraryAlgorithms(gemm);
  }
  absl::Status Multiply(const LibraryGemm& gemm, int64_t algorithm,
                        void* workspace) override {
    return RunLibraryGemm(gemm, algorithm, workspace, exec_);
  }

  int64_t PathWorkspaceBytes(int64_t m, int64_t k) override {
    return std::max({MatmulWorkspaceBytes({.num_tokens = m, .k = k}),
                     MatmulFp8WorkspaceBytes(std::max(m, kFp8LeastTokens), k),
                     MatmulA8WgmmaWorkspaceBytes({.num_tokens = m, .k = k})});
  }

  std::string VariantName(MatmulPath path, int variant) override {
    if (path != MatmulPath::kWgmma || variant >= int{std::size(kWgmmaShapes)}) {
      return "";
    }
    const WgmmaShape& shape = kWgmmaShapes[variant];
    return fmt::format("{} x {}", shape.tokens, shape.rows());
  }

  bool MatmulA8On(MatmulPath path, int variant, const MatmulA8Args& args,
                  const Exec& exec) override {
    auto* workspace = static_cast<uint8_t*>(exec.workspace);
    if (path == MatmulPath::kWgmma) return MatmulA8Wgmma(args, variant, exec);
    if (path == MatmulPath::kLibrary) {
      // The rows that it leaves to the other path would count for nothing.
      return args.m % 16 == 0 &&
             MatmulFp8(args, nullptr, workspace, exec, /*least_tokens=*/1) > 0;
    }
    MatmulHmma(args, nullptr, workspace, exec);
    return true;
  }

  bool UnpackFp8(const WeightView& weight, void* to) override {
    if (!FitsFp8Rows(weight.format)) return false;
    cuda::UnpackFp8(DescribePacked(weight, weight.packed), 0, weight.n,
                    weight.k, static_cast<uint8_t*>(to), exec_);
    return true;
  }

  int64_t AttentionSplits(const AttentionArgs& args) override {
    float workspace = 0;  // planned with, not written
    const AttentionPlan decode = PlanDecode(args, &workspace);
    return decode.tiles > 0 ? decode.splits
                            : PlanPrefill(args, &workspace).splits;
  }

 private:
  Device& device_;
  Exec exec_;
};

}  // namespace

absl::StatusOr<DeviceLab*> OpenLab() {
  ZQFP_ASSIGN_OR_RETURN(Device* const device, OpenDevice());
  static CudaLab& lab = *new CudaLab(device);
  return &lab;
}

}  // namespace zqfp::kernels::cuda
