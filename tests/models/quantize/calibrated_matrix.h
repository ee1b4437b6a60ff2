// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_QUANTIZE_CALIBRATED_MATRIX_H_
#define ZQFP_TESTS_MODELS_QUANTIZE_CALIBRATED_MATRIX_H_

// A random matrix with the inputs it reads: correlated, some columns much
// larger than others, as activations are.

#include <cmath>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "models/quantize/gptq.h"

namespace zqfp::testing {

// What quantizing runs on, for tests.
struct QuantizeBench {
  explicit QuantizeBench(int num_threads = 2)
      : pool(num_threads), backend(*kernels::SelectBackend()) {}

  QuantizeMachine machine() {
    return {&pool, &backend.ops, {.parallel = pool.parallel()}};
  }

  kernels::ThreadPool pool;
  kernels::Backend backend;
};

struct CalibratedMatrix {
  CalibratedMatrix(int64_t rows, int64_t columns, int64_t num_tokens,
                   uint32_t seed = 5)
      : n(rows), k(columns), tokens(num_tokens), hessian(columns) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> level(static_cast<size_t>(k));
    for (float& value : level) value = std::exp(normal(random));
    for (int64_t t = 0; t < tokens; ++t) {
      const float shared = normal(random);
      for (int64_t i = 0; i < k; ++i) {
        const float own = normal(random);
        x.push_back(level[static_cast<size_t>(i)] *
                    (0.8f * shared + 0.6f * own));
      }
    }
    for (int64_t i = 0; i < n * k; ++i) weights.push_back(normal(random));
    QuantizeBench bench;
    hessian.Add(x.data(), tokens, bench.backend.ops, bench.machine().exec);
  }

  // sum over tokens of |x (W - other)^T|^2, in f64.
  double OutputError(const std::vector<float>& other) const {
    double total = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < k; ++j) {
          const auto at = static_cast<size_t>(i * k + j);
          sum += double{x[static_cast<size_t>(t * k + j)]} *
                 (double{weights[at]} - other[at]);
        }
        total += sum * sum;
      }
    }
    return total;
  }

  int64_t n, k, tokens;
  std::vector<float> x;        // [tokens, k]
  std::vector<float> weights;  // [n, k]
  Hessian hessian;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_QUANTIZE_CALIBRATED_MATRIX_H_
