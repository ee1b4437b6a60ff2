// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_GGUF_BLOCKS_H_
#define ZQFP_MODELS_GGUF_BLOCKS_H_

// The block formats of GGUF files, and what they become here without a bit of
// loss. 32 neighbours of a row are a block:
//
//   Q8_0   f16 scale, 32 int8:       w = scale * q: 11 times 8 bits, f32
//   exactly MXFP4  u8 exponent b, 16 bytes:  w = 2^(b-127) * e2m1; byte j holds
//   element
//          j in its low nibble and element j + 16 in the high one
//
// MXFP4 in groups of 32 is our e2m1 with power-of-two scales: under one row
// scale (M1) where each row's exponents span at most the exactness window of
// 14, free else. Blocks of zeros only fit anywhere.

#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/core/views.h"
#include "kernels/cpu/thread_pool.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace zqfp {

// Elements [begin, end) of either block format as f32, exactly; both ends are
// multiples of 32.
void ExpandBlocks(const Tensor& tensor, int64_t begin, int64_t end, float* out);

// The whole tensor as f32, in memory of its own.
absl::StatusOr<MappedFile> ExpandTensor(const Tensor& tensor,
                                        kernels::ThreadPool& pool);

// DataLoss, naming file, tensor and block, for a Q8_0 scale that is no finite
// number, and for an MXFP4 exponent that is NaN or leads beyond f32.
absl::Status CheckBlocks(const Tensor& tensor, kernels::ThreadPool& pool);

// An MXFP4 weight [n, k] as ours; `view` (without n and k set) points into
// `memory`.
struct RelaidWeight {
  MappedFile memory;
  kernels::WeightView view;
};
absl::StatusOr<RelaidWeight> RelayMxfp4(const Tensor& tensor,
                                        kernels::ThreadPool& pool);

}  // namespace zqfp

#endif  // ZQFP_MODELS_GGUF_BLOCKS_H_
