// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_
#define ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_

// Tokens rounded to a format and back: for formats that no kernel runs, and for
// the inputs that models from elsewhere want. Not an op: its time is nothing
// beside the matmul's.

#include "kernels/core/ops.h"
#include "models/config.h"

namespace zqfp {

struct RoundTokensArgs {
  int64_t num_tokens = 0;
  int64_t dim = 0;
  const float* x = nullptr;  // [num_tokens, dim]
  float* y = nullptr;        // [num_tokens, dim], may be x
  float scale = 0;           // kE4m3Static
  int64_t group_size = 0;    // columns, kE4m3Groups
};

// y = what x is in `format`, one scale per token, round to nearest even:
//   e4m3, e5m2  s = max|x| / largest value; y = s * format(x / s)
//   int8        asymmetric: s = (max - min) / 255, both widened to hold 0;
//               y = s * (clamp(round(x / s) + z, 0, 255) - z), z =
//               round(-min/s)
//   bf16        no scale
//   e4m3 static s is given; what lies beyond 448 s saturates
//   e4m3 groups as e4m3, a scale per group of columns
// A row with a NaN or an infinity gives NaN or infinity.
void RoundTokens(ActivationFormat format, const RoundTokensArgs& args,
                 const kernels::Exec& exec);

}  // namespace zqfp

#endif  // ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_
