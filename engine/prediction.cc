// SPDX-License-Identifier: Apache-2.0
#include "engine/prediction.h"

#include <string.h>

#include <algorithm>
#include <cmath>

namespace zqfp {
namespace {

// Two lanes are what every x86-64 has; written as vectors because a compiler
// may not reorder the sums of a plain loop.
using Doubles = double __attribute__((vector_size(16)));
using Integers = int64_t __attribute__((vector_size(16)));
using Floats = float __attribute__((vector_size(8)));

constexpr int64_t kLanes = 2;
constexpr int64_t kChains = 4;  // independent sums, to hide the latencies
constexpr int64_t kStep = kLanes * kChains;
constexpr int64_t kBlock = 256;  // logits searched for the largest at a time

template <typename To, typename From>
To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

Doubles Load(const float* p) {
  Floats floats;
  memcpy(&floats, p, sizeof(floats));
  return __builtin_convertvector(floats, Doubles);
}

// e^x for x <= 0. x = k ln 2 + r with |r| <= ln(2) / 2 and Taylor's series to
// r^10: the rest is below .347^11 / 11! = 2.2e-13 of it. Below e^-700 (no such
// probability counts) the result stays e^-700; NaN stays NaN.
Doubles Exp(Doubles x) {
  constexpr double kLog2E = 1.4426950408889634074;
  constexpr double kLn2 = 0.69314718055994530942;
  constexpr double kRound = 0x1.8p52;  // adding it leaves k in the low bits
  constexpr double kInverseFactorial[] = {1.0 / 3628800,
                                          1.0 / 362880,
                                          1.0 / 40320,
                                          1.0 / 5040,
                                          1.0 / 720,
                                          1.0 / 120,
                                          1.0 / 24,
                                          1.0 / 6,
                                          1.0 / 2,
                                          1,
                                          1};
  const Doubles least = {-700, -700};
  x = x < least ? least : x;
  const Doubles rounded = x * kLog2E + kRound;
  const Doubles r = x - (rounded - kRound) * kLn2;
  Doubles sum = {kInverseFactorial[0], kInverseFactorial[0]};
  for (int i = 1; i <= 10; ++i) sum = sum * r + kInverseFactorial[i];
  const Integers power = (BitCast<Integers>(rounded) + 1023) << 52;
  return sum * BitCast<Doubles>(power);
}

double Sum(const Doubles (&chains)[kChains]) {
  const Doubles all = (chains[0] + chains[1]) + (chains[2] + chains[3]);
  return all[0] + all[1];
}

// The first of the largest logits.
int64_t Largest(absl::Span<const float> logits) {
  const int64_t size = static_cast<int64_t>(logits.size());
  float largest = logits[0];
  int64_t block = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    float own[kStep];
    std::fill(own, own + kStep, largest);
    const int64_t end = std::min(begin + kBlock, size);
    int64_t i = begin;
    for (; i + kStep <= end; i += kStep) {
      for (int64_t lane = 0; lane < kStep; ++lane) {
        const float logit = logits[static_cast<size_t>(i + lane)];
        own[lane] = logit > own[lane] ? logit : own[lane];
      }
    }
    for (; i < end; ++i)
      own[0] = std::max(own[0], logits[static_cast<size_t>(i)]);
    const float most = *std::max_element(own, own + kStep);
    if (most > largest) {
      largest = most;
      block = begin;
    }
  }
  const auto begin = logits.begin() + block;
  const auto end = logits.begin() + std::min(block + kBlock, size);
  const auto found = std::find(begin, end, largest);
  return found == end ? 0 : found - logits.begin();  // a row of NaN
}

// Prediction whose exponentials over the largest logit sum up to `sum`.
Prediction Make(absl::Span<const float> logits, int64_t top, double sum,
                int32_t target) {
  const double largest = logits[static_cast<size_t>(top)];
  return {.loss = std::log(sum) + largest - logits[static_cast<size_t>(target)],
          .top_id = static_cast<int32_t>(top),
          .top_probability = 1 / sum};
}

}  // namespace

Prediction Predict(absl::Span<const float> logits, int32_t target) {
  const int64_t size = static_cast<int64_t>(logits.size());
  const int64_t top = Largest(logits);
  const double largest = logits[static_cast<size_t>(top)];
  Doubles sums[kChains] = {};
  int64_t i = 0;
  for (; i + kStep <= size; i += kStep) {
    for (int64_t c = 0; c < kChains; ++c) {
      sums[c] += Exp(Load(logits.data() + i + c * kLanes) - largest);
    }
  }
  double sum = Sum(sums);
  for (; i < size; ++i) {
    sum += std::exp(logits[static_cast<size_t>(i)] - largest);
  }
  return Make(logits, top, sum, target);
}

PredictionPair PredictPair(absl::Span<const float> original,
                           absl::Span<const float> model, int32_t target) {
  // With x = a - max a and y = b - max b of the rows a and b:
  // KL = sum(e^x (x - y)) / sum(e^x) - ln sum(e^x) + ln sum(e^y).
  const int64_t size = static_cast<int64_t>(original.size());
  const int64_t top = Largest(original), model_top = Largest(model);
  const double largest = original[static_cast<size_t>(top)];
  const double model_largest = model[static_cast<size_t>(model_top)];
  Doubles sums[kChains] = {}, model_sums[kChains] = {}, distances[kChains] = {};
  int64_t i = 0;
  for (; i + kStep <= size; i += kStep) {
    for (int64_t c = 0; c < kChains; ++c) {
      const Doubles x = Load(original.data() + i + c * kLanes) - largest;
      const Doubles y = Load(model.data() + i + c * kLanes) - model_largest;
      const Doubles power = Exp(x);
      sums[c] += power;
      model_sums[c] += Exp(y);
      distances[c] += power * (x - y);
    }
  }
  double sum = Sum(sums), model_sum = Sum(model_sums);
  double distance = Sum(distances);
  for (; i < size; ++i) {
    const double x = original[static_cast<size_t>(i)] - largest;
    const double y = model[static_cast<size_t>(i)] - model_largest;
    const double power = std::exp(x);
    sum += power;
    model_sum += std::exp(y);
    distance += power * (x - y);
  }
  const double divergence =
      distance / sum - (std::log(sum) - std::log(model_sum));
  // Rounding may leave a little less than nothing.
  const bool below = std::isfinite(divergence) && divergence < 0;
  return {.original = Make(original, top, sum, target),
          .model = Make(model, model_top, model_sum, target),
          .divergence = below ? 0 : divergence};
}

}  // namespace zqfp
