// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_CUBLAS_LT_H_
#define ZQFP_KERNELS_CUDA_CUBLAS_LT_H_

// cuBLASLt, loaded when the first large matmul wants it: linked, its 540 MB
// would cost every start of a program 0.6 s and 200 MB (2026-11-25, 2 cores),
// and a program without it would not start at all.

#include <cublasLt.h>

namespace zqfp::kernels::cuda {

// The functions that library_gemm.cc calls.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic;
  decltype(&cublasLtMatmul) matmul;
};

// Null where the library or one of the functions is not there.
const CublasLt* LoadCublasLt();

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_CUBLAS_LT_H_
