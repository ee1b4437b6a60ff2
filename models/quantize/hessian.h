// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_HESSIAN_H_
#define ZQFP_MODELS_QUANTIZE_HESSIAN_H_

// H = sum over calibration tokens of x x^T, the second derivative of a linear
// layer's squared error, and the factors of it that GPTQ and LoRC use.

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace zqfp {

// Which column a sweep rounds first.
enum class ColumnOrder : uint8_t {
  kByActivation,  // largest diagonal of H first ("act-order")
  kAsStored,
};

// Of the damped H with rows and columns in sweep order:
//   H = root root^T,  H^-1 = inverse_root^T inverse_root, both upper triangular
// and inverse of each other. Row j of inverse_root tells how the error of the
// j-th column in the order spreads over the later ones [arXiv:2210.17323].
struct HessianFactors {
  int64_t k = 0;
  ColumnOrder column_order = ColumnOrder::kAsStored;
  std::vector<int32_t> order;       // [k]: the column that comes j-th
  std::vector<float> root;          // [k, k]
  std::vector<float> inverse_root;  // [k, k]
  std::vector<float> importance;    // [k], columns as stored
};

class Hessian {
 public:
  explicit Hessian(int64_t k);

  // Adds `rows` tokens x [rows, k]; `ops` multiplies.
  void Add(const float* x, int64_t rows, const kernels::OpTable& ops,
           const kernels::Exec& exec);

  int64_t k() const { return k_; }
  int64_t num_tokens() const { return num_tokens_; }
  // Mean square of each column, at least a millionth of the largest: what an
  // error in that column costs.
  std::vector<float> Importance() const;

  // Adds damping * (mean of the diagonal) to the diagonal, tenfold as long as
  // the matrix is not positive definite. InvalidArgument where H is not finite
  // or zero. The same numbers whatever the threads.
  absl::StatusOr<HessianFactors> Factor(ColumnOrder order, double damping,
                                        const kernels::Exec& exec) const;

 private:
  float At(int64_t i, int64_t j) const {  // symmetric
    return values_[static_cast<size_t>(i >= j ? i * k_ + j : j * k_ + i)];
  }

  int64_t k_;
  int64_t num_tokens_ = 0;
  std::vector<float> values_;      // [k, k], lower triangle
  std::vector<float> transposed_;  // [k, rows] of the tokens at work
  std::vector<float> product_;     // [some rows, k]
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_HESSIAN_H_
