// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

void NormalizeRow(const LayerNormArgs& args, const float* x, float* y) {
  const double dim = static_cast<double>(args.dim);
  double sum = 0;
  for (int64_t i = 0; i < args.dim; ++i) sum += x[i];
  const double mean = sum / dim;
  double squares = 0;
  for (int64_t i = 0; i < args.dim; ++i) {
    squares += (x[i] - mean) * (x[i] - mean);
  }
  const double inverse = 1.0 / std::sqrt(squares / dim + double{args.epsilon});
  for (int64_t i = 0; i < args.dim; ++i) {
    y[i] = static_cast<float>((x[i] - mean) * inverse * args.weight[i] +
                              args.bias[i]);
  }
}

}  // namespace

void LayerNorm(const LayerNormArgs& args, const Exec& exec) noexcept {
  ParallelFor(exec, args.num_rows, GrainFor(args.dim),
              [&](int64_t begin, int64_t end, int) {
                for (int64_t r = begin; r < end; ++r) {
                  NormalizeRow(args, args.x + r * args.dim,
                               args.y + r * args.dim);
                }
              });
}

}  // namespace zqfp::kernels::reference
