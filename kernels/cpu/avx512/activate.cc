// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

template <Activation kActivation>
inline __m512 Apply(__m512 x) {
  if constexpr (kActivation == Activation::kRelu) {
    // The variable comes second: max returns it where it is a NaN.
    return _mm512_max_ps(_mm512_setzero_ps(), x);
  } else if constexpr (kActivation == Activation::kSilu) {
    return TimesSigmoid(x, x);
  } else {
    // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
    const __m512 inner = _mm512_fmadd_ps(
        _mm512_mul_ps(x, x), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f));
    const __m512 u =
        _mm512_mul_ps(_mm512_mul_ps(x, inner), _mm512_set1_ps(1.5957691216f));
    return TimesSigmoid(x, u);
  }
}

template <Activation kActivation>
void Run(const ActivateArgs& args, const Exec& exec) {
  const int64_t count = args.num_tokens * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const __mmask16 mask = Mask(end - i);
      __m512 y = Apply<kActivation>(_mm512_maskz_loadu_ps(mask, args.x + i));
      if (args.up != nullptr) {
        y = _mm512_mul_ps(y, _mm512_maskz_loadu_ps(mask, args.up + i));
      }
      _mm512_mask_storeu_ps(args.y + i, mask, y);
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

}  // namespace zqfp::kernels::avx512
