// SPDX-License-Identifier: Apache-2.0
#include "tools/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/model_tokenizer.h"
#include "kernels/backend.h"
#include "kernels/core/status_macros.h"
#include "models/kv_cache.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "tools/kv_flag.h"

namespace zqfp::tools {
namespace {

constexpr int64_t kPageSize = 32;

std::string Megabytes(const Section& bytes) {
  return fmt::format("{:.1f} MB",
                     static_cast<double>(bytes.get<int64_t>()) / 1e6);
}

std::string Text(const Section& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Special tokens by id and text: "2 </s>".
std::string NameToken(const Tokenizer& tokenizer, int32_t id) {
  return fmt::format("{} {}", id, tokenizer.TokenText(id));
}

// A table of strings with columns as wide as they must be.
std::string Columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

// Weights of the layers by storage format, the commonest first.
std::string LayerFormats(const std::vector<LinearInfo>& linears) {
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i + 1 < linears.size(); ++i) ++counts[linears[i].weights];
  std::string text;
  for (const auto& [format, count] : counts) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} ({} matrices)", format, count);
  }
  return text;
}

}  // namespace

Section SummarySection(const Model& model) {
  const Config& c = model.config();
  const std::vector<LinearInfo> linears = model.Explain();
  int64_t parameters = c.vocab_size * c.model_dim;  // the embedding
  if (c.positions == PositionKind::kLearned) {
    parameters += (c.position_offset + c.max_positions) * c.model_dim;
  }
  for (size_t i = 0; i < linears.size(); ++i) {
    const bool is_tied_head = i + 1 == linears.size() && c.tie_embeddings;
    if (!is_tied_head) parameters += linears[i].n * linears[i].k;
  }
  int64_t windowed = 0;
  for (int64_t i = 0; i < c.num_layers; ++i) windowed += c.IsWindowed(i);
  Section section = {{"architecture", std::string(ToString(c.architecture))},
                     {"layers", c.num_layers},
                     {"model_dim", c.model_dim},
                     {"ffn_dim", c.ffn_dim},
                     {"heads", c.num_heads},
                     {"kv_heads", c.num_kv_heads},
                     {"head_dim", c.head_dim},
                     {"vocab_size", c.vocab_size},
                     {"tied_embeddings", c.tie_embeddings},
                     {"matrix_parameters", parameters},
                     {"max_positions", c.max_positions},
                     {"sliding_window", c.sliding_window},
                     {"windowed_layers", windowed},
                     {"positions", std::string(ToString(c.positions))},
                     {"rope", std::string(ToString(c.rope.scaling))},
                     {"rope_theta", c.rope.theta},
                     {"weights", LayerFormats(linears)},
                     {"head", linears.back().weights},
                     {"backend", model.options().backend},
                     {"threads", model.options().num_threads}};
  return section;
}

Section MemorySection(const Model& model, KvFormat kv, int64_t context,
                      int64_t file_bytes) {
  const int64_t pages = (context + kPageSize - 1) / kPageSize;
  const KvFormat resolved = ResolveKvFormat(kv, model);
  const int64_t page_bytes =
      KvPageBytes(model.config(), {.format = ToValueFormat(resolved),
                                   .num_pages = pages,
                                   .page_size = kPageSize});
  return {{"weight_file_bytes", file_bytes},
          {"converted_bytes", model.converted_bytes()},
          {"weight_bytes", model.weight_bytes()},
          {"resident_bytes", model.resident_bytes()},
          {"buffer_bytes", model.buffer_bytes()},
          {"kv", ToString(resolved)},
          {"context_tokens", context},
          {"kv_bytes_per_token", page_bytes / kPageSize},
          {"kv_bytes", page_bytes * pages},
          {"total_bytes", file_bytes + model.converted_bytes() +
                              model.resident_bytes() + model.buffer_bytes() +
                              page_bytes * pages}};
}

absl::StatusOr<Section> TextSection(const std::string& directory) {
  const auto loaded = LoadModelTokenizer(directory);
  if (absl::IsNotFound(loaded.status())) return Section(nullptr);
  ZQFP_RETURN_IF_ERROR(loaded.status());
  const Tokenizer& tokenizer = **loaded;
  Section section = {{"tokenizer_hash", tokenizer.hash()},
                     {"vocab_size", tokenizer.vocab_size()}};
  section["bos"] = tokenizer.bos_id() < 0
                       ? Section(nullptr)
                       : Section(NameToken(tokenizer, tokenizer.bos_id()));
  section["eos"] = Section::array();
  for (const int32_t id : tokenizer.eos_ids()) {
    section["eos"].push_back(NameToken(tokenizer, id));
  }
  section["template_hash"] = nullptr;
  if (tokenizer.chat_template().empty()) return section;
  ZQFP_ASSIGN_OR_RETURN(const ChatTemplate parsed,
                        ChatTemplate::Parse(tokenizer.chat_template()));
  section["template_hash"] = parsed.hash();
  return section;
}

Section ExplainSection(const Model& model) {
  Section list = Section::array();
  for (const LinearInfo& linear : model.Explain()) {
    list.push_back({{"layer", linear.name},
                    {"shape", {linear.n, linear.k}},
                    {"weights", linear.weights},
                    {"note", linear.note},
                    {"activations", linear.activations},
                    {"op", linear.op},
                    {"kernel", linear.kernel},
                    {"exact_products", linear.exact},
                    {"bytes", linear.num_bytes}});
    if (linear.source.empty()) continue;
    list.back()["source"] = linear.source;
    list.back()["source_bytes"] = linear.source_bytes;
  }
  return list;
}

Section TensorsSection(const Checkpoint& checkpoint) {
  Section list = Section::array();
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    list.push_back({{"name", name},
                    {"dtype", std::string(ToString(tensor.dtype))},
                    {"shape", tensor.shape},
                    {"bytes", tensor.num_bytes},
                    {"file", tensor.file}});
  }
  return list;
}

Section OpsSection() {
  Section section;
  for (const std::string& name : kernels::BuiltBackends()) {
    const absl::StatusOr<kernels::Backend> backend = kernels::MakeBackend(name);
    if (!backend.ok()) {
      section[name] = std::string(backend.status().message());
      continue;
    }
    for (const kernels::OpSource& source : backend->sources) {
      section[name][source.op] = source.table;
    }
  }
  return section;
}

std::string SummaryText(const Section& s) {
  const auto number = [&](const char* key) { return s[key].get<int64_t>(); };
  std::string text = fmt::format(
      "{}: {} layers, width {}, feed-forward {}, {} heads ({} key/value) of "
      "{}\n",
      Text(s["architecture"]), number("layers"), number("model_dim"),
      number("ffn_dim"), number("heads"), number("kv_heads"),
      number("head_dim"));
  text += fmt::format(
      "{:.2f} million weights in matrices, vocabulary {}{}\n",
      s["matrix_parameters"].get<double>() / 1e6, number("vocab_size"),
      s["tied_embeddings"].get<bool>() ? " (embedding tied to the head)" : "");
  text += fmt::format("context {} tokens, ", number("max_positions"));
  if (s["positions"] == "learned") {
    text += "learned positions";
  } else {
    text += fmt::format("rope {} (base {})", Text(s["rope"]),
                        s["rope_theta"].get<double>());
  }
  if (number("sliding_window") > 0) {
    text += fmt::format(", window {} in {} layers", number("sliding_window"),
                        number("windowed_layers"));
  }
  return text +
         fmt::format("\nweights {}; head {}\nruns on {} with {} threads\n",
                     Text(s["weights"]), Text(s["head"]), Text(s["backend"]),
                     number("threads"));
}

std::string MemoryText(const Section& s) {
  std::vector<std::vector<std::string>> rows = {
      {"  weight files, mapped", Megabytes(s["weight_file_bytes"])}};
  if (s["converted_bytes"].get<int64_t>() > 0) {
    rows.push_back({"  weights expanded or re-laid beside them",
                    Megabytes(s["converted_bytes"])});
  }
  rows.push_back({"  of that, read for a token", Megabytes(s["weight_bytes"])});
  if (s["resident_bytes"].get<int64_t>() > 0) {
    rows.push_back(
        {"  e4m3 rows of weights, resident", Megabytes(s["resident_bytes"])});
  }
  rows.push_back({"  buffers", Megabytes(s["buffer_bytes"])});
  rows.push_back({fmt::format("  KV cache, {} tokens in {}",
                              Text(s["context_tokens"]), Text(s["kv"])),
                  fmt::format("{} ({} bytes a token)", Megabytes(s["kv_bytes"]),
                              Text(s["kv_bytes_per_token"]))});
  rows.push_back({"  all", Megabytes(s["total_bytes"])});
  return "\nmemory\n" + Columns(rows);
}

std::string TokensText(const Section& s) {
  if (s.is_null()) return "\ntext\n  no tokenizer: wants one to run\n";
  std::string ends;
  for (const Section& end : s["eos"]) {
    ends += (ends.empty() ? "" : ", ") + Text(end);
  }
  return "\ntext\n" +
         Columns(
             {{"  tokenizer", Text(s["tokenizer_hash"])},
              {"  chat template", s["template_hash"].is_null()
                                      ? "none"
                                      : Text(s["template_hash"])},
              {"  begins with", s["bos"].is_null() ? "none" : Text(s["bos"])},
              {"  ends with", ends.empty() ? "none" : ends}});
}

std::string ExplainText(const Section& section) {
  std::vector<std::vector<std::string>> rows = {{"layer", "n x k", "weights",
                                                 "activations", "op", "kernel",
                                                 "products", "bytes", ""}};
  // Where the file is of another kind, what it has in place of `weights`.
  const bool sources = std::any_of(
      section.begin(), section.end(),
      [](const Section& linear) { return linear.contains("source"); });
  if (sources) rows[0].push_back("in the file");
  for (const Section& linear : section) {
    rows.push_back({Text(linear["layer"]),
                    Text(linear["shape"][0]) + " x " + Text(linear["shape"][1]),
                    Text(linear["weights"]), Text(linear["activations"]),
                    Text(linear["op"]), Text(linear["kernel"]),
                    linear["exact_products"].get<bool>() ? "exact" : "rounded",
                    Text(linear["bytes"]), Text(linear["note"])});
    if (!linear.contains("source")) continue;
    rows.back().push_back(fmt::format("{}, {} bytes", Text(linear["source"]),
                                      Text(linear["source_bytes"])));
  }
  return "\nlayers (exact: every product is one on FP8 hardware, too)\n" +
         Columns(rows);
}

std::string TensorsText(const Section& section) {
  std::vector<std::vector<std::string>> rows = {
      {"tensor", "dtype", "shape", "bytes", "file"}};
  for (const Section& tensor : section) {
    rows.push_back({Text(tensor["name"]), Text(tensor["dtype"]),
                    Text(tensor["shape"]), Text(tensor["bytes"]),
                    Text(tensor["file"])});
  }
  return "\ntensors\n" + Columns(rows);
}

std::string OpsText(const Section& section) {
  std::vector<std::vector<std::string>> rows = {{"op"}};
  std::string missing;
  // The reference runs everywhere and has every op.
  for (const auto& [op, table] : section["reference"].items()) {
    rows.push_back({op});
  }
  for (const auto& [backend, ops] : section.items()) {
    if (ops.is_string()) {
      missing += Text(ops) + "\n";
      continue;
    }
    rows[0].push_back(backend);
    for (size_t i = 1; i < rows.size(); ++i) {
      rows[i].push_back(Text(ops[rows[i][0]]));
    }
  }
  return "\nops: which kernels serve each under each backend, best first\n" +
         Columns(rows) + missing;
}

}  // namespace zqfp::tools
