// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_TEST_TOKENS_H_
#define ZQFP_TESTS_KERNELS_TEST_TOKENS_H_

// Tokens in e4m3 with the values they stand for.

#include <random>
#include <vector>

#include "kernels/core/float_formats.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels {

struct Tokens {
  GuardedArray<uint8_t> data;
  GuardedArray<float> scale;
  std::vector<double> exact;

  QuantizedTokensView view() const { return {data.data(), scale.data()}; }
};

inline Tokens RandomTokens(std::mt19937& random, int64_t m, int64_t k) {
  Tokens tokens = {GuardedArray<uint8_t>(m * k), GuardedArray<float>(m), {}};
  for (int64_t t = 0; t < m; ++t) {
    tokens.scale[t] = RandomScale(random);
    for (int64_t i = 0; i < k; ++i) {
      const uint8_t code = static_cast<uint8_t>(random());
      const bool nan = (code & 0x7f) == 0x7f;
      tokens.data[t * k + i] = nan ? 0x7e : code;
      tokens.exact.push_back(double{tokens.scale[t]} *
                             E4m3ToFloat(tokens.data[t * k + i]));
    }
  }
  return tokens;
}

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_TEST_TOKENS_H_
