// SPDX-License-Identifier: Apache-2.0
#include "models/gguf.h"

#include <fmt/format.h>
#include <string.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

template <typename T>
T Load(const uint8_t* bytes) {
  T value;
  memcpy(&value, bytes, sizeof(T));
  return value;
}

const char* NameOf(GgufType type) {
  constexpr const char* kNames[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                    "i32", "f32", "bool", "string", "array",
                                    "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

// Element `index` as an integer; nothing where it is none of 63 bits.
std::optional<int64_t> IntAt(const GgufValue& value, int64_t index) {
  const uint8_t* at = value.bytes.data();
  switch (value.type) {
    case GgufType::kU8:
      return at[index];
    case GgufType::kI8:
      return Load<int8_t>(at + index);
    case GgufType::kU16:
      return Load<uint16_t>(at + index * 2);
    case GgufType::kI16:
      return Load<int16_t>(at + index * 2);
    case GgufType::kU32:
      return Load<uint32_t>(at + index * 4);
    case GgufType::kI32:
      return Load<int32_t>(at + index * 4);
    case GgufType::kI64:
      return Load<int64_t>(at + index * 8);
    case GgufType::kU64: {
      const auto wide = Load<uint64_t>(at + index * 8);
      if (wide > std::numeric_limits<int64_t>::max()) return std::nullopt;
      return static_cast<int64_t>(wide);
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

const Tensor* Gguf::Find(const std::string& tensor) const {
  for (const Tensor& candidate : tensors_) {
    if (candidate.name == tensor) return &candidate;
  }
  return nullptr;
}

const GgufValue* Gguf::Get(const std::string& key) const {
  const auto place = metadata_.find(key);
  return place == metadata_.end() ? nullptr : &place->second;
}

// A value as it suits a message.
std::string Gguf::Show(const GgufValue& value) const {
  if (value.rank == GgufRank::kArray) {
    return fmt::format("{} values of {}", value.count, NameOf(value.type));
  }
  switch (value.type) {
    case GgufType::kString: {
      const size_t length = version_ == 1 ? 4 : 8;
      return Excerpt(
          std::string(value.bytes.begin() + length, value.bytes.end()));
    }
    case GgufType::kBool:
      return value.bytes[0] != 0 ? "true" : "false";
    case GgufType::kF32:
      return fmt::format("{:g}", Load<float>(value.bytes.data()));
    case GgufType::kF64:
      return fmt::format("{:g}", Load<double>(value.bytes.data()));
    default: {
      const std::optional<int64_t> number = IntAt(value, 0);
      return number ? fmt::format("{}", *number) : "a number above 2^63";
    }
  }
}

absl::Status Gguf::Wrong(const std::string& key,
                         const std::string& wanted) const {
  const GgufValue* value = Get(key);
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: want {}, found {}", name_, key, wanted,
                  value == nullptr ? "nothing" : Show(*value)));
}

absl::Status Gguf::Read(const std::string& key, IntRange range,
                        int64_t* out) const {
  const GgufValue* value = Get(key);
  if (value == nullptr) return absl::OkStatus();
  const std::optional<int64_t> number =
      value->rank == GgufRank::kScalar ? IntAt(*value, 0) : std::nullopt;
  if (!number || *number < range.min || *number > range.max) {
    return Wrong(key,
                 fmt::format("an integer of {}..{}", range.min, range.max));
  }
  *out = *number;
  return absl::OkStatus();
}

absl::Status Gguf::Read(const std::string& key, RealRange range,
                        double* out) const {
  const GgufValue* value = Get(key);
  if (value == nullptr) return absl::OkStatus();
  double number = std::numeric_limits<double>::quiet_NaN();
  if (value->rank == GgufRank::kScalar) {
    const std::optional<int64_t> integer = IntAt(*value, 0);
    if (integer) number = static_cast<double>(*integer);
    if (value->type == GgufType::kF32) {
      number = Load<float>(value->bytes.data());
    } else if (value->type == GgufType::kF64) {
      number = Load<double>(value->bytes.data());
    }
  }
  // Written so that a NaN fails, too.
  if (!(number >= range.min && number <= range.max)) {
    return Wrong(key,
                 fmt::format("a number of {:g}..{:g}", range.min, range.max));
  }
  *out = number;
  return absl::OkStatus();
}

absl::Status Gguf::Read(const std::string& key, bool* out) const {
  const GgufValue* value = Get(key);
  if (value == nullptr) return absl::OkStatus();
  if (value->rank != GgufRank::kScalar || value->type != GgufType::kBool) {
    return Wrong(key, "true or false");
  }
  *out = value->bytes[0] != 0;
  return absl::OkStatus();
}

absl::Status Gguf::Read(const std::string& key, std::string* out) const {
  const GgufValue* value = Get(key);
  if (value == nullptr) return absl::OkStatus();
  if (value->rank != GgufRank::kScalar || value->type != GgufType::kString) {
    return Wrong(key, "a string");
  }
  const size_t length = version_ == 1 ? 4 : 8;
  out->assign(value->bytes.begin() + length, value->bytes.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string_view>> Gguf::Strings(
    const std::string& key) const {
  std::vector<std::string_view> strings;
  const GgufValue* value = Get(key);
  if (value == nullptr) return strings;
  if (value->rank != GgufRank::kArray || value->type != GgufType::kString) {
    return Wrong(key, "a list of strings");
  }
  // The parser has seen that many lengths in the file.
  strings.reserve(static_cast<size_t>(value->count));
  const char* at = reinterpret_cast<const char*>(value->bytes.data());
  for (int64_t i = 0; i < value->count; ++i) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(at);
    const uint64_t length =
        version_ == 1 ? Load<uint32_t>(bytes) : Load<uint64_t>(bytes);
    at += version_ == 1 ? 4 : 8;
    strings.emplace_back(at, static_cast<size_t>(length));
    at += length;
  }
  return strings;
}

absl::StatusOr<std::vector<int64_t>> Gguf::Ints(const std::string& key,
                                                IntRange range) const {
  std::vector<int64_t> numbers;
  const GgufValue* value = Get(key);
  if (value == nullptr) return numbers;
  if (value->rank != GgufRank::kArray) return Wrong(key, "a list of integers");
  for (int64_t i = 0; i < value->count; ++i) {
    const std::optional<int64_t> number = IntAt(*value, i);
    if (!number || *number < range.min || *number > range.max) {
      return Wrong(key, fmt::format("integers of {}..{} throughout (element {} "
                                    "is none)",
                                    range.min, range.max, i));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

absl::StatusOr<std::vector<float>> Gguf::Floats(const std::string& key) const {
  std::vector<float> numbers;
  const GgufValue* value = Get(key);
  if (value == nullptr) return numbers;
  if (value->rank != GgufRank::kArray || value->type != GgufType::kF32) {
    return Wrong(key, "a list of f32");
  }
  for (int64_t i = 0; i < value->count; ++i) {
    numbers.push_back(Load<float>(value->bytes.data() + i * 4));
    if (!std::isfinite(numbers.back())) {
      return Wrong(key, fmt::format("finite numbers (element {} is none)", i));
    }
  }
  return numbers;
}

absl::StatusOr<std::string_view> Gguf::Blob(const std::string& key) const {
  const GgufValue* value = Get(key);
  if (value == nullptr) return std::string_view();
  if (value->rank != GgufRank::kArray ||
      (value->type != GgufType::kU8 && value->type != GgufType::kI8)) {
    return Wrong(key, "a list of bytes");
  }
  return std::string_view(reinterpret_cast<const char*>(value->bytes.data()),
                          value->bytes.size());
}

absl::StatusOr<std::string> FindGguf(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::is_regular_file(path, error)) return path;
  std::vector<std::string> found;
  fs::directory_iterator entry(path, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(".safetensors") ||
        name.ends_with(".safetensors.index.json")) {
      return std::string();
    }
    if (name.ends_with(".gguf")) found.push_back(entry->path().string());
  }
  // A directory that cannot be listed is the next reader's error to report.
  if (error || found.empty()) return std::string();
  if (found.size() == 1) return found[0];
  return absl::InvalidArgumentError(fmt::format(
      "{}: want one *.gguf file, found {}; name one of them instead "
      "of the directory",
      path, found.size()));
}

absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGguf(
    const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const std::string name = std::filesystem::path(path).filename().string();
  ZQFP_ASSIGN_OR_RETURN(Gguf content, Gguf::Parse(file.bytes(), name));
  // The mapping stays where it is when its owner moves.
  return std::make_shared<const GgufFile>(
      GgufFile{std::move(file), std::move(content)});
}

}  // namespace zqfp
