// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_TENSOR_JOBS_H_
#define ZQFP_MODELS_QUANTIZE_TENSOR_JOBS_H_

// Executes the jobs of a plan, one tensor after the other.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/quantize/quantize_checkpoint.h"
#include "models/quantize/quantize_plan.h"
#include "models/safetensors_writer.h"

namespace zqfp {

class TensorJobs {
 public:
  // The linears of a calibrated layer, by name.
  using CalibratedLayer = std::map<std::string, QuantizedLinear>;
  struct Options {
    int num_threads = 0;      // 0: physical cores
    int64_t total_bytes = 0;  // of all sources, for the progress
    std::function<absl::Status(const QuantizeProgress&)> progress;
    // Reads a layer of a calibrated job.
    std::function<absl::StatusOr<CalibratedLayer>(int64_t layer_index)> layer;
  };
  static absl::StatusOr<TensorJobs> Create(Options options);

  // Writes the job's outputs and reports what was quantized.
  absl::Status Run(const QuantizeJob& job, SafetensorsWriter& writer,
                   QuantizeReport& report);

 private:
  // What remains to be written when all rows of a tensor are through.
  struct Scales {
    std::vector<float> f32;      // group or row scales
    std::vector<uint8_t> shift;  // m1, m2
  };

  explicit TensorJobs(Options options);
  absl::Status RunBlocks(const QuantizeJob& job, SafetensorsWriter& writer,
                         QuantizeReport& report);
  absl::Status RunWhole(const QuantizeJob& job, SafetensorsWriter& writer,
                        QuantizeReport& report);
  absl::Status WriteLinear(const QuantizedLinear& linear,
                           SafetensorsWriter& writer, QuantizeReport& report,
                           const LinearScheme& scheme);
  absl::Status Encode(const QuantizeJob& job, const Tensor& rows,
                      SafetensorsWriter& writer, RoundingReport& rounding,
                      Scales& scales);
  absl::Status EncodeBf16(const Tensor& rows, SafetensorsWriter& writer);
  void LoadRows(const Tensor& rows);
  absl::Status Report(const std::string& name, int64_t done_bytes);

  Options options_;
  std::unique_ptr<kernels::ThreadPool> pool_;
  kernels::Exec exec_;
  kernels::Backend backend_;
  int64_t done_bytes_ = 0;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
  E2m1Rows e2m1_;
  E4m3Rows e4m3_;
  int64_t layer_index_ = -1;
  CalibratedLayer layer_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_TENSOR_JOBS_H_
