// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_
#define ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_

// From a Hugging Face directory to a W4A8 one, a block of rows at a time.
//
//   linears of the decoder layers   e2m1
//   lm_head                         as chosen; a tied model gets a head tensor
//                                   of its own where that is e4m3 or e2m1
//                                   (tie_word_embeddings stays as it was)
//   embedding, bf16 head            f32 becomes bf16, rounded to nearest even;
//                                   bf16 and f16 stay as they are
//   norms, biases                   as they are

#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/config.h"
#include "models/quantize/output_directory.h"
#include "models/quantize/rtn.h"

namespace zqfp {

struct QuantizeProgress {
  int64_t done_bytes = 0;  // of the input's tensors
  int64_t total_bytes = 0;
  std::string tensor;  // the one at work
};

struct QuantizeOptions {
  std::string input;
  std::string output;
  ScaleOptions scales;
  HeadFormat lm_head = HeadFormat::kE4m3;
  IfExists if_exists = IfExists::kRefuse;
  int num_threads = 0;  // 0: physical cores
  int64_t max_shard_bytes = 4'000'000'000;
  // Called often; anything but OK ends the work with that status, and leaves
  // nothing behind.
  std::function<absl::Status(const QuantizeProgress&)> progress;
};

struct TensorReport {
  std::string name;    // "model.layers.0.self_attn.q_proj"
  std::string format;  // "e2m1", "e4m3"
  RoundingReport rounding;
};

struct QuantizeReport {
  std::vector<TensorReport> tensors;  // those that were quantized
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t num_files = 0;
};

// Memory: the scales of one tensor and some blocks of a few MB; the pages of
// the input are given back as the work proceeds. Errors name file, tensor,
// wanted and found.
absl::StatusOr<QuantizeReport> QuantizeCheckpoint(
    const QuantizeOptions& options);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_
