// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_SAFETENSORS_WRITER_H_
#define ZQFP_MODELS_SAFETENSORS_WRITER_H_

// Writes a safetensors file piece by piece: the header is fixed first, then
// each tensor's bytes follow in order, so that memory stays small.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/safetensors.h"

namespace zqfp {

// What the header will say of one tensor.
struct TensorPlan {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// Data starts 64-byte aligned (the header is padded with spaces) and lies with
// the widest dtypes first, so that each tensor is aligned to its dtype without
// a hole. The file appears under `path` only when Finish() returned OK (a write
// error, a full disk or an early destruction leaves nothing behind); until then
// it is PATH.partial-PID.
class SafetensorsWriter {
 public:
  static absl::StatusOr<SafetensorsWriter> Create(const std::string& path,
                                                  std::vector<TensorPlan> plan);
  SafetensorsWriter(SafetensorsWriter&&);
  SafetensorsWriter& operator=(SafetensorsWriter&&);
  ~SafetensorsWriter();

  // The next bytes, in the order of the plan; one call may end a tensor and
  // begin the next.
  absl::Status Append(absl::Span<const uint8_t> bytes);
  // Flushes, syncs and renames; an error where the plan is not filled.
  absl::Status Finish();

 private:
  SafetensorsWriter();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_SAFETENSORS_WRITER_H_
