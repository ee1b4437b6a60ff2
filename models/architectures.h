// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_ARCHITECTURES_H_
#define ZQFP_MODELS_ARCHITECTURES_H_

// Which tensor names an architecture has, which field each fills, its shape,
// and when it must be there. Loading, listing and quantizing walk this table.

#include <stdint.h>

#include <string>
#include <vector>

#include "models/config.h"
#include "models/weights.h"

namespace zqfp {

// A dimension that a config gives a size.
enum class Dim : uint8_t { kModel, kFfn, kQuery, kKeyValue, kHead, kVocab };
int64_t SizeOf(Dim dim, const Config& config);

// A linear layer: NAME.weight [n, k] (or its quantized tensors), NAME.bias [n]
// where the config's flag says so.
struct LinearRule {
  const char* name;
  LinearWeight LayerWeights::*field;
  Dim n;
  Dim k;
  bool Config::*bias;  // null: never
};

// A vector: NAME.weight [dim].
struct NormRule {
  const char* name;
  std::vector<float> LayerWeights::*field;
  Dim dim;
  bool Config::*present;  // null: always
};

struct TensorTable {
  const char* layer_prefix;  // "model.layers." + index + "." + rule name
  std::vector<LinearRule> linears;
  std::vector<NormRule> norms;
  const char* embedding;   // [vocab, model], .weight
  const char* final_norm;  // [model], .weight
  const char* lm_head;     // [vocab, model]
  // Endings of tensors that old exporters wrote and nobody reads.
  std::vector<std::string> ignored_endings;
};

const TensorTable& TensorsOf(Architecture architecture);

// "model.layers.3.self_attn.q_proj"
std::string LayerTensorName(const TensorTable& table, int64_t layer_index,
                            const char* name);

}  // namespace zqfp

#endif  // ZQFP_MODELS_ARCHITECTURES_H_
