// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_MATRIX_H_
#define ZQFP_TOOLS_GPU_MATRIX_H_

// GpuMatrix: the weight of one linear layer, random, in as many copies as no
// cache holds: in the layout of our kernels, and in those of the library. Some
// rows are known exactly, to see how far a product is from the truth.

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "tools/gpu_bench.h"

namespace zqfp::tools {

class GpuMatrix {
 public:
  // `format` has group scales.
  static absl::StatusOr<GpuMatrix> Create(GpuBench& bench,
                                          kernels::WeightFormat format,
                                          int64_t n, int64_t k,
                                          int64_t group_size);
  // What the library reads.
  absl::Status AddLibraryCopies(GpuBench& bench);

  int64_t n() const { return packed_[0].view.n; }
  int64_t k() const { return packed_[0].view.k; }
  // As packed, but with the sizes of its arrays on the disk (op_work.h).
  const kernels::WeightView& view() const { return packed_[0].view; }

  int64_t packed_copies() const { return static_cast<int64_t>(packed_.size()); }
  const kernels::WeightView& packed(int64_t call) const {
    return packed_[static_cast<size_t>(call % packed_copies())].view;
  }
  int64_t bf16_copies() const { return bf16_copies_; }
  const uint16_t* bf16(int64_t call) const {
    return static_cast<const uint16_t*>(bf16_.get()) +
           call % bf16_copies_ * n() * k();
  }
  int64_t e4m3_copies() const { return e4m3_copies_; }
  const uint8_t* e4m3(int64_t call) const {
    return static_cast<const uint8_t*>(e4m3_.get()) +
           call % e4m3_copies_ * n() * k();
  }
  const float* row_scale() const {  // of e4m3
    return static_cast<const float*>(row_scale_.get());
  }

  // Rows of the first packed copy, and their weights.
  const std::vector<int64_t>& sampled_rows() const { return sampled_rows_; }
  const std::vector<double>& sampled(size_t index) const {
    return sampled_[index];
  }

 private:
  absl::Status Sample(GpuBench& bench, const kernels::WeightView& raw);

  std::vector<kernels::PlacedWeight> packed_;
  kernels::DeviceMemory bf16_, e4m3_, row_scale_;
  int64_t bf16_copies_ = 0, e4m3_copies_ = 0;
  std::vector<int64_t> sampled_rows_;
  std::vector<std::vector<double>> sampled_;
};

// Tokens for any number of rows up to `most`: e4m3 with scales, bf16, and room
// for the outputs.
struct GpuTokens {
  kernels::DeviceMemory e4m3, bf16, scale, y;
  int64_t most = 0;
  int64_t k = 0;
  float token_scale = 0;  // of each

  static absl::StatusOr<GpuTokens> Create(GpuBench& bench, int64_t most,
                                          int64_t n, int64_t k);
  kernels::QuantizedTokensView view() const {
    return {static_cast<const uint8_t*>(e4m3.get()),
            static_cast<const float*>(scale.get())};
  }
};

// How far y [m, n] is from the exact product, over the sampled rows and the
// first tokens: the norm of the error by that of the product, and the largest
// error by the largest output.
struct ProductError {
  double relative = 0;
  double largest = 0;
};
absl::StatusOr<ProductError> ErrorOf(GpuBench& bench, const GpuMatrix& matrix,
                                     const GpuTokens& tokens, int64_t m);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_MATRIX_H_
