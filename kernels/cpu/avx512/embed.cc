// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes.h"

namespace zqfp::kernels::avx512 {
namespace {

template <ValueFormat kFormat>
void CopyRows(const EmbedArgs& args, const Exec& exec) {
  const __m512 scale = _mm512_set1_ps(args.scale);
  ParallelFor(exec, args.num_tokens, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = args.id[t] * args.model_dim;
      for (int64_t i = 0; i < args.model_dim; i += kLanes) {
        const __mmask16 mask = Mask(args.model_dim - i);
        _mm512_mask_storeu_ps(
            args.y + t * args.model_dim + i, mask,
            _mm512_mul_ps(scale, Load<kFormat>(args.table, row + i, mask)));
      }
    }
  });
}

}  // namespace

void Embed(const EmbedArgs& args, const Exec& exec) noexcept {
  switch (args.table_format) {
    case ValueFormat::kBf16:
      return CopyRows<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kF16:
      return CopyRows<ValueFormat::kF16>(args, exec);
    case ValueFormat::kE4m3:
      return CopyRows<ValueFormat::kE4m3>(args, exec);
    case ValueFormat::kF32:
      return CopyRows<ValueFormat::kF32>(args, exec);
  }
}

}  // namespace zqfp::kernels::avx512
