// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void GatherRows(const GatherRowsArgs& args, const Exec&) noexcept {
  for (int64_t i = 0; i < args.num_rows; ++i) {
    for (int64_t d = 0; d < args.dim; ++d) {
      args.y[i * args.dim + d] = args.x[args.row[i] * args.dim + d];
    }
  }
}

}  // namespace zqfp::kernels::reference
