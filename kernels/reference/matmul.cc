// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

ValueFormat StoredAs(WeightFormat format) {
  if (format == WeightFormat::kBf16) return ValueFormat::kBf16;
  if (format == WeightFormat::kF16) return ValueFormat::kF16;
  return ValueFormat::kF32;
}

}  // namespace

void Matmul(const MatmulArgs& args, const Exec& exec) noexcept {
  const WeightView& w = args.weight;
  const ValueFormat format = StoredAs(w.format);
  ParallelFor(
      exec, w.n, GrainFor(args.m * w.k), [&](int64_t begin, int64_t end, int) {
        for (int64_t t = 0; t < args.m; ++t) {
          const float* x = args.x + t * w.k;
          for (int64_t n = begin; n < end; ++n) {
            double sum = 0;
            for (int64_t k = 0; k < w.k; ++k) {
              sum += double{x[k]} * ReadValue(format, w.data, n * w.k + k);
            }
            if (args.bias != nullptr) sum += args.bias[n];
            const int64_t at = t * w.n + n;
            if (args.residual != nullptr) sum += args.residual[at];
            args.y[at] = static_cast<float>(sum);
          }
        }
      });
}

}  // namespace zqfp::kernels::reference
