// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_config.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/core/status_macros.h"
#include "models/rope_config.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;

// Wide: what a size may really be is ParseConfig's business.
constexpr IntRange kSize = {1, int64_t{1} << 40};
constexpr IntRange kId = {0, std::numeric_limits<int32_t>::max()};
constexpr RealRange kReal = {-1e30, 1e30};
constexpr int64_t kControlToken = 3;

struct ArchitectureRow {
  const char* name;  // general.architecture
  const char* class_name;
  const char* model_type;
};

constexpr ArchitectureRow kArchitectures[] = {
    {"llama", "LlamaForCausalLM", "llama"},
    {"qwen2", "Qwen2ForCausalLM", "qwen2"},
    {"qwen3", "Qwen3ForCausalLM", "qwen3"},
};

// Keys of an architecture that change nothing here.
constexpr const char* kHarmless[] = {"tensor_data_layout",
                                     "rope.scaling.finetuned"};

constexpr const char* kEndTexts[] = {
    "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>",
    "<|eom_id|>", "<|end|>",    "<end_of_turn>", "</s>"};

// A number that was rounded to f32 on its way into the file, as its writer had
// it: the shortest decimal that rounds to it.
double Unrounded(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  return strtod(fmt::format("{}", narrow).c_str(), nullptr);
}

// Reads "ARCHITECTURE.key"s and remembers which.
class Translator {
 public:
  explicit Translator(const Gguf& gguf) : gguf_(gguf) {}

  absl::StatusOr<ordered_json> Translate();

 private:
  std::string Key(const std::string& key) {
    known_.insert(prefix_ + key);
    return prefix_ + key;
  }
  absl::Status Unsupported(const std::string& key,
                           const std::string& found) const {
    return absl::UnimplementedError(
        fmt::format("{}: {}: {} is not supported", gguf_.name(), key, found));
  }

  absl::Status FindArchitecture();
  absl::Status ReadSize(const std::string& key, const char* name);
  absl::Status ReadReal(const std::string& key, const char* name);
  absl::Status MustBe(const std::string& key, int64_t wanted);
  absl::Status ReadShape();
  absl::Status ReadHeadDim();
  absl::Status ReadVariant();
  absl::Status ReadRope();
  absl::Status ReadScaling(const std::string& kind);
  absl::Status ReadYarn(ordered_json* scaling);
  absl::Status ReadFactors(const Tensor& tensor);
  absl::Status ReadTokenIds();
  absl::Status CheckKnown() const;

  const Gguf& gguf_;
  std::string prefix_;  // "llama."
  std::set<std::string> known_;
  ordered_json config_ = ordered_json::object();
};

absl::Status Translator::FindArchitecture() {
  std::string type = "model";
  ZQFP_RETURN_IF_ERROR(gguf_.Read("general.type", &type));
  if (type != "model") return Unsupported("general.type", Excerpt(type));
  std::string name;
  ZQFP_RETURN_IF_ERROR(gguf_.Read("general.architecture", &name));
  if (name.empty()) {
    return gguf_.Wrong("general.architecture", "the name of one");
  }
  std::string supported;
  for (const ArchitectureRow& row : kArchitectures) {
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", row.name);
    if (name != row.name) continue;
    prefix_ = name + ".";
    config_["architectures"] = {row.class_name};
    config_["model_type"] = row.model_type;
    return absl::OkStatus();
  }
  return Unsupported(
      "general.architecture",
      fmt::format("{} (supported are {})", Excerpt(name), supported));
}

// A number, or a list of one number per layer, which all have to be the same.
absl::Status Translator::ReadSize(const std::string& key, const char* name) {
  const std::string full = Key(key);
  const auto found = gguf_.metadata().find(full);
  int64_t size = 0;
  if (found != gguf_.metadata().end() &&
      found->second.rank == GgufRank::kArray) {
    ZQFP_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes,
                          gguf_.Ints(full, kSize));
    if (sizes.empty()) return gguf_.Wrong(full, "a size");
    size = sizes[0];
    if (std::any_of(sizes.begin(), sizes.end(),
                    [&](int64_t other) { return other != size; })) {
      return Unsupported(full, "a size that differs between layers");
    }
  } else {
    ZQFP_RETURN_IF_ERROR(gguf_.Read(full, kSize, &size));
    if (size == 0) return gguf_.Wrong(full, "a size");
  }
  config_[name] = size;
  return absl::OkStatus();
}

absl::Status Translator::ReadReal(const std::string& key, const char* name) {
  double value = 0;
  const std::string full = Key(key);
  ZQFP_RETURN_IF_ERROR(gguf_.Read(full, kReal, &value));
  if (gguf_.Has(full)) config_[name] = Unrounded(value);
  return absl::OkStatus();
}

absl::Status Translator::MustBe(const std::string& key, int64_t wanted) {
  int64_t value = wanted;
  const std::string full = Key(key);
  ZQFP_RETURN_IF_ERROR(gguf_.Read(full, {0, kSize.max}, &value));
  if (value == wanted) return absl::OkStatus();
  return Unsupported(full, fmt::format("{} (supported is {})", value, wanted));
}

absl::Status Translator::ReadShape() {
  ZQFP_RETURN_IF_ERROR(ReadSize("embedding_length", "hidden_size"));
  ZQFP_RETURN_IF_ERROR(ReadSize("feed_forward_length", "intermediate_size"));
  ZQFP_RETURN_IF_ERROR(ReadSize("block_count", "num_hidden_layers"));
  ZQFP_RETURN_IF_ERROR(ReadSize("attention.head_count", "num_attention_heads"));
  config_["num_key_value_heads"] = config_["num_attention_heads"];
  if (gguf_.Has(Key("attention.head_count_kv"))) {
    ZQFP_RETURN_IF_ERROR(
        ReadSize("attention.head_count_kv", "num_key_value_heads"));
  }
  ZQFP_RETURN_IF_ERROR(ReadHeadDim());
  // The embedding has a row for each token, listed in the file or not.
  const Tensor* embedding = gguf_.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: token_embd.weight: want a matrix, found {}", gguf_.name(),
        embedding == nullptr ? "nothing" : Describe(*embedding)));
  }
  config_["vocab_size"] = embedding->shape[0];
  ZQFP_RETURN_IF_ERROR(MustBe("vocab_size", embedding->shape[0]));
  return ReadSize("context_length", "max_position_embeddings");
}

// Keys and values are of one length, and rotated as a whole.
absl::Status Translator::ReadHeadDim() {
  const auto model_dim = config_["hidden_size"].get<int64_t>();
  const auto heads = config_["num_attention_heads"].get<int64_t>();
  int64_t head_dim = 0;
  ZQFP_RETURN_IF_ERROR(
      gguf_.Read(Key("attention.key_length"), kSize, &head_dim));
  if (head_dim == 0) {
    if (model_dim % heads != 0) {
      return gguf_.Wrong(prefix_ + "embedding_length",
                         fmt::format("a multiple of the {} heads", heads));
    }
    head_dim = model_dim / heads;
  }
  config_["head_dim"] = head_dim;
  ZQFP_RETURN_IF_ERROR(MustBe("attention.value_length", head_dim));
  return MustBe("rope.dimension_count", head_dim);
}

absl::Status Translator::ReadVariant() {
  const std::string epsilon = Key("attention.layer_norm_rms_epsilon");
  if (!gguf_.Has(epsilon)) return gguf_.Wrong(epsilon, "a number");
  ZQFP_RETURN_IF_ERROR(
      ReadReal("attention.layer_norm_rms_epsilon", "rms_norm_eps"));
  config_["hidden_act"] = "silu";
  config_["tie_word_embeddings"] = gguf_.Find("output.weight") == nullptr;
  if (prefix_ != "qwen2.") {
    config_["attention_bias"] = gguf_.Find("blk.0.attn_q.bias") != nullptr;
  }
  if (prefix_ == "llama.") {
    config_["mlp_bias"] = gguf_.Find("blk.0.ffn_gate.bias") != nullptr;
  }
  ZQFP_RETURN_IF_ERROR(MustBe("expert_count", 0));
  ZQFP_RETURN_IF_ERROR(MustBe("expert_used_count", 0));
  bool causal = true;
  ZQFP_RETURN_IF_ERROR(gguf_.Read(Key("attention.causal"), &causal));
  if (!causal) return Unsupported(prefix_ + "attention.causal", "false");
  int64_t window = 0;
  if (prefix_ != "llama.") return absl::OkStatus();
  ZQFP_RETURN_IF_ERROR(
      gguf_.Read(Key("attention.sliding_window"), {0, kMaxPositions}, &window));
  if (window > 0) {
    // Llama with a window is what Mistral is.
    config_["architectures"] = {"MistralForCausalLM"};
    config_["model_type"] = "mistral";
    config_["sliding_window"] = window;
  }
  return absl::OkStatus();
}

// As yarn in transformers: what the file may add to the factor.
absl::Status Translator::ReadYarn(ordered_json* scaling) {
  int64_t original = config_["max_position_embeddings"].get<int64_t>();
  ZQFP_RETURN_IF_ERROR(gguf_.Read(Key("rope.scaling.original_context_length"),
                                  {1, kMaxPositions}, &original));
  (*scaling)["original_max_position_embeddings"] = original;
  for (const auto& [key, name] :
       {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"},
        std::pair{"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    double value = 0;
    ZQFP_RETURN_IF_ERROR(gguf_.Read(Key(key), kReal, &value));
    if (gguf_.Has(prefix_ + key)) (*scaling)[name] = Unrounded(value);
  }
  for (const char* key :
       {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor",
        "rope.scaling.attn_factor"}) {
    double value = 1.0;
    ZQFP_RETURN_IF_ERROR(gguf_.Read(Key(key), kReal, &value));
    if (value != 1.0) {
      return Unsupported(prefix_ + key, fmt::format("{:g}", value));
    }
  }
  return absl::OkStatus();
}

absl::Status Translator::ReadScaling(const std::string& kind) {
  ordered_json scaling = {{"rope_type", kind}};
  double factor = 1.0;
  ZQFP_RETURN_IF_ERROR(gguf_.Read(Key("rope.scaling.factor"), kReal, &factor));
  ZQFP_RETURN_IF_ERROR(gguf_.Read(Key("rope.scale_linear"), kReal, &factor));
  scaling["factor"] = Unrounded(factor);
  if (kind == "yarn") {
    ZQFP_RETURN_IF_ERROR(ReadYarn(&scaling));
  } else if (kind != "linear") {
    return Unsupported(
        prefix_ + "rope.scaling.type",
        Excerpt(kind) + " (supported are none, linear and yarn)");
  } else if (factor == 1.0) {
    return absl::OkStatus();
  }
  config_["rope_scaling"] = std::move(scaling);
  return absl::OkStatus();
}

// rope_freqs.weight: a divisor for the frequency of each pair, as Llama 3's.
absl::Status Translator::ReadFactors(const Tensor& tensor) {
  const auto head_dim = config_["head_dim"].get<int64_t>();
  if (tensor.dtype != DType::kF32 ||
      tensor.shape != std::vector<int64_t>{head_dim / 2}) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}: want F32 [{}], file has {}", gguf_.name(),
                    tensor.name, head_dim / 2, Describe(tensor)));
  }
  if (config_.contains("rope_scaling")) {
    return Unsupported(tensor.name, "this tensor beside rope.scaling.type");
  }
  const auto* values = reinterpret_cast<const float*>(tensor.data);
  ordered_json factors = ordered_json::array();
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    if (!(values[i] > 0) || std::isinf(values[i])) {
      return absl::DataLossError(fmt::format(
          "{}: {}: want finite numbers above 0, found {} at element {}",
          gguf_.name(), tensor.name, values[i], i));
    }
    factors.push_back(Unrounded(values[i]));
  }
  config_["rope_scaling"] = {{"rope_type", "factors"},
                             {"factors", std::move(factors)}};
  return absl::OkStatus();
}

absl::Status Translator::ReadRope() {
  config_["rope_theta"] = 10000.0;
  ZQFP_RETURN_IF_ERROR(ReadReal("rope.freq_base", "rope_theta"));
  std::string kind = gguf_.Has(Key("rope.scale_linear")) ? "linear" : "none";
  ZQFP_RETURN_IF_ERROR(gguf_.Read(Key("rope.scaling.type"), &kind));
  if (kind != "none") ZQFP_RETURN_IF_ERROR(ReadScaling(kind));
  const Tensor* factors = gguf_.Find("rope_freqs.weight");
  return factors == nullptr ? absl::OkStatus() : ReadFactors(*factors);
}

absl::Status Translator::ReadTokenIds() {
  const auto vocab_size = config_["vocab_size"].get<int64_t>();
  const auto check = [&](int32_t id) {
    if (id < vocab_size) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{}: want special tokens among the {} of token_embd, found "
                    "id {}",
                    gguf_.name(), vocab_size, id));
  };
  ZQFP_ASSIGN_OR_RETURN(const int32_t begin, GgufBeginId(gguf_));
  ZQFP_RETURN_IF_ERROR(check(begin));
  // null says that there is none; an absent key would mean the class's own.
  config_["bos_token_id"] =
      begin < 0 ? ordered_json(nullptr) : ordered_json(begin);
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int32_t> ends, GgufEndIds(gguf_));
  for (const int32_t id : ends) ZQFP_RETURN_IF_ERROR(check(id));
  config_["eos_token_id"] =
      ends.empty() ? ordered_json(nullptr) : ordered_json(ends);
  return absl::OkStatus();
}

// A key of the architecture that nothing has read may change what it computes.
absl::Status Translator::CheckKnown() const {
  for (const auto& [key, value] : gguf_.metadata()) {
    if (key.rfind(prefix_, 0) != 0 || known_.count(key) > 0) continue;
    const std::string rest = key.substr(prefix_.size());
    if (std::find(std::begin(kHarmless), std::end(kHarmless), rest) !=
        std::end(kHarmless)) {
      continue;
    }
    return Unsupported(key, "this key");
  }
  return absl::OkStatus();
}

absl::StatusOr<ordered_json> Translator::Translate() {
  ZQFP_RETURN_IF_ERROR(FindArchitecture());
  ZQFP_RETURN_IF_ERROR(ReadShape());
  ZQFP_RETURN_IF_ERROR(ReadVariant());
  ZQFP_RETURN_IF_ERROR(ReadRope());
  ZQFP_RETURN_IF_ERROR(ReadTokenIds());
  ZQFP_RETURN_IF_ERROR(CheckKnown());
  return config_;
}

// Whether the file has a vocabulary of Llama's sentencepiece kind.
bool IsLlamaKind(const Gguf& gguf) {
  std::string model;
  return gguf.Read("tokenizer.ggml.model", &model).ok() && model == "llama";
}

}  // namespace

absl::StatusOr<std::string> GgufConfigText(const Gguf& gguf) {
  ZQFP_ASSIGN_OR_RETURN(const ordered_json config,
                        Translator(gguf).Translate());
  return config.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<std::vector<int32_t>> GgufEndIds(const Gguf& gguf) {
  std::vector<int32_t> ids;
  const auto add = [&ids](int64_t id) {
    if (id < 0 || std::find(ids.begin(), ids.end(), id) != ids.end()) return;
    ids.push_back(static_cast<int32_t>(id));
  };
  int64_t end = IsLlamaKind(gguf) ? 2 : -1;
  ZQFP_RETURN_IF_ERROR(gguf.Read("tokenizer.ggml.eos_token_id", kId, &end));
  add(end);
  for (const char* key :
       {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    int64_t id = -1;
    ZQFP_RETURN_IF_ERROR(gguf.Read(key, kId, &id));
    add(id);
  }
  ZQFP_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens,
                        gguf.Strings("tokenizer.ggml.tokens"));
  ZQFP_ASSIGN_OR_RETURN(const std::vector<int64_t> types,
                        gguf.Ints("tokenizer.ggml.token_type", {0, kId.max}));
  for (size_t i = 0; i < std::min(tokens.size(), types.size()); ++i) {
    if (types[i] != kControlToken) continue;
    for (const char* text : kEndTexts) {
      if (tokens[i] == text) add(static_cast<int64_t>(i));
    }
  }
  return ids;
}

absl::StatusOr<int32_t> GgufBeginId(const Gguf& gguf) {
  int64_t id = IsLlamaKind(gguf) ? 1 : -1;
  ZQFP_RETURN_IF_ERROR(gguf.Read("tokenizer.ggml.bos_token_id", kId, &id));
  return static_cast<int32_t>(id);
}

}  // namespace zqfp
