// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_SAFETENSORS_H_
#define ZQFP_MODELS_SAFETENSORS_H_

// Memory-mapped safetensors: one file, or the shards that an index lists.
// Written as if every file were hostile; a Checkpoint that opened is sound.

#include <stdint.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace zqfp {

enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBf16,
  kE4m3,
  kE5m2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  // Of GGUF files only, 32 elements to a block (models/gguf_blocks.h).
  kQ8Blocks,
  kMxfp4Blocks,
};

std::string_view ToString(DType dtype);  // as in the file: "F32", "F8_E4M3"
int64_t ByteSize(DType dtype);           // of one element or one block
int64_t BlockElements(DType dtype);      // 32 for the block formats, else 1

// One tensor inside a mapped file; `data` lives as long as the Checkpoint.
struct Tensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  int64_t num_bytes = 0;
  std::string file;  // base name of the shard, for messages
  // How another container holds it: "GGUF Q8_0"; "" in safetensors.
  std::string source;
};

int64_t NumElements(const Tensor& tensor);

// "F32 [4096, 1024]", for messages and listings.
std::string Describe(const Tensor& tensor);

// The tensors of one file that lies in memory, in the order of their data;
// they point into `file`. `name` stands in messages. InvalidArgument with
// tensor, wanted and found for anything the format does not allow, and for
// what a loader could not use: no elements, data not aligned to its dtype.
absl::StatusOr<std::vector<Tensor>> ParseSafetensors(
    absl::Span<const uint8_t> file, const std::string& name);

class Checkpoint {
 public:
  // Opens DIRECTORY/model.safetensors, or the shards of
  // DIRECTORY/model.safetensors.index.json (which must stay inside DIRECTORY),
  // or the directory's only *.safetensors file. Where `directory` names a GGUF
  // file (FindGguf), that one's tensors under their Hugging Face names.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);
  // One safetensors file by its path.
  static absl::StatusOr<Checkpoint> OpenFile(const std::string& path);
  // Tensors that another container holds. `memory` keeps alive what they point
  // into. InvalidArgument where two have one name.
  static absl::StatusOr<Checkpoint> FromTensors(const std::string& origin,
                                                std::vector<Tensor> tensors,
                                                std::shared_ptr<void> memory);

  Checkpoint(Checkpoint&&);
  Checkpoint& operator=(Checkpoint&&);
  ~Checkpoint();

  // Sorted by name. Null where there is no such tensor.
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const Tensor* Find(const std::string& name) const;
  // As Find, but NotFound names the tensor and the directory.
  absl::StatusOr<const Tensor*> Get(const std::string& name) const;
  int64_t total_bytes() const;

 private:
  Checkpoint();
  struct Mapping;
  absl::Status AddFile(const std::string& path);
  std::vector<std::unique_ptr<Mapping>> mappings_;
  std::shared_ptr<void> memory_;
  std::map<std::string, Tensor> tensors_;
  std::string origin_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_SAFETENSORS_H_
