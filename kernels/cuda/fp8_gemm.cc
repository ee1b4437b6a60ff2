// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/fp8_gemm.h"

#include <cuda_runtime.h>

#include <array>
#include <map>

#include "kernels/core/check.h"
#include "kernels/cuda/cublas_lt.h"

namespace zqfp::kernels::cuda {
namespace {

// One shape, and what cuBLASLt knows of it. cuBLASLt is column-major: the
// weight is its A, transposed, the tokens are its B, and y, seen so, is n x m.
struct Plan {
  bool usable = false;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
};

using Shape = std::array<int64_t, 4>;  // m, n, k, stride

template <typename T>
bool Set(const CublasLt& lt, cublasLtMatmulDesc_t operation,
         cublasLtMatmulDescAttributes_t attribute, const T& value) {
  return lt.desc_set(operation, attribute, &value, sizeof(value)) ==
         CUBLAS_STATUS_SUCCESS;
}

bool Describe(const CublasLt& lt, const Shape& shape, Plan& plan) {
  const auto [m, n, k, stride] = shape;
  const auto layout = [&](cublasLtMatrixLayout_t& to, cudaDataType_t type,
                          int64_t rows, int64_t columns, int64_t leading) {
    return lt.layout_create(&to, type, static_cast<uint64_t>(rows),
                            static_cast<uint64_t>(columns),
                            leading) == CUBLAS_STATUS_SUCCESS;
  };
  if (lt.desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) !=
      CUBLAS_STATUS_SUCCESS) {
    return false;
  }
  const int32_t by_row = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  // Partial sums are promoted to f32 as they grow.
  const int8_t fast_accumulation = 0;
  return Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, by_row) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, by_row) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM,
             fast_accumulation) &&
         layout(plan.weight, CUDA_R_8F_E4M3, k, n, k) &&
         layout(plan.x, CUDA_R_8F_E4M3, k, m, k) &&
         layout(plan.y, CUDA_R_32F, n, m, stride);
}

bool SetScales(const CublasLt& lt, const Fp8GemmArgs& args, const Plan& plan) {
  return Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
             args.row_scale) &&
         Set(lt, plan.operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
             args.token_scale);
}

bool Choose(const CublasLt& lt, cublasLtHandle_t handle, Plan& plan) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (lt.preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return false;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute,
                       const auto& value) {
    return lt.preference_set(preference, attribute, &value, sizeof(value)) ==
           CUBLAS_STATUS_SUCCESS;
  };
  const auto bytes = static_cast<uint64_t>(kFp8GemmWorkspaceBytes);
  const auto alignment = static_cast<uint32_t>(kFp8GemmMultiple);
  cublasLtMatmulHeuristicResult_t result = {};
  int num_results = 0;
  const bool found =
      set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment) &&
      set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment) &&
      lt.get_heuristic(handle, plan.operation, plan.weight, plan.x, plan.y,
                       plan.y, preference, 1, &result,
                       &num_results) == CUBLAS_STATUS_SUCCESS &&
      num_results == 1 && result.state == CUBLAS_STATUS_SUCCESS;
  plan.algorithm = result.algo;
  (void)lt.preference_destroy(preference);
  return found;
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
  const Plan& PlanOf(const Fp8GemmArgs& args) {
    const auto [entry, is_new] =
        plans.try_emplace(Shape{args.m, args.n, args.k, args.stride});
    Plan& plan = entry->second;
    if (is_new) {
      plan.usable = Describe(*lt, entry->first, plan) &&
                    SetScales(*lt, args, plan) && Choose(*lt, handle, plan);
    }
    return plan;
  }
};

bool IsAligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kFp8GemmMultiple == 0;
}

bool FitsCublas(const Fp8GemmArgs& args) {
  return args.m % kFp8GemmMultiple == 0 && args.n % kFp8GemmMultiple == 0 &&
         args.k % kFp8GemmMultiple == 0 && args.stride % 4 == 0 &&
         IsAligned(args.weight) && IsAligned(args.x) && IsAligned(args.y) &&
         IsAligned(args.residual) && IsAligned(args.row_scale) &&
         IsAligned(args.token_scale);
}

Library& TheLibrary() {
  static Library& library = *new Library;
  return library;
}

}  // namespace

bool HasFp8Gemm(const Fp8GemmArgs& args) {
  if (!FitsCublas(args)) return false;
  Library& library = TheLibrary();
  return library.lt != nullptr && library.PlanOf(args).usable;
}

void Fp8Gemm(const Fp8GemmArgs& args, void* workspace, const Exec& exec) {
  Library& library = TheLibrary();
  const CublasLt& lt = *library.lt;
  const Plan& plan = library.PlanOf(args);
  const float beta = args.residual != nullptr ? 1.0f : 0.0f;
  const float* c = args.residual != nullptr ? args.residual : args.y;
  const bool done =
      SetScales(lt, args, plan) &&
      lt.matmul(
          library.handle, plan.operation, &args.unit, args.weight, plan.weight,
          args.x, plan.x, &beta, c, plan.y, args.y, plan.y, &plan.algorithm,
          workspace, static_cast<size_t>(kFp8GemmWorkspaceBytes),
          static_cast<cudaStream_t>(exec.stream)) == CUBLAS_STATUS_SUCCESS;
  // It said that it could.
  ZQFP_CHECK(done);
}

}  // namespace zqfp::kernels::cuda
