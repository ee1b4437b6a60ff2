// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {

void Embed(const EmbedArgs& args, const Exec&) noexcept {
  for (int64_t t = 0; t < args.num_tokens; ++t) {
    const int64_t row = args.id[t] * args.model_dim;
    for (int64_t i = 0; i < args.model_dim; ++i) {
      args.y[t * args.model_dim + i] =
          args.scale * ReadValue(args.table_format, args.table, row + i);
    }
  }
}

}  // namespace zqfp::kernels::reference
