// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels::reference {
namespace {

// The factor of weight row n that group g of its columns shares.
double GroupScale(const WeightView& w, int64_t n, int64_t k) {
  if (w.format == WeightFormat::kE4m3) return w.row_scale[n];
  const int64_t group = n * NumGroups(w.k, w.group_size) + k / w.group_size;
  if (w.format == WeightFormat::kE2m1Free) return w.group_scale[group];
  return double{w.row_scale[n]} * PowerOfTwo(-int{w.shift[group]});
}

float Code(const WeightView& w, int64_t n, int64_t k) {
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  if (w.format == WeightFormat::kE4m3) return E4m3ToFloat(data[n * w.k + k]);
  return E2m1ToFloat(UnpackE2m1(data + n * ((w.k + 1) / 2), k));
}

// sum_g scale[g] * sum_{k in g} q[k] * code[k]; the inner sum is exact.
double Dot(const WeightView& w, int64_t n, const uint8_t* q) {
  const int64_t step = w.format == WeightFormat::kE4m3 ? w.k : w.group_size;
  double total = 0;
  for (int64_t begin = 0; begin < w.k; begin += step) {
    const int64_t end = begin + step < w.k ? begin + step : w.k;
    double sum = 0;
    for (int64_t k = begin; k < end; ++k) {
      sum += double{E4m3ToFloat(q[k])} * Code(w, n, k);
    }
    total += GroupScale(w, n, begin) * sum;
  }
  return total;
}

}  // namespace

void MatmulA8(const MatmulA8Args& args, const Exec& exec) noexcept {
  const WeightView& w = args.weight;
  ParallelFor(
      exec, w.n, GrainFor(args.m * w.k), [&](int64_t begin, int64_t end, int) {
        for (int64_t t = 0; t < args.m; ++t) {
          for (int64_t n = begin; n < end; ++n) {
            double sum =
                double{args.x.scale[t]} * Dot(w, n, args.x.data + t * w.k);
            if (args.bias != nullptr) sum += args.bias[n];
            const int64_t at = t * w.n + n;
            if (args.residual != nullptr) sum += args.residual[at];
            args.y[at] = static_cast<float>(sum);
          }
        }
      });
}

}  // namespace zqfp::kernels::reference
