// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

double Apply(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kRelu:
      return x < 0 ? 0.0 : x;  // NaN stays NaN
    case Activation::kGeluTanh: {
      const double u =
          std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return x / (1.0 + std::exp(-2.0 * u));
    }
  }
  return 0;
}

}  // namespace

void Activate(const ActivateArgs& args, const Exec& exec) noexcept {
  const int64_t count = args.num_tokens * args.dim;
  ParallelFor(exec, count, GrainFor(16), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const double up = args.up != nullptr ? args.up[i] : 1.0;
      args.y[i] = static_cast<float>(Apply(args.activation, args.x[i]) * up);
    }
  });
}

}  // namespace zqfp::kernels::reference
