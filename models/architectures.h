// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_ARCHITECTURES_H_
#define ZQFP_MODELS_ARCHITECTURES_H_

// Which tensor names an architecture has, which field each fills, its shape,
// and when it must be there. Loading, listing and quantizing walk this table.

#include <stdint.h>

#include <string>
#include <vector>

#include "models/config.h"
#include "models/safetensors.h"
#include "models/weights.h"

namespace zqfp {

// A dimension that a config gives a size.
enum class Dim : uint8_t {
  kModel,
  kFfn,
  kQuery,
  kKeyValue,
  kHead,
  kVocab,
  kPositions
};
int64_t SizeOf(Dim dim, const Config& config);

// The order of a tensor in memory.
enum class TensorOrder : uint8_t {
  kOutputMajor,  // [n, k]
  kInputMajor    // [k, n], as GPT-2's Conv1D has it
};

// A linear layer: NAME.weight [n, k] (or its quantized tensors), NAME.bias [n]
// where the config's flag says so. Where `stored` is set, a checkpoint has
// that tensor instead, with the outputs of all rules of that name one after
// another, unless config.separate_linears.
struct LinearRule {
  const char* name;
  LinearWeight LayerWeights::*field;
  Dim n;
  Dim k;
  bool Config::*bias = nullptr;  // null: never
  const char* stored = nullptr;  // null: name
  TensorOrder order = TensorOrder::kOutputMajor;
};

// A norm: NAME.weight [dim], and NAME.bias [dim] of a LayerNorm.
struct NormRule {
  const char* name;
  NormWeight LayerWeights::*field;
  Dim dim;
  bool Config::*present = nullptr;  // null: always
};

struct TensorTable {
  const char* layer_prefix;  // "model.layers." + index + "." + rule name
  std::vector<LinearRule> linears;
  std::vector<NormRule> norms;
  const char* embedding;            // [vocab, model], .weight
  const char* final_norm;           // [model], .weight
  const char* lm_head;              // [vocab, model]
  const char* positions = nullptr;  // [positions, model], .weight; null: none
  // What the names of a file of the bare model, without a head, lack.
  const char* base_prefix = nullptr;  // null: never
  // Endings of tensors that old exporters wrote and nobody reads.
  std::vector<std::string> ignored_endings;
};

const TensorTable& TensorsOf(Architecture architecture);

// Where the outputs of a rule lie in the tensor that stores it.
struct StoredSlice {
  std::string name;         // "self_attn.qkv_proj", without the layer
  int64_t first = 0;        // of the tensor's outputs
  int64_t num_outputs = 0;  // of the tensor
};
StoredSlice SliceOf(const TensorTable& table, const LinearRule& rule,
                    const Config& config);

// What the checkpoint calls the tensor: `name`, or without base_prefix.
std::string StoredName(const TensorTable& table, const Checkpoint& checkpoint,
                       const std::string& name);

// Some exporters write a tied head a second time. InvalidArgument where both
// tensors are there and are not the same.
absl::Status CheckTiedHead(const Checkpoint& checkpoint,
                           const std::string& embedding,
                           const std::string& head);

// "model.layers.3.self_attn.q_proj"
std::string LayerTensorName(const TensorTable& table, int64_t layer_index,
                            const char* name);

}  // namespace zqfp

#endif  // ZQFP_MODELS_ARCHITECTURES_H_
