// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {
namespace {

template <ValueFormat kFormat>
void AddRows(const AddPositionsArgs& args, const Exec& exec) {
  const int64_t dim = args.model_dim;
  ParallelFor(exec, args.num_tokens, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      ForLanes(0, dim, [&](int64_t i, int64_t count) {
        float* x = args.x + t * dim + i;
        const F32x8 row =
            Load<kFormat>(args.table, args.position[t] * dim + i, count);
        StoreF32(x, count, Add(LoadF32(x, count), row));
      });
    }
  });
}

}  // namespace

void AddPositions(const AddPositionsArgs& args, const Exec& exec) noexcept {
  switch (args.table_format) {
    case ValueFormat::kBf16:
      return AddRows<ValueFormat::kBf16>(args, exec);
    case ValueFormat::kF16:
      return AddRows<ValueFormat::kF16>(args, exec);
    case ValueFormat::kE4m3:
      return AddRows<ValueFormat::kE4m3>(args, exec);
    case ValueFormat::kF32:
      return AddRows<ValueFormat::kF32>(args, exec);
  }
}

}  // namespace zqfp::kernels::neon
