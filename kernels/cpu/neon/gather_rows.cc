// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {

void GatherRows(const GatherRowsArgs& args, const Exec& exec) noexcept {
  const int64_t dim = args.dim;
  ParallelFor(exec, args.num_rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      memcpy(args.y + i * dim, args.x + args.row[i] * dim,
             static_cast<size_t>(dim) * sizeof(float));
    }
  });
}

}  // namespace zqfp::kernels::neon
