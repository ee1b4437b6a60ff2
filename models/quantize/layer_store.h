// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_LAYER_STORE_H_
#define ZQFP_MODELS_QUANTIZE_LAYER_STORE_H_

// The layers that a long job has finished, on disk, so that it can go on after
// an interruption.

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/quantize/quantize_linear.h"

namespace zqfp {

// What to do with layers that an interrupted job left behind.
enum class IfInterrupted : uint8_t { kRefuse, kResume, kStartOver };

// OUTPUT.layers: job.json, which says what the job is, and for each layer
// layer-NNNNN.safetensors with its quantized linears, each with NAME.report. A
// layer is there whole or not at all.
class LayerStore {
 public:
  // `job` describes everything that the result depends on. AlreadyExists where
  // there are layers and they may not be used, or something else is in their
  // place; FailedPrecondition where they are those of another job.
  static absl::StatusOr<LayerStore> Open(const std::string& output,
                                         const std::string& job,
                                         IfInterrupted if_interrupted);

  absl::Status Write(int64_t layer_index,
                     const std::vector<QuantizedLinear>& linears) const;
  // The layer's linears of these shapes; none where the layer is not there.
  struct Shape {
    std::string name;
    int64_t n, k;
  };
  absl::StatusOr<std::vector<QuantizedLinear>> Read(
      int64_t layer_index, const std::vector<Shape>& shapes,
      const LinearScheme& scheme) const;

  int64_t num_layers() const;  // of those from 0 on that are there
  const std::string& path() const { return path_; }
  // Removes everything; the job is done.
  void Remove() const;

 private:
  explicit LayerStore(std::string path) : path_(std::move(path)) {}
  std::string FileOf(int64_t layer_index) const;

  std::string path_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_LAYER_STORE_H_
