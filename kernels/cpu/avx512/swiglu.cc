// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {

void SwiGlu(const SwiGluArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_tokens * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    const __m512 one = _mm512_set1_ps(1.0f);
    for (int64_t i = begin; i < end; i += kLanes) {
      const __mmask16 mask = Mask(end - i);
      const __m512 gate = _mm512_maskz_loadu_ps(mask, args.gate + i);
      const __m512 up = _mm512_maskz_loadu_ps(mask, args.up + i);
      const __m512 e = Exp(_mm512_sub_ps(_mm512_setzero_ps(), gate));
      const __m512 silu = _mm512_div_ps(gate, _mm512_add_ps(one, e));
      _mm512_mask_storeu_ps(args.y + i, mask, _mm512_mul_ps(silu, up));
    }
  });
}

}  // namespace zqfp::kernels::avx512
