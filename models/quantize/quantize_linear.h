// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_QUANTIZE_LINEAR_H_
#define ZQFP_MODELS_QUANTIZE_QUANTIZE_LINEAR_H_

// One whole linear layer: rounded, compensated, as it lies on disk.

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/quantize/gptq.h"
#include "models/quantize/lorc.h"
#include "models/quantize/rtn.h"
#include "models/safetensors.h"
#include "models/safetensors_writer.h"
#include "models/weights.h"

namespace zqfp {

enum class QuantizeMethod : uint8_t { kRtn, kGptq };
std::string_view ToString(QuantizeMethod method);

// What becomes of a decoder linear.
struct LinearScheme {
  QuantizeMethod method = QuantizeMethod::kRtn;
  GridOptions grid;
  LorcOptions lorc;
  // kNone or kE4m3 where the grid is e2m1 or e4m3.
  ActivationFormat activations = ActivationFormat::kE4m3;
  double damping = 0.01;                                  // gptq
  ColumnOrder column_order = ColumnOrder::kByActivation;  // gptq

  // Whether it depends on what the layer reads.
  bool needs_calibration() const {
    return method == QuantizeMethod::kGptq ||
           (lorc.rank > 0 && lorc.weighting == LorcWeighting::kWeighted);
  }
  // Whether the linear becomes f32 again: a simulation.
  bool is_dense() const { return IsInteger(grid.format); }
};

// A linear as its tensors on disk (FORMAT.md).
struct QuantizedLinear {
  struct Piece {
    TensorPlan plan;
    std::vector<uint8_t> bytes;
  };

  std::string name;  // "model.layers.0.self_attn.q_proj"
  int64_t n = 0;
  int64_t k = 0;
  std::vector<Piece> pieces;
  RoundingReport rounding;  // with the compensation
  // |x E^T|^2 / |x W^T|^2 over the calibration's tokens, from at most 64 rows;
  // E = W - what the tensors stand for. As rounding sees it: with the scheme's
  // damping on every column. Negative without a calibration.
  double output_error = -1;

  // The piece NAME + ending; null where there is none.
  const uint8_t* Find(const char* ending) const;
};

struct LinearInput {
  std::string name;
  absl::Span<const float> weights;  // [n, k], finite
  int64_t k = 0;
  // Of the layer's input. Null without a calibration, which the scheme must
  // not need then.
  const HessianFactors* factors = nullptr;
};

QuantizedLinear QuantizeLinear(const LinearScheme& scheme,
                               const LinearInput& input,
                               const QuantizeMachine& machine);

// The tensors of a linear, in the order of QuantizedLinear::pieces.
std::vector<TensorPlan> TensorsOfLinear(const std::string& name, int64_t n,
                                        int64_t k, const LinearScheme& scheme);

// From a file that holds them: an interrupted job that goes on. An error where
// one is missing or has another shape.
absl::StatusOr<QuantizedLinear> ReadLinear(const Checkpoint& file,
                                           const std::string& name, int64_t n,
                                           int64_t k,
                                           const LinearScheme& scheme);

// Makes `target` run the quantized weight; `linear` must outlive its use.
void Attach(const QuantizedLinear& linear, const LinearScheme& scheme,
            LinearWeight* target);

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_QUANTIZE_LINEAR_H_
