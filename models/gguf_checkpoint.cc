// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_checkpoint.h"

#include <fmt/format.h>
#include <string.h>

#include <memory>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/config.h"
#include "models/gguf.h"
#include "models/gguf_config.h"

namespace zqfp {
namespace {

struct NameRow {
  std::string_view gguf;
  std::string_view ours;
};

constexpr NameRow kModelNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

// Behind "blk.N." and "model.layers.N.".
constexpr NameRow kLayerNames[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

constexpr std::string_view kLayerPrefix = "blk.";
constexpr char kRopeFactors[] = "rope_freqs.weight";  // the config's business

// A name in its parts: "blk.3.attn_q.weight" is {"3", "attn_q", ".weight"}.
struct ParsedName {
  std::string layer;  // "" outside of the layers
  std::string part;
  std::string ending;
};

ParsedName ParseName(std::string_view name) {
  ParsedName parsed;
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return parsed;
  parsed.ending = name.substr(dot);
  name = name.substr(0, dot);
  if (name.substr(0, kLayerPrefix.size()) == kLayerPrefix) {
    name.remove_prefix(kLayerPrefix.size());
    const size_t end = name.find_first_not_of("0123456789");
    if (end == name.npos || end == 0 || name[end] != '.') return parsed;
    parsed.layer = name.substr(0, end);
    name.remove_prefix(end + 1);
  }
  parsed.part = name;
  return parsed;
}

// "" for a name that no architecture here has.
std::string OurName(const ParsedName& name) {
  if (name.ending != ".weight" && name.ending != ".bias") return "";
  if (name.layer.empty()) {
    for (const NameRow& row : kModelNames) {
      if (name.part == row.gguf) return std::string(row.ours) + name.ending;
    }
    return "";
  }
  for (const NameRow& row : kLayerNames) {
    if (name.part == row.gguf) {
      return fmt::format("model.layers.{}.{}{}", name.layer, row.ours,
                         name.ending);
    }
  }
  return "";
}

// What the tensors of a checkpoint point into.
struct Memory {
  std::shared_ptr<const GgufFile> file;
  std::vector<MappedFile> reordered;
};

// Row 2i + half of a head becomes row half * head_dim / 2 + i.
absl::Status PutRowsInOrder(int64_t head_dim, Tensor* tensor, Memory* memory) {
  const int64_t rows = tensor->shape[0];
  if (rows % head_dim != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}: want whole heads of {} rows, file has {}",
                    tensor->file, tensor->name, head_dim, Describe(*tensor)));
  }
  const int64_t row_bytes = tensor->num_bytes / rows;
  const uint8_t* from = tensor->data;
  ZQFP_ASSIGN_OR_RETURN(
      MappedFile ordered,
      MappedFile::Filled(tensor->num_bytes, [&](uint8_t* to) {
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t in_head = row % head_dim;
          const int64_t half = in_head % 2;
          const int64_t place =
              row - in_head + half * (head_dim / 2) + in_head / 2;
          memcpy(to + place * row_bytes, from + row * row_bytes,
                 static_cast<size_t>(row_bytes));
        }
      }));
  DropPages(from, tensor->num_bytes);
  tensor->data = ordered.bytes().data();
  tensor->source += ", rows put in order";
  memory->reordered.push_back(std::move(ordered));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Checkpoint> OpenGgufCheckpoint(const std::string& path) {
  auto memory = std::make_shared<Memory>();
  ZQFP_ASSIGN_OR_RETURN(memory->file, OpenGguf(path));
  const Gguf& gguf = memory->file->content;
  ZQFP_ASSIGN_OR_RETURN(const std::string text, GgufConfigText(gguf));
  ZQFP_ASSIGN_OR_RETURN(const Config config, ParseConfig(text, gguf.name()));
  std::string architecture;
  ZQFP_RETURN_IF_ERROR(gguf.Read("general.architecture", &architecture));
  std::vector<Tensor> tensors;
  for (const Tensor& found : gguf.tensors()) {
    if (found.name == kRopeFactors) continue;
    const ParsedName name = ParseName(found.name);
    Tensor tensor = found;
    tensor.name = OurName(name);
    if (tensor.name.empty()) {
      return absl::UnimplementedError(
          fmt::format("{}: {}: this tensor ({}) is not supported in "
                      "architecture {}",
                      gguf.name(), found.name, Describe(found), architecture));
    }
    if (architecture == "llama" &&
        (name.part == "attn_q" || name.part == "attn_k")) {
      ZQFP_RETURN_IF_ERROR(
          PutRowsInOrder(config.head_dim, &tensor, memory.get()));
    }
    tensors.push_back(std::move(tensor));
  }
  return Checkpoint::FromTensors(gguf.name(), std::move(tensors), memory);
}

}  // namespace zqfp
