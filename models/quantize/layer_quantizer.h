// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_LAYER_QUANTIZER_H_
#define ZQFP_MODELS_QUANTIZE_LAYER_QUANTIZER_H_

// Quantizing with a calibration: the tokens go through the model layer by
// layer, and what each linear reads of them decides how it is rounded.
//
// The inputs of a layer come from the layers before it as they are already
// quantized, with activations rounded as they will be. Within a layer
// (kTrueSequential) the linears that read one input are rounded together, in
// the order q/k/v, o, gate/up, down, each after those before it:
//
//   for each stage:   run the layer from the stage before up to this one, add
//                     up its Hessian; round the linears of the stage
//   at last:          run the last stage, for the next layer's inputs

#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/quantize/quantize_linear.h"

namespace zqfp {

enum class StageOrder : uint8_t {
  kTrueSequential,
  kWholeLayer,  // all Hessians of a layer from its unquantized linears
};

struct LayerQuantizerOptions {
  std::string input;  // directory of the full-precision model
  LinearScheme scheme;
  StageOrder stages = StageOrder::kTrueSequential;
  std::vector<std::vector<int32_t>> calibration;  // sequences of token ids
  int num_threads = 0;                            // 0: physical cores
  // Whether a linear stays as it is.
  std::function<bool(const std::string& name)> keep;
  // Linears of a layer from an earlier run, in the order of the table, or none.
  std::function<absl::StatusOr<std::vector<QuantizedLinear>>(
      int64_t layer_index)>
      load;
  // Called with each layer's linears as soon as they are there.
  std::function<absl::Status(int64_t layer_index,
                             const std::vector<QuantizedLinear>& linears)>
      store;
  // Called often: layers done, and the part of the present one, 0..1. Anything
  // but OK ends the work.
  std::function<absl::Status(int64_t layer_index, double part)> progress;
};

// Memory: one layer's weights in f32 at most (mapped ones of the rest), its
// Hessians with their factors, and of each token the f32 hidden state and what
// a stage reads (as wide as the feed-forward at most).
absl::Status QuantizeByLayer(const LayerQuantizerOptions& options);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_LAYER_QUANTIZER_H_
