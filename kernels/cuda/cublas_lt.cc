// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cublas_lt.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

namespace zqfp::kernels::cuda {
namespace {

template <typename Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

void* OpenLibrary() {
  const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
  // As the system finds it, else where the toolkit was when this was built.
  for (const std::string& path : {name, ZQFP_CUDA_LIBRARIES "/" + name}) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
  }
  return nullptr;
}

const CublasLt* Load() {
  void* library = OpenLibrary();
  if (library == nullptr) return nullptr;
  static CublasLt lt;
  const bool all =
      Find(library, "cublasLtCreate", lt.create) &&
      Find(library, "cublasLtMatmulDescCreate", lt.desc_create) &&
      Find(library, "cublasLtMatmulDescSetAttribute", lt.desc_set) &&
      Find(library, "cublasLtMatrixLayoutCreate", lt.layout_create) &&
      Find(library, "cublasLtMatmulPreferenceCreate", lt.preference_create) &&
      Find(library, "cublasLtMatmulPreferenceSetAttribute",
           lt.preference_set) &&
      Find(library, "cublasLtMatmulPreferenceDestroy", lt.preference_destroy) &&
      Find(library, "cublasLtMatmulAlgoGetHeuristic", lt.get_heuristic) &&
      Find(library, "cublasLtMatmul", lt.matmul);
  return all ? &lt : nullptr;
}

}  // namespace

const CublasLt* LoadCublasLt() {
  static const CublasLt* const lt = Load();
  return lt;
}

}  // namespace zqfp::kernels::cuda
