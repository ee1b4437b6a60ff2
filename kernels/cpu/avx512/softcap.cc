// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {

void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_rows * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const __mmask16 mask = Mask(end - i);
      const __m512 x = _mm512_maskz_loadu_ps(mask, args.x + i);
      _mm512_mask_storeu_ps(args.x + i, mask, Cap(x, args.cap));
    }
  });
}

}  // namespace zqfp::kernels::avx512
