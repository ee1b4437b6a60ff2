// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_GGUF_FILE_H_
#define ZQFP_TESTS_MODELS_GGUF_FILE_H_

// Makes GGUF files byte by byte, sound and broken ones.

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

namespace zqfp::testing {

// Little-endian, as the machines of these tests are.
template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A length and the bytes; 32 bits of length in version 1.
inline std::string GgufString(const std::string& text, uint32_t version = 3) {
  return (version == 1 ? Raw(static_cast<uint32_t>(text.size()))
                       : Raw(static_cast<uint64_t>(text.size()))) +
         text;
}

// Metadata as it lies in a file of version 2 or 3. Types: 4 u32, 5 i32, 6 f32,
// 7 bool, 8 string, 9 array.
inline std::string GgufKey(const std::string& key, uint32_t type,
                           const std::string& value) {
  return GgufString(key) + Raw(type) + value;
}
inline std::string GgufText(const std::string& key, const std::string& text) {
  return GgufKey(key, 8, GgufString(text));
}
inline std::string GgufInt(const std::string& key, uint32_t value) {
  return GgufKey(key, 4, Raw(value));
}
inline std::string GgufReal(const std::string& key, float value) {
  return GgufKey(key, 6, Raw(value));
}
inline std::string GgufArray(const std::string& key, uint32_t type,
                             uint64_t count, const std::string& elements) {
  return GgufKey(key, 9, Raw(type) + Raw(count) + elements);
}
inline std::string GgufTexts(const std::string& key,
                             const std::vector<std::string>& texts) {
  std::string elements;
  for (const std::string& text : texts) elements += GgufString(text);
  return GgufArray(key, 8, texts.size(), elements);
}

// `dims` innermost first. Types: 0 F32, 1 F16, 8 Q8_0, 39 MXFP4.
inline std::string GgufTensor(const std::string& name,
                              const std::vector<uint64_t>& dims, uint32_t type,
                              uint64_t offset) {
  std::string entry =
      GgufString(name) + Raw(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) entry += Raw(dim);
  return entry + Raw(type) + Raw(offset);
}

struct GgufBytes {
  std::vector<std::string> keys;
  std::vector<std::string> tensors;
  std::string data;  // padded in front to a multiple of `alignment`
  uint32_t version = 3;
  size_t alignment = 32;
  std::optional<uint64_t> num_tensors, num_keys;  // else the true ones

  std::string Build() const {
    std::string file = "GGUF" + Raw(version) +
                       Raw(num_tensors.value_or(tensors.size())) +
                       Raw(num_keys.value_or(keys.size()));
    for (const std::string& key : keys) file += key;
    for (const std::string& tensor : tensors) file += tensor;
    if (!data.empty()) {
      file.append((alignment - file.size() % alignment) % alignment, '\0');
    }
    return file + data;
  }
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_GGUF_FILE_H_
