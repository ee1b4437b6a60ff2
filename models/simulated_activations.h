// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_
#define ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_

// Tokens rounded to a format and back, to compare formats that no kernel runs
// with those that one does. Not an op: nothing needs it to be fast.

#include "kernels/core/ops.h"
#include "models/config.h"

namespace zqfp {

struct RoundTokensArgs {
  int64_t num_tokens = 0;
  int64_t dim = 0;
  const float* x = nullptr;  // [num_tokens, dim]
  float* y = nullptr;        // [num_tokens, dim]
};

// y = what x is in `format`, one scale per token, round to nearest even:
//   e4m3, e5m2  s = max|x| / largest value; y = s * format(x / s)
//   int8        asymmetric: s = (max - min) / 255, both widened to hold 0;
//               y = s * (clamp(round(x / s) + z, 0, 255) - z), z =
//               round(-min/s)
//   bf16        no scale
// A row with a NaN or an infinity gives NaN or infinity.
void RoundTokens(ActivationFormat format, const RoundTokensArgs& args,
                 const kernels::Exec& exec);

}  // namespace zqfp

#endif  // ZQFP_MODELS_SIMULATED_ACTIVATIONS_H_
