// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/cpu/neon/lanes.h"
#include "kernels/cpu/neon/neon.h"

namespace zqfp::kernels::neon {

void Softcap(const SoftcapArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_rows * args.dim;
  // A piece of 4096 numbers is worth a fork.
  ParallelFor(exec, count, 4096, [&](int64_t begin, int64_t end, int) {
    ForLanes(begin, end, [&](int64_t i, int64_t count) {
      StoreF32(args.x + i, count, Cap(LoadF32(args.x + i, count), args.cap));
    });
  });
}

}  // namespace zqfp::kernels::neon
