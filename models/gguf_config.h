// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_GGUF_CONFIG_H_
#define ZQFP_MODELS_GGUF_CONFIG_H_

// What the metadata of a GGUF file says about a model, as the config.json that
// a Hugging Face checkpoint of it would have: one reader checks both, and a
// quantized copy takes it along.

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/gguf.h"

namespace zqfp {

// The text of a config.json. Unimplemented names an architecture, a rope
// scaling or a key of the architecture that would change the computation in a
// way we do not know; InvalidArgument a value that is missing or wrong.
//
// What the format leaves to the tensors is read from them: no output.weight
// means a tied head, biases are there or not, rope_freqs.weight divides the
// rotary frequencies.
absl::StatusOr<std::string> GgufConfigText(const Gguf& gguf);

// Where a text ends: the ids that the file calls end of text, turn and
// message, and control tokens whose published names say the same (files often
// name the first only).
absl::StatusOr<std::vector<int32_t>> GgufEndIds(const Gguf& gguf);

// The id that begins a text, -1 without one. Files without the key follow
// Llama's sentencepiece models, where it is 1.
absl::StatusOr<int32_t> GgufBeginId(const Gguf& gguf);

}  // namespace zqfp

#endif  // ZQFP_MODELS_GGUF_CONFIG_H_
