// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/library_gemm.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <array>
#include <map>
#include <vector>

#include "kernels/cuda/cublas_lt.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kMostAlgorithms = 4;
// Of every array, in bytes: what plans are asked for.
constexpr uint32_t kAlignment = 16;

// One shape. cuBLASLt is column-major: the weight is its A, transposed, the
// tokens are its B, and y, seen so, is n x m.
struct Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, y = nullptr;
  std::vector<cublasLtMatmulAlgo_t> algorithms;
};

// All that a plan depends on: m, n, k, stride, formats, sums.
using Shape = std::array<int64_t, 7>;

int64_t StrideOf(const LibraryGemm& gemm) {
  return gemm.stride != 0 ? gemm.stride : gemm.n;
}

Shape ShapeOf(const LibraryGemm& gemm) {
  return {gemm.m,
          gemm.n,
          gemm.k,
          StrideOf(gemm),
          static_cast<int64_t>(gemm.format),
          static_cast<int64_t>(gemm.y_format),
          static_cast<int64_t>(gemm.sums)};
}

cudaDataType_t TypeOf(ValueFormat format) {
  switch (format) {
    case ValueFormat::kE4m3:
      return CUDA_R_8F_E4M3;
    case ValueFormat::kBf16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

template <typename T>
bool Set(const CublasLt& lt, cublasLtMatmulDesc_t operation,
         cublasLtMatmulDescAttributes_t attribute, const T& value) {
  return lt.desc_set(operation, attribute, &value, sizeof(value)) ==
         CUBLAS_STATUS_SUCCESS;
}

bool SetScales(const CublasLt& lt, const LibraryGemm& gemm, const Plan& plan) {
  if (gemm.format != ValueFormat::kE4m3) return true;
  return Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
             gemm.row_scale) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
             gemm.token_scale);
}

bool DescribeOperation(const CublasLt& lt, const LibraryGemm& gemm,
                       Plan& plan) {
  if (lt.desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) !=
          CUBLAS_STATUS_SUCCESS ||
      !Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T) ||
      !Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N)) {
    return false;
  }
  if (gemm.format != ValueFormat::kE4m3) return true;
  const int32_t by_row = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  const int8_t fast = gemm.sums == Fp8Sums::kFast ? 1 : 0;
  return Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, by_row) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, by_row) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
}

bool DescribeMatrices(const CublasLt& lt, const LibraryGemm& gemm, Plan& plan) {
  const auto layout = [&](cublasLtMatrixLayout_t& to, ValueFormat format,
                          int64_t rows, int64_t columns, int64_t leading) {
    return lt.layout_create(&to, TypeOf(format), static_cast<uint64_t>(rows),
                            static_cast<uint64_t>(columns),
                            leading) == CUBLAS_STATUS_SUCCESS;
  };
  return layout(plan.weight, gemm.format, gemm.k, gemm.n, gemm.k) &&
         layout(plan.x, gemm.format, gemm.k, gemm.m, gemm.k) &&
         layout(plan.y, gemm.y_format, gemm.n, gemm.m, StrideOf(gemm));
}

bool Choose(const CublasLt& lt, cublasLtHandle_t handle, Plan& plan) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (lt.preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return false;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute,
                       const auto& value) {
    return lt.preference_set(preference, attribute, &value, sizeof(value)) ==
           CUBLAS_STATUS_SUCCESS;
  };
  const auto bytes = static_cast<uint64_t>(kLibraryWorkspaceBytes);
  cublasLtMatmulHeuristicResult_t results[kMostAlgorithms] = {};
  int num_results = 0;
  const bool found =
      set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kAlignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kAlignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kAlignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kAlignment) &&
      lt.get_heuristic(handle, plan.operation, plan.weight, plan.x, plan.y,
                       plan.y, preference, kMostAlgorithms, results,
                       &num_results) == CUBLAS_STATUS_SUCCESS;
  (void)lt.preference_destroy(preference);
  for (int i = 0; found && i < num_results; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) {
      plan.algorithms.push_back(results[i].algo);
    }
  }
  return found;
}

bool IsAligned(const LibraryGemm& gemm) {
  const void* const arrays[] = {gemm.weight,   gemm.x,           gemm.row_scale,
                                gemm.residual, gemm.token_scale, gemm.y};
  for (const void* array : arrays) {
    if (reinterpret_cast<uintptr_t>(array) % kAlignment != 0) return false;
  }
  return true;
}

// The handle and the plans of the process. Ops come from one thread at a time.
struct Library {
  const CublasLt* lt = LoadCublasLt();
  cublasLtHandle_t handle = nullptr;
  std::map<Shape, Plan> plans;

  Library() {
    if (lt != nullptr && lt->create(&handle) != CUBLAS_STATUS_SUCCESS) {
      lt = nullptr;
    }
  }

  // The scales have to be there before an algorithm is asked for.
  Plan& PlanOf(const LibraryGemm& gemm) {
    const auto [entry, is_new] = plans.try_emplace(ShapeOf(gemm));
    Plan& plan = entry->second;
    if (is_new && lt != nullptr && DescribeOperation(*lt, gemm, plan) &&
        DescribeMatrices(*lt, gemm, plan) && SetScales(*lt, gemm, plan)) {
      (void)Choose(*lt, handle, plan);
    }
    return plan;
  }
};

Library& TheLibrary() {
  static Library& library = *new Library;
  return library;
}

}  // namespace

int64_t NumLibraryAlgorithms(const LibraryGemm& gemm) {
  if (!IsAligned(gemm)) return 0;
  return static_cast<int64_t>(TheLibrary().PlanOf(gemm).algorithms.size());
}

absl::Status RunLibraryGemm(const LibraryGemm& gemm, int64_t algorithm,
                            void* workspace, const Exec& exec) {
  Library& library = TheLibrary();
  const Plan& plan = library.PlanOf(gemm);
  const auto found = static_cast<int64_t>(plan.algorithms.size());
  if (algorithm >= found) {
    return absl::InternalError(
        fmt::format("cuBLASLt: m {} n {} k {}: want algorithm {}, found {}",
                    gemm.m, gemm.n, gemm.k, algorithm, found));
  }
  const CublasLt& lt = *library.lt;
  const bool adds = gemm.residual != nullptr;
  const float beta = adds ? 1.0f : 0.0f;
  const void* added = adds ? gemm.residual : gemm.y;
  cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
  if (SetScales(lt, gemm, plan)) {
    status = lt.matmul(library.handle, plan.operation, &gemm.unit, gemm.weight,
                       plan.weight, gemm.x, plan.x, &beta, added, plan.y,
                       gemm.y, plan.y, &plan.algorithms[algorithm], workspace,
                       static_cast<size_t>(kLibraryWorkspaceBytes),
                       static_cast<cudaStream_t>(exec.stream));
  }
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("cuBLASLt: m {} n {} k {}: want success, found status {}",
                  gemm.m, gemm.n, gemm.k, static_cast<int>(status)));
}

void DropLibraryAlgorithms(const LibraryGemm& gemm) {
  TheLibrary().PlanOf(gemm).algorithms.clear();
}

}  // namespace zqfp::kernels::cuda
