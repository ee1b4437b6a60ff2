// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes.h"

namespace zqfp::kernels::avx2 {

void SwiGlu(const SwiGluArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_tokens * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    const __m256 one = _mm256_set1_ps(1.0f);
    for (int64_t i = begin; i < end; i += kLanes) {
      const __m256 gate = LoadF32(args.gate + i, end - i);
      const __m256 up = LoadF32(args.up + i, end - i);
      const __m256 e = Exp(_mm256_sub_ps(_mm256_setzero_ps(), gate));
      const __m256 silu = _mm256_div_ps(gate, _mm256_add_ps(one, e));
      StoreF32(args.y + i, end - i, _mm256_mul_ps(silu, up));
    }
  });
}

}  // namespace zqfp::kernels::avx2
