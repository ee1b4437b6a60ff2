// SPDX-License-Identifier: Apache-2.0
// What a GGUF file has to keep to, in the order in which it is checked:
//   1. magic, version 1 to 3, little-endian; one file, not a part of several;
//   2. every count, length and value lies in the file: nothing is allocated or
//      skipped on the word of a number that the bytes do not bear out;
//   3. keys and tensor names are printable ASCII and unique; no nested arrays;
//   4. each tensor has 1 to 4 dimensions of at least 1 whose product does not
//      overflow, a known type, rows of whole blocks, all of its bytes;
//   5. sorted by offset, the tensors follow each other from the first to the
//      last byte of the data with nothing but the alignment between them (so
//      that nothing can hide in a file), aligned so that they can be read in
//      place.
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/gguf.h"

namespace zqfp {
namespace {

constexpr int64_t kMaxNameBytes = 65535;  // of a key, as the format has it
constexpr int64_t kMaxDims = 4;
constexpr int64_t kMaxAlignment = 1 << 20;
constexpr int64_t kDefaultAlignment = 32;
constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr char kAlignmentKey[] = "general.alignment";

// Bytes of one value; 0 for what has no fixed size.
int64_t WidthOf(GgufType type) {
  constexpr int64_t kWidths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kWidths[static_cast<size_t>(type)];
}

// What a tensor may be stored as. Types without a DType are named in errors.
struct TypeRow {
  uint32_t id;
  const char* name;
  std::optional<DType> dtype;
};

constexpr TypeRow kTensorTypes[] = {
    {0, "F32", DType::kF32},
    {1, "F16", DType::kF16},
    {30, "BF16", DType::kBf16},
    {8, "Q8_0", DType::kQ8Blocks},
    {39, "MXFP4", DType::kMxfp4Blocks},
    {2, "Q4_0", {}},
    {3, "Q4_1", {}},
    {6, "Q5_0", {}},
    {7, "Q5_1", {}},
    {9, "Q8_1", {}},
    {10, "Q2_K", {}},
    {11, "Q3_K", {}},
    {12, "Q4_K", {}},
    {13, "Q5_K", {}},
    {14, "Q6_K", {}},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", {}},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", {}},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {40, "NVFP4", {}},
};

bool IsPrintable(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f;
  });
}

int64_t RoundUp(int64_t value, int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

// Goes through the bytes once, from the front.
class GgufParser {
 public:
  GgufParser(absl::Span<const uint8_t> file, const std::string& name)
      : file_(file) {
    gguf_.name_ = name;
  }

  absl::StatusOr<Gguf> Parse();

 private:
  absl::Status Bad(const std::string& message) const {
    return absl::InvalidArgumentError(gguf_.name_ + ": " + message);
  }
  int64_t rest() const {
    return static_cast<int64_t>(file_.size()) - position_;
  }

  absl::StatusOr<absl::Span<const uint8_t>> Take(int64_t count,
                                                 const std::string& what);
  template <typename T>
  absl::StatusOr<T> TakeNumber(const std::string& what);
  absl::StatusOr<int64_t> TakeCount(const std::string& what);
  absl::StatusOr<std::string> TakeName(const std::string& what);
  absl::Status ParseHeader();
  absl::Status ParseKey(int64_t index);
  absl::Status ParseElements(const std::string& key, GgufValue* value);
  absl::Status ParseTensor(int64_t index);
  absl::Status ParseType(Tensor* tensor);
  absl::Status ParseShape(Tensor* tensor);
  absl::Status CheckOnePart() const;
  absl::Status PlaceTensors();

  absl::Span<const uint8_t> file_;
  int64_t position_ = 0;
  int64_t num_tensors_ = 0;
  int64_t num_keys_ = 0;
  std::vector<std::pair<int64_t, Tensor>> placed_;  // offset in the data
  std::set<std::string> names_;
  Gguf gguf_;
};

absl::StatusOr<absl::Span<const uint8_t>> GgufParser::Take(
    int64_t count, const std::string& what) {
  if (count > rest()) {
    return Bad(
        fmt::format("{}: want {} bytes at byte {}, found {} left in the file "
                    "(truncated?)",
                    what, count, position_, rest()));
  }
  const auto span =
      file_.subspan(static_cast<size_t>(position_), static_cast<size_t>(count));
  position_ += count;
  return span;
}

template <typename T>
absl::StatusOr<T> GgufParser::TakeNumber(const std::string& what) {
  ZQFP_ASSIGN_OR_RETURN(const auto bytes, Take(sizeof(T), what));
  T value;
  memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// A count of things that take at least a byte each: more than what is left of
// the file is a lie, whatever they are.
absl::StatusOr<int64_t> GgufParser::TakeCount(const std::string& what) {
  uint64_t count;
  if (gguf_.version_ == 1) {
    ZQFP_ASSIGN_OR_RETURN(count, TakeNumber<uint32_t>(what));
  } else {
    ZQFP_ASSIGN_OR_RETURN(count, TakeNumber<uint64_t>(what));
  }
  if (count > static_cast<uint64_t>(rest())) {
    return Bad(fmt::format(
        "{}: want at most {}, as many bytes are left in the file, found {}",
        what, rest(), count));
  }
  return static_cast<int64_t>(count);
}

absl::StatusOr<std::string> GgufParser::TakeName(const std::string& what) {
  ZQFP_ASSIGN_OR_RETURN(const int64_t length, TakeCount(what + ": length"));
  if (length > kMaxNameBytes) {
    return Bad(fmt::format("{}: want at most {} bytes, found {}", what,
                           kMaxNameBytes, length));
  }
  ZQFP_ASSIGN_OR_RETURN(const auto bytes, Take(length, what));
  std::string name(bytes.begin(), bytes.end());
  if (IsPrintable(name)) return name;
  return Bad(
      fmt::format("{}: want printable ASCII, found {} bytes of "
                  "something else",
                  what, length));
}

absl::Status GgufParser::ParseHeader() {
  ZQFP_ASSIGN_OR_RETURN(const uint32_t magic, TakeNumber<uint32_t>("magic"));
  if (magic != kMagic) {
    return Bad("want a GGUF file, found one that does not begin with \"GGUF\"");
  }
  ZQFP_ASSIGN_OR_RETURN(const uint32_t version,
                        TakeNumber<uint32_t>("version"));
  if (version >= 1 << 16 && (version & 0xffff) == 0) {
    return absl::UnimplementedError(
        gguf_.name_ + ": want a little-endian file, found a big-endian one");
  }
  if (version < 1 || version > 3) {
    return absl::UnimplementedError(fmt::format(
        "{}: want version 1, 2 or 3, found {}", gguf_.name_, version));
  }
  gguf_.version_ = version;
  ZQFP_ASSIGN_OR_RETURN(num_tensors_, TakeCount("number of tensors"));
  ZQFP_ASSIGN_OR_RETURN(num_keys_, TakeCount("number of keys"));
  return absl::OkStatus();
}

// The bytes of value->count elements, each looked at as far as the format says
// something about it.
absl::Status GgufParser::ParseElements(const std::string& key,
                                       GgufValue* value) {
  const int64_t start = position_;
  if (value->type == GgufType::kString) {
    const std::string what = key + ": length";  // once: either may be long
    for (int64_t i = 0; i < value->count; ++i) {
      ZQFP_ASSIGN_OR_RETURN(const int64_t length, TakeCount(what));
      ZQFP_RETURN_IF_ERROR(Take(length, key).status());
    }
    value->bytes = file_.subspan(static_cast<size_t>(start),
                                 static_cast<size_t>(position_ - start));
    return absl::OkStatus();
  }
  const int64_t width = WidthOf(value->type);
  // count is at most the bytes of the file: times 8 it still fits.
  ZQFP_ASSIGN_OR_RETURN(value->bytes, Take(value->count * width, key));
  if (value->type != GgufType::kBool) return absl::OkStatus();
  for (const uint8_t byte : value->bytes) {
    if (byte > 1) {
      return Bad(fmt::format("{}: want a bool of 0 or 1, found {}", key, byte));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseKey(int64_t index) {
  ZQFP_ASSIGN_OR_RETURN(const std::string key,
                        TakeName(fmt::format("key {}", index)));
  const auto take_type = [&]() -> absl::StatusOr<GgufType> {
    ZQFP_ASSIGN_OR_RETURN(const uint32_t type, TakeNumber<uint32_t>(key));
    if (type <= static_cast<uint32_t>(GgufType::kF64)) {
      return static_cast<GgufType>(type);
    }
    return Bad(fmt::format("{}: want a type of 0..12, found {}", key, type));
  };
  GgufValue value;
  ZQFP_ASSIGN_OR_RETURN(value.type, take_type());
  if (value.type == GgufType::kArray) {
    value.rank = GgufRank::kArray;
    ZQFP_ASSIGN_OR_RETURN(value.type, take_type());
    if (value.type == GgufType::kArray) {
      return absl::UnimplementedError(fmt::format(
          "{}: {}: an array of arrays is not supported", gguf_.name_, key));
    }
    ZQFP_ASSIGN_OR_RETURN(value.count, TakeCount(key + ": elements"));
  }
  ZQFP_RETURN_IF_ERROR(ParseElements(key, &value));
  if (gguf_.metadata_.emplace(key, value).second) return absl::OkStatus();
  return Bad(fmt::format("{}: want each key once, found it twice", key));
}

absl::Status GgufParser::ParseType(Tensor* tensor) {
  ZQFP_ASSIGN_OR_RETURN(const uint32_t id,
                        TakeNumber<uint32_t>(tensor->name + ": type"));
  std::string supported;
  std::string found = fmt::format("type {}", id);
  for (const TypeRow& row : kTensorTypes) {
    if (row.id == id && row.dtype) {
      tensor->dtype = *row.dtype;
      tensor->source = fmt::format("GGUF {}", row.name);
      return absl::OkStatus();
    }
    if (row.id == id) found = row.name;
    if (row.dtype) {
      supported += fmt::format("{}{}", supported.empty() ? "" : ", ", row.name);
    }
  }
  return absl::UnimplementedError(
      fmt::format("{}: {}: {} is not supported; supported are {}", gguf_.name_,
                  tensor->name, found, supported));
}

// The dimensions, innermost first in the file.
absl::Status GgufParser::ParseShape(Tensor* tensor) {
  const std::string what = tensor->name + ": dimensions";
  ZQFP_ASSIGN_OR_RETURN(const uint32_t num_dims, TakeNumber<uint32_t>(what));
  if (num_dims < 1 || num_dims > kMaxDims) {
    return Bad(
        fmt::format("{}: want 1..{}, found {}", what, kMaxDims, num_dims));
  }
  int64_t elements = 1;
  for (uint32_t i = 0; i < num_dims; ++i) {
    uint64_t size;
    if (gguf_.version_ == 1) {
      ZQFP_ASSIGN_OR_RETURN(size, TakeNumber<uint32_t>(what));
    } else {
      ZQFP_ASSIGN_OR_RETURN(size, TakeNumber<uint64_t>(what));
    }
    // No tensor has more elements than twice the bytes of its file: a block of
    // 32 takes 17. That also keeps every product below 2^63.
    const uint64_t most = 2 * static_cast<uint64_t>(file_.size());
    if (size < 1 || size > most / static_cast<uint64_t>(elements)) {
      return Bad(fmt::format(
          "{}: want sizes of at least 1 that the file has room for, found {}",
          what, size));
    }
    elements *= static_cast<int64_t>(size);
    tensor->shape.insert(tensor->shape.begin(), static_cast<int64_t>(size));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseTensor(int64_t index) {
  Tensor tensor;
  tensor.file = gguf_.name_;
  ZQFP_ASSIGN_OR_RETURN(tensor.name, TakeName(fmt::format("tensor {}", index)));
  if (!names_.insert(tensor.name).second) {
    return Bad(
        fmt::format("{}: want each tensor once, found it twice", tensor.name));
  }
  ZQFP_RETURN_IF_ERROR(ParseShape(&tensor));
  ZQFP_RETURN_IF_ERROR(ParseType(&tensor));
  const int64_t block = BlockElements(tensor.dtype);
  if (tensor.shape.back() % block != 0) {
    return Bad(fmt::format("{}: want rows of whole blocks of {}, found {}",
                           tensor.name, block, Describe(tensor)));
  }
  tensor.num_bytes = NumElements(tensor) / block * ByteSize(tensor.dtype);
  ZQFP_ASSIGN_OR_RETURN(const uint64_t offset,
                        TakeNumber<uint64_t>(tensor.name + ": offset"));
  if (offset > file_.size()) {
    return Bad(
        fmt::format("{}: want an offset inside the file of {} bytes, found {}",
                    tensor.name, file_.size(), offset));
  }
  placed_.emplace_back(static_cast<int64_t>(offset), std::move(tensor));
  return absl::OkStatus();
}

// Every byte of the data is one tensor's, or fills up to the alignment.
absl::Status GgufParser::PlaceTensors() {
  int64_t alignment = kDefaultAlignment;
  ZQFP_RETURN_IF_ERROR(
      gguf_.Read(kAlignmentKey, IntRange{8, kMaxAlignment}, &alignment));
  if ((alignment & (alignment - 1)) != 0) {
    return gguf_.Wrong(kAlignmentKey, "a power of two");
  }
  const auto size = static_cast<int64_t>(file_.size());
  const int64_t data = RoundUp(position_, alignment);
  std::sort(placed_.begin(), placed_.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  int64_t next = 0;
  for (auto& [offset, tensor] : placed_) {
    const int64_t wanted = RoundUp(next, alignment);
    if (offset != wanted) {
      return Bad(fmt::format("{}: want data at offset {}, found {}: {}",
                             tensor.name, wanted, offset,
                             offset < wanted ? "tensors overlap or are not "
                                               "aligned"
                                             : "a hole before it"));
    }
    if (data > size || tensor.num_bytes > size - data - offset) {
      return Bad(
          fmt::format("{}: want {} bytes of data for {}, found {} left "
                      "in the file (truncated?)",
                      tensor.name, tensor.num_bytes, Describe(tensor),
                      std::max<int64_t>(0, size - data - offset)));
    }
    tensor.data = file_.data() + data + offset;
    next = offset + tensor.num_bytes;
    gguf_.tensors_.push_back(std::move(tensor));
  }
  // Writers fill the last tensor up, or do not. Without tensors there may be
  // no data at all.
  const int64_t most = data + RoundUp(next, alignment);
  if (size > most) {
    return Bad(
        fmt::format("want at most {} bytes, as the tensors say, found "
                    "{}",
                    most, size));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::CheckOnePart() const {
  int64_t parts = 1;
  ZQFP_RETURN_IF_ERROR(gguf_.Read("split.count", IntRange{0, 65535}, &parts));
  if (parts <= 1) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("{}: want a model in one file, found one of {} parts (merge "
                  "them first)",
                  gguf_.name_, parts));
}

absl::StatusOr<Gguf> GgufParser::Parse() {
  ZQFP_RETURN_IF_ERROR(ParseHeader());
  for (int64_t i = 0; i < num_keys_; ++i) ZQFP_RETURN_IF_ERROR(ParseKey(i));
  ZQFP_RETURN_IF_ERROR(CheckOnePart());
  for (int64_t i = 0; i < num_tensors_; ++i) {
    ZQFP_RETURN_IF_ERROR(ParseTensor(i));
  }
  ZQFP_RETURN_IF_ERROR(PlaceTensors());
  return std::move(gguf_);
}

absl::StatusOr<Gguf> Gguf::Parse(absl::Span<const uint8_t> file,
                                 const std::string& name) {
  return GgufParser(file, name).Parse();
}

}  // namespace zqfp
