// SPDX-License-Identifier: Apache-2.0
// What a file has to keep to, in the order in which it is checked:
//   1. 8 bytes of header length, at most 100 MB and at most the file;
//   2. the header is one JSON object, starting with its brace, UTF-8, without
//      duplicate keys and without deep nesting;
//   3. each tensor has a known dtype, dimensions of at least 1 whose product
//      does not overflow, and exactly as many bytes as those say;
//   4. sorted by offset, the tensors follow each other without hole or overlap
//      from the first to the last byte of the data (so that nothing can hide
//      in a file), each aligned to its dtype (so that it can be read in place);
//   5. an index names plain files of its own directory, and index and shards
//      agree on every tensor in both directions.
#include "models/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/gguf.h"
#include "models/gguf_checkpoint.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // as the format's own reader
constexpr int64_t kMaxIndexBytes = 100'000'000;
constexpr int64_t kMaxDims = 16;
constexpr int64_t kLengthBytes = 8;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// In the order of the enum.
struct DTypeRow {
  DType dtype;
  const char* name;
  int64_t num_bytes;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kF64, "F64", 8},        {DType::kF32, "F32", 4},
    {DType::kF16, "F16", 2},        {DType::kBf16, "BF16", 2},
    {DType::kE4m3, "F8_E4M3", 1},   {DType::kE5m2, "F8_E5M2", 1},
    {DType::kI64, "I64", 8},        {DType::kI32, "I32", 4},
    {DType::kI16, "I16", 2},        {DType::kI8, "I8", 1},
    {DType::kU8, "U8", 1},          {DType::kBool, "BOOL", 1},
    {DType::kQ8Blocks, "Q8_0", 34}, {DType::kMxfp4Blocks, "MXFP4", 17},
};

const DTypeRow& Row(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

absl::Status Bad(const std::string& message) {
  return absl::InvalidArgumentError(message);
}

absl::StatusOr<DType> ParseDType(const JsonReader& entry) {
  std::string name;
  ZQFP_RETURN_IF_ERROR(entry.Require("dtype", &name));
  std::vector<std::string> known;
  for (const DTypeRow& row : kDTypes) {
    if (BlockElements(row.dtype) > 1) continue;  // not of this format
    if (name == row.name) return row.dtype;
    known.push_back(row.name);
  }
  return entry.Wrong("dtype", fmt::format("one of {}", fmt::join(known, ", ")));
}

// Reads the shape and returns the bytes it takes, checked for overflow.
absl::StatusOr<int64_t> ParseShape(const JsonReader& entry, Tensor& tensor) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  const json* shape = entry.Find("shape");
  if (shape == nullptr || !shape->is_array()) {
    return entry.Wrong("shape", "a list of dimensions");
  }
  if (shape->size() > kMaxDims) {
    return entry.Wrong("shape", fmt::format("at most {} dimensions", kMaxDims));
  }
  int64_t num_bytes = ByteSize(tensor.dtype);
  for (const json& dim : *shape) {
    ZQFP_ASSIGN_OR_RETURN(
        const int64_t size,
        ToInt(dim, {1, kLargest}, entry.where() + ": a dimension of shape"));
    // Divides before it multiplies: the product itself may not exist.
    if (size > kLargest / num_bytes) {
      return entry.Wrong("shape", "a size that fits in 63 bits");
    }
    num_bytes *= size;
    tensor.shape.push_back(size);
  }
  return num_bytes;
}

// One entry of the header; data_bytes follow it in the file.
absl::StatusOr<Tensor> ParseEntry(const std::string& name, const json& value,
                                  absl::Span<const uint8_t> data,
                                  const std::string& file) {
  const std::string where = fmt::format("{}: {}", file, name);
  if (!value.is_object()) {
    return Bad(
        fmt::format("{}: want an object with dtype, shape and "
                    "data_offsets, found {}",
                    where, Excerpt(value)));
  }
  const JsonReader entry(value, where);
  for (const auto& item : value.items()) {
    if (item.key() != "dtype" && item.key() != "shape" &&
        item.key() != "data_offsets") {
      return Bad(fmt::format("{}: unknown key \"{}\"", where, item.key()));
    }
  }
  Tensor tensor;
  tensor.name = name;
  tensor.file = file;
  ZQFP_ASSIGN_OR_RETURN(tensor.dtype, ParseDType(entry));
  ZQFP_ASSIGN_OR_RETURN(const int64_t wanted, ParseShape(entry, tensor));
  const json* offsets = entry.Find("data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2) {
    return entry.Wrong("data_offsets", "[begin, end]");
  }
  // Both ends are compared with the bytes that are really there.
  const auto size = static_cast<int64_t>(data.size());
  const std::string what = where + ": data_offsets";
  ZQFP_ASSIGN_OR_RETURN(const int64_t begin,
                        ToInt((*offsets)[0], {0, size}, what));
  ZQFP_ASSIGN_OR_RETURN(const int64_t end,
                        ToInt((*offsets)[1], {begin, size}, what));
  if (end - begin != wanted) {
    return Bad(fmt::format("{}: want {} bytes for {}, found {} in data_offsets",
                           where, wanted, Describe(tensor), end - begin));
  }
  tensor.data = data.data() + begin;
  tensor.num_bytes = wanted;
  return tensor;
}

// Free text of whoever wrote the file; nothing here reads it.
absl::Status CheckMetadata(const json& value, const std::string& file) {
  bool sound = value.is_object();
  if (sound) {
    for (const json& item : value) sound = sound && item.is_string();
  }
  if (sound) return absl::OkStatus();
  return Bad(fmt::format("{}: __metadata__: want a map of strings, found {}",
                         file, Excerpt(value)));
}

// Every byte of the data belongs to exactly one tensor.
absl::Status CheckLayout(const std::vector<Tensor>& tensors,
                         absl::Span<const uint8_t> file,
                         absl::Span<const uint8_t> data,
                         const std::string& name) {
  const uint8_t* next = data.data();
  for (const Tensor& tensor : tensors) {
    const int64_t offset = tensor.data - data.data();
    if (tensor.data != next) {
      return Bad(fmt::format(
          "{}: {}: want data at offset {}, found {}: {}", name, tensor.name,
          next - data.data(), offset,
          tensor.data < next ? "tensors overlap" : "a hole before it"));
    }
    const int64_t position = tensor.data - file.data();
    if (position % ByteSize(tensor.dtype) != 0) {
      return Bad(
          fmt::format("{}: {}: want data aligned to {} bytes, found it "
                      "at byte {} of the file",
                      name, tensor.name, ByteSize(tensor.dtype), position));
    }
    next += tensor.num_bytes;
  }
  if (next != data.data() + data.size()) {
    return Bad(
        fmt::format("{}: want {} bytes of data, as the header says, "
                    "found {}",
                    name, next - data.data(), data.size()));
  }
  return absl::OkStatus();
}

// The header's text; sets `data` to what follows it.
absl::StatusOr<absl::Span<const uint8_t>> FindHeader(
    absl::Span<const uint8_t> file, const std::string& name,
    absl::Span<const uint8_t>* data) {
  const auto file_bytes = static_cast<int64_t>(file.size());
  if (file_bytes <= kLengthBytes) {
    return Bad(fmt::format("{}: want a safetensors file, found {} bytes", name,
                           file_bytes));
  }
  // Little-endian on every machine; unsigned, so that no length is negative.
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | file[i];
  if (length > kMaxHeaderBytes) {
    return Bad(fmt::format("{}: want a header of at most {} bytes, found {}",
                           name, kMaxHeaderBytes, length));
  }
  const auto rest = static_cast<uint64_t>(file_bytes - kLengthBytes);
  if (length > rest) {
    return Bad(
        fmt::format("{}: want a header of {} bytes, found {} bytes left "
                    "in the file (truncated?)",
                    name, length, rest));
  }
  if (length == 0 || file[kLengthBytes] != '{') {
    return Bad(
        fmt::format("{}: want a header that starts with '{{', found "
                    "something else",
                    name));
  }
  *data = file.subspan(kLengthBytes + length);
  return file.subspan(kLengthBytes, length);
}

}  // namespace

std::string_view ToString(DType dtype) { return Row(dtype).name; }

int64_t ByteSize(DType dtype) { return Row(dtype).num_bytes; }

int64_t BlockElements(DType dtype) {
  return dtype == DType::kQ8Blocks || dtype == DType::kMxfp4Blocks ? 32 : 1;
}

int64_t NumElements(const Tensor& tensor) {
  int64_t count = 1;
  for (const int64_t dim : tensor.shape) count *= dim;
  return count;
}

std::string Describe(const Tensor& tensor) {
  return fmt::format("{} [{}]", Row(tensor.dtype).name,
                     fmt::join(tensor.shape, ", "));
}

absl::StatusOr<std::vector<Tensor>> ParseSafetensors(
    absl::Span<const uint8_t> file, const std::string& name) {
  absl::Span<const uint8_t> data;
  ZQFP_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> text,
                        FindHeader(file, name, &data));
  const char* begin = reinterpret_cast<const char*>(text.data());
  ZQFP_ASSIGN_OR_RETURN(const json header,
                        ParseJson(begin, begin + text.size(), name));
  std::vector<Tensor> tensors;
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") {
      ZQFP_RETURN_IF_ERROR(CheckMetadata(item.value(), name));
      continue;
    }
    ZQFP_ASSIGN_OR_RETURN(Tensor tensor,
                          ParseEntry(item.key(), item.value(), data, name));
    tensors.push_back(std::move(tensor));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.data < b.data; });
  ZQFP_RETURN_IF_ERROR(CheckLayout(tensors, file, data, name));
  return tensors;
}

struct Checkpoint::Mapping {
  MappedFile file;
};

Checkpoint::Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) = default;
Checkpoint::~Checkpoint() = default;

absl::Status Checkpoint::AddFile(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  ZQFP_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  mappings_.push_back(std::make_unique<Mapping>(Mapping{std::move(file)}));
  ZQFP_ASSIGN_OR_RETURN(std::vector<Tensor> tensors,
                        ParseSafetensors(mappings_.back()->file.bytes(), name));
  for (Tensor& tensor : tensors) {
    const std::string key = tensor.name;
    const auto [place, is_new] = tensors_.emplace(key, std::move(tensor));
    if (!is_new) {
      return Bad(fmt::format("{}: {}: want it in one shard, found it in {} too",
                             name, key, place->second.file));
    }
  }
  return absl::OkStatus();
}

namespace {

// A shard's name may not lead out of the directory.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

// weight_map of the index; "metadata" beside it is not needed.
absl::StatusOr<WeightMap> ReadIndex(const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxIndexBytes));
  ZQFP_ASSIGN_OR_RETURN(
      const json root,
      ParseJson(text.data(), text.data() + text.size(), kIndexFile));
  if (!root.is_object()) {
    return Bad(
        fmt::format("{}: want an object, found {}", kIndexFile, Excerpt(root)));
  }
  ZQFP_ASSIGN_OR_RETURN(const JsonReader entries,
                        JsonReader(root, kIndexFile).Object("weight_map"));
  if (entries.object().empty()) {
    return entries.Wrong("*", "at least one tensor");
  }
  WeightMap weight_map;
  for (const auto& item : entries.object().items()) {
    const auto* shard = item.value().get_ptr<const std::string*>();
    if (shard == nullptr || !IsPlainName(*shard)) {
      return Bad(
          fmt::format("{}: {}: want the name of a file in the model's "
                      "directory, found {}",
                      kIndexFile, item.key(), Excerpt(item.value())));
    }
    weight_map.emplace(item.key(), *shard);
  }
  return weight_map;
}

// The index and the shards list the same tensors in the same files.
absl::Status CheckIndex(const WeightMap& weight_map,
                        const std::map<std::string, Tensor>& tensors) {
  for (const auto& [name, shard] : weight_map) {
    const auto place = tensors.find(name);
    if (place == tensors.end() || place->second.file != shard) {
      return Bad(fmt::format("{}: {}: want it in {}, found it {}{}", kIndexFile,
                             name, shard,
                             place == tensors.end() ? "nowhere" : "in ",
                             place == tensors.end() ? "" : place->second.file));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (weight_map.count(name) == 0) {
      return Bad(
          fmt::format("{}: {}: want it in the index too, found it in "
                      "the file only",
                      tensor.file, name));
    }
  }
  return absl::OkStatus();
}

// The only *.safetensors of the directory.
absl::StatusOr<std::string> OnlyFile(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> found;
  bool has_other_weights = false;
  fs::directory_iterator entry(directory, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    if (extension == ".safetensors") found.push_back(entry->path().string());
    if (extension == ".bin" || extension == ".pth") has_other_weights = true;
  }
  if (error) {
    return absl::NotFoundError(fmt::format("{}: cannot list the directory: {}",
                                           directory, error.message()));
  }
  if (found.size() == 1) return found[0];
  return absl::NotFoundError(fmt::format(
      "{}: want {}, {} or one *.safetensors file, found {} of the latter{}",
      directory, kSingleFile, kIndexFile, found.size(),
      has_other_weights && found.empty()
          ? " (weights in .bin or .pth files are not read: convert them to "
            "safetensors first)"
          : ""));
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  namespace fs = std::filesystem;
  ZQFP_ASSIGN_OR_RETURN(const std::string gguf, FindGguf(directory));
  if (!gguf.empty()) return OpenGgufCheckpoint(gguf);
  std::error_code error;
  const fs::path base(directory);
  if (fs::exists(base / kSingleFile, error)) {
    return OpenFile((base / kSingleFile).string());
  }
  if (!fs::exists(base / kIndexFile, error)) {
    ZQFP_ASSIGN_OR_RETURN(const std::string path, OnlyFile(directory));
    return OpenFile(path);
  }
  ZQFP_ASSIGN_OR_RETURN(const WeightMap weight_map,
                        ReadIndex((base / kIndexFile).string()));
  // Each shard once, whatever the number of its tensors.
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  Checkpoint checkpoint;
  checkpoint.origin_ = directory;
  for (const std::string& shard : shards) {
    ZQFP_RETURN_IF_ERROR(checkpoint.AddFile((base / shard).string()));
  }
  ZQFP_RETURN_IF_ERROR(CheckIndex(weight_map, checkpoint.tensors_));
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::OpenFile(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.origin_ = path;
  ZQFP_RETURN_IF_ERROR(checkpoint.AddFile(path));
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::FromTensors(
    const std::string& origin, std::vector<Tensor> tensors,
    std::shared_ptr<void> memory) {
  Checkpoint checkpoint;
  checkpoint.origin_ = origin;
  checkpoint.memory_ = std::move(memory);
  for (Tensor& tensor : tensors) {
    const std::string key = tensor.name;
    const std::string file = tensor.file;
    if (!checkpoint.tensors_.emplace(key, std::move(tensor)).second) {
      return Bad(
          fmt::format("{}: {}: want it once, found it twice", file, key));
    }
  }
  return checkpoint;
}

const Tensor* Checkpoint::Find(const std::string& name) const {
  const auto place = tensors_.find(name);
  return place == tensors_.end() ? nullptr : &place->second;
}

absl::StatusOr<const Tensor*> Checkpoint::Get(const std::string& name) const {
  const Tensor* tensor = Find(name);
  if (tensor != nullptr) return tensor;
  return absl::NotFoundError(
      fmt::format("{}: want tensor {}, found no such name among {}", origin_,
                  name, tensors_.size()));
}

int64_t Checkpoint::total_bytes() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.num_bytes;
  return total;
}

}  // namespace zqfp
