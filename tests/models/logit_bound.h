// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_LOGIT_BOUND_H_
#define ZQFP_TESTS_MODELS_LOGIT_BOUND_H_

#include <algorithm>
#include <cmath>

#include "models/config.h"

namespace zqfp::testing {

// How far two f32 forward passes may differ: every one of the 7 sequential
// linears and norms of a layer may round its k products and sums each at
// 2^-24, of values as large as the largest logit, and a later layer may
// amplify what an earlier one did (8 covers weights of gain 1.5 and two
// layers, with the softmax's).
inline double LogitBound(const Config& config, double largest) {
  const double steps = 7.0 * static_cast<double>(config.num_layers) + 1;
  const double k =
      static_cast<double>(std::max(config.model_dim, config.ffn_dim));
  return 8 * steps * k * std::ldexp(1.0, -24) * largest;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_LOGIT_BOUND_H_
