// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {
namespace {

template <Activation kActivation>
inline __m256 Apply(__m256 x) {
  if constexpr (kActivation == Activation::kRelu) {
    // The variable comes second: max returns it where it is a NaN.
    return _mm256_max_ps(_mm256_setzero_ps(), x);
  } else if constexpr (kActivation == Activation::kSilu) {
    return TimesSigmoid(x, x);
  } else {
    // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
    const __m256 inner = _mm256_fmadd_ps(
        _mm256_mul_ps(x, x), _mm256_set1_ps(0.044715f), _mm256_set1_ps(1.0f));
    const __m256 u =
        _mm256_mul_ps(_mm256_mul_ps(x, inner), _mm256_set1_ps(1.5957691216f));
    return TimesSigmoid(x, u);
  }
}

template <Activation kActivation>
void Run(const ActivateArgs& args, const Exec& exec) {
  const int64_t count = args.num_tokens * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kLanes) {
      __m256 y = Apply<kActivation>(LoadF32(args.x + i, end - i));
      if (args.up != nullptr) {
        y = _mm256_mul_ps(y, LoadF32(args.up + i, end - i));
      }
      StoreF32(args.y + i, end - i, y);
    }
  });
}

}  // namespace

void Activate(const ActivateArgs& args, const Exec& exec) noexcept {
  switch (args.activation) {
    case Activation::kSilu:
      return Run<Activation::kSilu>(args, exec);
    case Activation::kRelu:
      return Run<Activation::kRelu>(args, exec);
    case Activation::kGeluTanh:
      return Run<Activation::kGeluTanh>(args, exec);
  }
}

}  // namespace zqfp::kernels::avx2
