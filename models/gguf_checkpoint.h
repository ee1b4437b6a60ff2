// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_GGUF_CHECKPOINT_H_
#define ZQFP_MODELS_GGUF_CHECKPOINT_H_

// The tensors of a GGUF file under the names that models/architectures.cc has.
//
// They stay in the mapped file, as they are, but for the query and key
// projections of architecture "llama": there the format interleaves the rows
// of each head for its own rotary embedding (row 2i and 2i + 1 are a pair),
// where Hugging Face has the two halves one after the other (i and
// i + head_dim / 2). They are put back in order, whole rows, in memory of
// their own.

#include <string>

#include "absl/status/statusor.h"
#include "models/safetensors.h"

namespace zqfp {

// Unimplemented names a tensor that the architecture does not have.
absl::StatusOr<Checkpoint> OpenGgufCheckpoint(const std::string& path);

}  // namespace zqfp

#endif  // ZQFP_MODELS_GGUF_CHECKPOINT_H_
