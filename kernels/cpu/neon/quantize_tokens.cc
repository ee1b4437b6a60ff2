// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/neon.h"
#include "kernels/cpu/neon/quantize_row.h"

namespace zqfp::kernels::neon {

void QuantizeTokens(const QuantizeTokensArgs& args, const Exec& exec) noexcept {
  ParallelFor(exec, args.num_tokens, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      QuantizeRow(args.x + t * args.dim, args.dim, args.q + t * args.dim,
                  args.scale + t);
    }
  });
}

}  // namespace zqfp::kernels::neon
