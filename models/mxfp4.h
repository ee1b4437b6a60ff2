// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_MXFP4_H_
#define ZQFP_MODELS_MXFP4_H_

// The scales of MXFP4 (OCP Microscaling Formats 1.0), one power of two 2^(b -
// 127) per group of columns, as the scales that kernels know: never rounded.

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace zqfp {

// e2m1 codes, two a byte, the even column low, [n, k / 2]; ue8m0 [n, groups].
struct Mxfp4Tensor {
  int64_t n = 0;
  int64_t k = 0;  // a multiple of group_size
  int64_t group_size = 32;
  const uint8_t* codes = nullptr;
  const uint8_t* exponents = nullptr;
};

// Either row_scale and shift (every row's exponents lie within the exactness
// window, groups of zeros apart), or group_scale for the whole tensor.
struct Mxfp4Scales {
  std::vector<float> row_scale;    // [n]
  std::vector<uint8_t> shift;      // [n, groups], 0..14
  std::vector<float> group_scale;  // [n, groups]
  int64_t widest_row = 0;  // whose exponents differ most, where group_scale is
  int widest_span = 0;

  bool is_free() const { return !group_scale.empty(); }
};

// DataLoss where a scale is NaN (255), or so large that a weight would be no
// finite f32; `where` opens the message. 2^-127 is a subnormal f32, and exact.
absl::StatusOr<Mxfp4Scales> DecideMxfp4Scales(const Mxfp4Tensor& tensor,
                                              const std::string& where);

}  // namespace zqfp

#endif  // ZQFP_MODELS_MXFP4_H_
