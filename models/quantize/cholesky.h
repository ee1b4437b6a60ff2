// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_CHOLESKY_H_
#define ZQFP_MODELS_QUANTIZE_CHOLESKY_H_

// Large f64 triangles on the thread pool: Eigen multiplies blocks, threads
// share them out. Blocks have a fixed size, so that the numbers do not depend
// on the threads.

#include <Eigen/Core>

#include "kernels/core/ops.h"

namespace zqfp {

// matrix = L L^T, in place: reads and writes the lower triangle only. False,
// with the matrix spoilt, where it is not positive definite.
[[nodiscard]] bool FactorCholesky(Eigen::Ref<Eigen::MatrixXd> matrix,
                                  const kernels::Exec& exec);

// The inverse of a lower triangle, in place.
void InvertLower(Eigen::Ref<Eigen::MatrixXd> lower, const kernels::Exec& exec);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_CHOLESKY_H_
