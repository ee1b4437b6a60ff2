// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_GGUF_H_
#define ZQFP_MODELS_GGUF_H_

// The GGUF container, versions 1 to 3: metadata, then tensors, in one mapped
// file. Written as if every file were hostile; one that opened is sound.
//
//   magic "GGUF", u32 version, COUNT of tensors, COUNT of metadata
//   metadata   STRING key, u32 type, value; an array is u32 type, COUNT, values
//   tensors    STRING name, u32 dimensions, COUNT each (innermost first),
//              u32 type, u64 offset from the start of the data
//   data       from the next multiple of general.alignment (32)
// COUNT is u64 (u32 in version 1), STRING a COUNT and that many bytes; all
// numbers are little-endian.

#include <stdint.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace zqfp {

// With the numbers that the format gives them.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// How many values a key has: an array of one is not a scalar.
enum class GgufRank : uint8_t { kScalar, kArray };

struct GgufValue {
  GgufType type = GgufType::kU8;  // of the elements; never kArray
  GgufRank rank = GgufRank::kScalar;
  int64_t count = 1;
  // The elements as they lie in the file; strings with their lengths.
  absl::Span<const uint8_t> bytes;
};

// Metadata and tensors of a file that lies in memory and has to outlive this.
// The Read functions leave *out alone where the key is absent, so that the
// caller's default stands; another type or a value out of range is an
// InvalidArgument "FILE: KEY: want WANTED, found FOUND".
class Gguf {
 public:
  // `name` stands in messages. InvalidArgument for what the format does not
  // allow, Unimplemented names what it allows and we do not read.
  static absl::StatusOr<Gguf> Parse(absl::Span<const uint8_t> file,
                                    const std::string& name);

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  // In the order of their data, under their names in the file; shapes outermost
  // first, as everywhere here: [n, k].
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* Find(const std::string& tensor) const;  // null: absent

  bool Has(const std::string& key) const { return metadata_.count(key) > 0; }
  absl::Status Read(const std::string& key, IntRange range, int64_t* out) const;
  absl::Status Read(const std::string& key, RealRange range, double* out) const;
  absl::Status Read(const std::string& key, bool* out) const;
  absl::Status Read(const std::string& key, std::string* out) const;
  // Arrays; views into the file. Empty where the key is absent.
  absl::StatusOr<std::vector<std::string_view>> Strings(
      const std::string& key) const;
  absl::StatusOr<std::vector<int64_t>> Ints(const std::string& key,
                                            IntRange range) const;
  absl::StatusOr<std::vector<float>> Floats(const std::string& key) const;
  // The bytes of an array of u8 or i8.
  absl::StatusOr<std::string_view> Blob(const std::string& key) const;

  absl::Status Wrong(const std::string& key, const std::string& wanted) const;

 private:
  friend class GgufParser;

  const GgufValue* Get(const std::string& key) const;
  std::string Show(const GgufValue& value) const;

  std::string name_;
  int64_t version_ = 0;
  std::map<std::string, GgufValue> metadata_;
  std::vector<Tensor> tensors_;
};

// A file and what is in it.
struct GgufFile {
  MappedFile file;
  Gguf content;
};

// Where a model is named: `path` itself where that is a regular file, or the
// only *.gguf of a directory without safetensors. "" for any other directory
// or nothing. InvalidArgument where a directory has several and no
// safetensors.
absl::StatusOr<std::string> FindGguf(const std::string& path);

absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGguf(
    const std::string& path);

}  // namespace zqfp

#endif  // ZQFP_MODELS_GGUF_H_
