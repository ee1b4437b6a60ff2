// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_
#define ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_

// From a Hugging Face directory, or a GGUF file, to a quantized directory.
//
//   linears of the decoder layers   as the scheme says
//   lm_head                         as chosen; a tied model gets a head tensor
//                                   of its own where that is e4m3 or e2m1
//                                   (tie_word_embeddings stays as it was)
//   embedding, bf16 head            f32 becomes bf16, rounded to nearest even;
//                                   bf16 and f16 stay as they are
//   norms, biases, kept linears     as they are
//
// Round to nearest goes through the file a block of rows at a time, low-rank
// compensation a tensor at a time. What needs a calibration goes layer by layer
// first, with every finished layer on disk (layer_store.h).

#include <stdint.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/certificate.h"
#include "models/config.h"
#include "models/quantize/layer_quantizer.h"
#include "models/quantize/layer_store.h"
#include "models/quantize/output_directory.h"
#include "models/quantize/quantize_linear.h"

namespace zqfp {

struct QuantizeProgress {
  double share = 0;  // of the phase, 0..1
  std::string note;  // what is at work: "model.norm", "layer 3 of 22"
};

// What the calibration's text is, for the record.
struct CalibrationSource {
  std::string text;       // its file's name
  std::string text_hash;  // xxh64 of its bytes
};

struct TensorReport {
  std::string name;    // "model.layers.0.self_attn.q_proj"
  std::string format;  // "e2m1", "e4m3", ...
  RoundingReport rounding;
  double output_error = -1;  // see QuantizedLinear
};

struct LayerReport {
  int64_t layer_index = 0;
  int64_t num_layers = 0;
  double seconds = 0;  // 0: from an earlier run
  std::vector<TensorReport> tensors;
};

struct QuantizeOptions {
  std::string input;
  std::string output;
  LinearScheme linears;
  HeadFormat lm_head = HeadFormat::kE4m3;
  // Whether a decoder linear stays as it is; may be empty.
  std::function<bool(const std::string& name)> keep;
  // Of a scheme that needs them: token ids, and how layers are gone through.
  std::vector<std::vector<int32_t>> calibration;
  CalibrationSource calibration_source;
  StageOrder stages = StageOrder::kTrueSequential;
  IfExists if_exists = IfExists::kRefuse;
  IfInterrupted if_interrupted = IfInterrupted::kRefuse;
  int num_threads = 0;  // 0: physical cores
  int64_t max_shard_bytes = 4'000'000'000;
  // Files, name to content, to write in place of those that stand beside the
  // input: a GGUF file has its tokenizer inside (TokenizerFilesOfGguf).
  std::map<std::string, std::string> companions;
  // Measures the finished model, in the directory where it lies before it gets
  // its name; what comes back goes into its certificate.json.
  std::function<absl::StatusOr<Certificate>(const std::string& directory)>
      certify;
  // Called often; anything but OK ends the work with that status, and leaves
  // nothing behind but finished layers of a calibrated job.
  std::function<absl::Status(const QuantizeProgress&)> progress;
  std::function<void(const LayerReport&)> on_layer;
};

struct QuantizeReport {
  std::vector<TensorReport> tensors;  // those that were quantized
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t num_files = 0;
  int64_t num_expanded = 0;  // tensors that were Q8_0 blocks of a GGUF file
};

// The config of a model that can be quantized: one in full precision.
// FailedPrecondition names what it is where it is quantized already.
absl::StatusOr<Config> LoadFullPrecisionConfig(const std::string& input);

// Memory: blocks of a few MB; with low-rank compensation some copies of one
// tensor; with a calibration what layer_quantizer.h says. The pages of the
// input are given back as the work proceeds. Errors name file, tensor, wanted
// and found.
absl::StatusOr<QuantizeReport> QuantizeCheckpoint(
    const QuantizeOptions& options);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_QUANTIZE_CHECKPOINT_H_
