// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_ENGINE_TINY_H_
#define ZQFP_TESTS_ENGINE_TINY_H_

// A random model of a few thousand weights and a tokenizer of single bytes:
// all that the engine's own rules need.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace zqfp::testing {

inline constexpr int32_t kBos = 256;
inline constexpr int32_t kEos = 257;

// Id b is the byte b; 256 begins and 257 ends a text.
class ByteTokenizer : public Tokenizer {
 public:
  enum class AddBos { kNo, kYes };

  explicit ByteTokenizer(AddBos add_bos = AddBos::kYes) : add_bos_(add_bos) {
    bos_id_ = kBos;
    eos_ids_ = {kEos};
    hash_ = "0123456789abcdef";
  }
  void RemoveSpecials() {
    bos_id_ = -1;
    eos_ids_.clear();
    add_bos_ = AddBos::kNo;
  }

  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    std::vector<int32_t> ids;
    if (options.add_special_tokens && add_bos_ == AddBos::kYes) {
      ids.push_back(kBos);
    }
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  }
  std::string Decode(absl::Span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += TokenBytes(id);
    return text;
  }
  std::string TokenBytes(int32_t id) const override {
    return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : "";
  }
  std::string TokenText(int32_t id) const override { return TokenBytes(id); }
  std::optional<int32_t> IdOf(std::string_view) const override {
    return std::nullopt;
  }
  bool IsSpecial(int32_t id) const override { return id >= 256; }
  int64_t vocab_size() const override { return 258; }

 private:
  AddBos add_bos_;
};

inline Config TinyConfig() {
  Config config;
  config.model_dim = 64;
  config.ffn_dim = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 258;
  config.max_positions = 256;
  config.norm_epsilon = 1e-5;
  config.bos_id = kBos;
  return config;
}

// As above, weights e2m1 and activations e4m3.
inline Config TinyQuantizedConfig() {
  Config config = TinyConfig();
  config.quantization = {.group_size = 32,
                         .constraint = ScaleConstraint::kM2,
                         .lm_head = HeadFormat::kE4m3};
  return config;
}

inline std::unique_ptr<Model> TinyModel(const Config& config,
                                        int64_t max_tokens = 256) {
  auto model =
      Model::Random(config, 1, {.num_threads = 1, .max_tokens = max_tokens});
  return model.ok() ? *std::move(model) : nullptr;
}

// Ids below 256 that a seed decides.
inline std::vector<int32_t> TinyPrompt(uint32_t seed, size_t size) {
  std::vector<int32_t> ids(size);
  for (size_t i = 0; i < size; ++i) {
    seed = seed * 1664525u + 1013904223u;
    ids[i] = static_cast<int32_t>(seed >> 24);
  }
  return ids;
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_ENGINE_TINY_H_
