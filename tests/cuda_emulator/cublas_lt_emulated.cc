// SPDX-License-Identifier: Apache-2.0
// Products as cuBLASLt has them on Hopper, A transposed, B not, to f32 or bf16:
// e4m3 times e4m3 with one scale per row of A and per column of B, and bf16
// times bf16. Fast sums are cut as the FP8 tensor cores cut them, others are
// exact.
#include <string.h>

#include <cmath>
#include <map>
#include <string>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/cublas_lt.h"

using zqfp::kernels::Bf16ToFloat;
using zqfp::kernels::E4m3ToFloat;
using zqfp::kernels::FloatToBf16;

struct EmulatedLtHandle {};
struct EmulatedLtOperation {
  // By attribute: the bytes that were set.
  std::map<int, std::string> attributes;

  template <typename T>
  T Get(cublasLtMatmulDescAttributes_t attribute) const {
    const auto found = attributes.find(attribute);
    T value = {};
    if (found != attributes.end() && found->second.size() == sizeof(T)) {
      memcpy(&value, found->second.data(), sizeof(T));
    }
    return value;
  }
};
struct EmulatedLtLayout {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t leading;
};
struct EmulatedLtPreference {
  std::map<int, uint64_t> values;
};

namespace {

bool IsMultipleOf16(uint64_t value) { return value % 16 == 0; }

// Row and column scales, which FP8 has and BF16 has not.
bool HasScales(const EmulatedLtOperation& operation) {
  const auto mode = [&](cublasLtMatmulDescAttributes_t attribute) {
    return operation.Get<int32_t>(attribute) ==
           CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  };
  return mode(CUBLASLT_MATMUL_DESC_A_SCALE_MODE) &&
         mode(CUBLASLT_MATMUL_DESC_B_SCALE_MODE) &&
         operation.Get<void*>(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER) !=
             nullptr &&
         operation.Get<void*>(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER) != nullptr;
}

// What has to hold before a kernel can be had.
bool IsSupported(const EmulatedLtOperation& operation,
                 const EmulatedLtLayout& a, const EmulatedLtLayout& b,
                 const EmulatedLtLayout& c, const EmulatedLtLayout& d) {
  const bool is_fp8 = a.type == CUDA_R_8F_E4M3;
  const bool fits_fp8 = IsMultipleOf16(a.rows) && IsMultipleOf16(a.columns) &&
                        IsMultipleOf16(b.columns) && a.leading % 16 == 0 &&
                        b.leading % 16 == 0 && d.leading % 4 == 0;
  return operation.Get<cublasOperation_t>(CUBLASLT_MATMUL_DESC_TRANSA) ==
             CUBLAS_OP_T &&
         operation.Get<cublasOperation_t>(CUBLASLT_MATMUL_DESC_TRANSB) ==
             CUBLAS_OP_N &&
         (is_fp8 ? HasScales(operation) && fits_fp8 : a.type == CUDA_R_16BF) &&
         b.type == a.type && c.type == d.type &&
         (d.type == CUDA_R_32F || d.type == CUDA_R_16BF) && a.rows == b.rows &&
         a.columns == d.rows && b.columns == d.columns && c.rows == d.rows &&
         c.columns == d.columns && c.leading == d.leading &&
         a.leading >= static_cast<int64_t>(a.rows) &&
         b.leading >= static_cast<int64_t>(b.rows) &&
         d.leading >= static_cast<int64_t>(d.rows);
}

float Element(const void* matrix, cudaDataType_t type, uint64_t at) {
  switch (type) {
    case CUDA_R_8F_E4M3:
      return E4m3ToFloat(static_cast<const uint8_t*>(matrix)[at]);
    case CUDA_R_16BF:
      return Bf16ToFloat(static_cast<const uint16_t*>(matrix)[at]);
    default:
      return static_cast<const float*>(matrix)[at];
  }
}

void SetElement(void* matrix, cudaDataType_t type, uint64_t at, double value) {
  if (type == CUDA_R_16BF) {
    static_cast<uint16_t*>(matrix)[at] = FloatToBf16(static_cast<float>(value));
  } else {
    static_cast<float*>(matrix)[at] = static_cast<float>(value);
  }
}

bool IsAligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new EmulatedLtHandle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *operation = new EmulatedLtOperation;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
    const void* value, size_t num_bytes) {
  const bool is_pointer = attribute == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER ||
                          attribute == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER;
  const size_t wanted = is_pointer ? sizeof(void*)
                        : attribute == CUBLASLT_MATMUL_DESC_FAST_ACCUM
                            ? sizeof(int8_t)
                            : sizeof(int32_t);
  if (num_bytes != wanted) return CUBLAS_STATUS_INVALID_VALUE;
  operation->attributes[attribute] =
      std::string(static_cast<const char*>(value), num_bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout,
                                          cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *layout = new EmulatedLtLayout{type, rows, columns, leading};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(
    cublasLtMatmulPreference_t* preference) {
  *preference = new EmulatedLtPreference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t preference,
    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
    size_t num_bytes) {
  const bool is_bytes = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  if (num_bytes != (is_bytes ? sizeof(uint64_t) : sizeof(uint32_t))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  uint64_t number = 0;
  memcpy(&number, value, num_bytes);
  preference->values[attribute] = number;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(
    cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
    cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
    int most_results, cublasLtMatmulHeuristicResult_t* results,
    int* num_results) {
  *num_results = 0;
  if (most_results < 1 || !IsSupported(*operation, *a, *b, *c, *d)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  // Left alone, these ask for no workspace and 256-byte aligned matrices.
  for (int i = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
       i <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; ++i) {
    if (preference->values[i] != 16) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  *results = {.algo = {{42}},
              .workspaceSize = static_cast<size_t>(
                  preference->values[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES]),
              .state = CUBLAS_STATUS_SUCCESS};
  *num_results = 1;
  return CUBLAS_STATUS_SUCCESS;
}

namespace {

// A sum in the accumulator of the FP8 tensor cores.
double CutTo14Bits(double sum) {
  int exponent = 0;
  const double fraction = frexp(sum, &exponent);
  return ldexp(trunc(ldexp(fraction, 14)), exponent - 14);
}

// What a call has to do, once it is its turn on the stream.
struct Product {
  EmulatedLtLayout a_layout, b_layout, d_layout;
  const void* a;
  const void* b;
  const float* row_scale;  // or null, both
  const float* column_scale;
  bool fast;
  float unit;
  float share;  // of `added`
  const void* added;
  void* d;

  void Run() const {
    for (uint64_t j = 0; j < d_layout.columns; ++j) {
      for (uint64_t i = 0; i < d_layout.rows; ++i) {
        double value = 0;
        for (uint64_t l = 0; l < a_layout.rows; ++l) {
          value += double{Element(a, a_layout.type, i * a_layout.leading + l)} *
                   Element(b, b_layout.type, j * b_layout.leading + l);
          // An instruction multiplies 32 of k.
          if (fast && l % 32 == 31) value = CutTo14Bits(value);
        }
        value *= unit;
        if (row_scale != nullptr) {
          value *= double{row_scale[i]} * column_scale[j];
        }
        const uint64_t at = j * d_layout.leading + i;
        if (share != 0) value += share * Element(added, d_layout.type, at);
        SetElement(d, d_layout.type, at, value);
      }
    }
  }
};

}  // namespace

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout,
                              void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm,
                              void* workspace, size_t workspace_bytes,
                              cudaStream_t) {
  if (algorithm->data[0] != 42 ||
      !IsSupported(*operation, *a_layout, *b_layout, *c_layout, *d_layout) ||
      !IsAligned(a) || !IsAligned(b) || !IsAligned(c) || !IsAligned(d) ||
      reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (zqfp::kernels::emulator::products_to_refuse > 0) {
    --zqfp::kernels::emulator::products_to_refuse;
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const Product product = {
      .a_layout = *a_layout,
      .b_layout = *b_layout,
      .d_layout = *d_layout,
      .a = a,
      .b = b,
      .row_scale =
          operation->Get<const float*>(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER),
      .column_scale =
          operation->Get<const float*>(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER),
      .fast = operation->Get<int8_t>(CUBLASLT_MATMUL_DESC_FAST_ACCUM) == 1,
      .unit = *static_cast<const float*>(alpha),
      .share = *static_cast<const float*>(beta),
      .added = c,
      .d = d};
  zqfp::kernels::emulator::Enqueue([=] {
    // Whoever else has something there learns that it is gone.
    memset(workspace, 0xff, workspace_bytes);
    product.Run();
  });
  return CUBLAS_STATUS_SUCCESS;
}

namespace zqfp::kernels::cuda {

const CublasLt* LoadCublasLt() {
  static const CublasLt lt = {
      .create = cublasLtCreate,
      .desc_create = cublasLtMatmulDescCreate,
      .desc_set = cublasLtMatmulDescSetAttribute,
      .layout_create = cublasLtMatrixLayoutCreate,
      .preference_create = cublasLtMatmulPreferenceCreate,
      .preference_set = cublasLtMatmulPreferenceSetAttribute,
      .preference_destroy = cublasLtMatmulPreferenceDestroy,
      .get_heuristic = cublasLtMatmulAlgoGetHeuristic,
      .matmul = cublasLtMatmul};
  return &lt;
}

}  // namespace zqfp::kernels::cuda
