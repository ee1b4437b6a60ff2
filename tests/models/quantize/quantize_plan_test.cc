// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantize_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "tests/models/editable_checkpoint.h"

namespace zqfp {
namespace {

using testing::EditableCheckpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchDirectory;

// A golden model on disk, after a change.
class Planned {
 public:
  using Edit = std::function<void(EditableCheckpoint*)>;
  explicit Planned(const std::string& variant, const Edit& edit = {}) {
    EditableCheckpoint editable = EditableCheckpoint::Golden(variant);
    if (edit) edit(&editable);
    editable.Write(scratch_);
    config_ = LoadConfig(scratch_.path());
    auto checkpoint = Checkpoint::Open(scratch_.path());
    EXPECT_TRUE(config_.ok() && checkpoint.ok());
    if (checkpoint.ok()) checkpoint_.emplace(*std::move(checkpoint));
  }

  absl::StatusOr<std::vector<QuantizeJob>> Plan(
      const QuantizePlanOptions& options = Defaults()) const {
    return PlanQuantization(*checkpoint_, *config_, options);
  }
  std::vector<QuantizeJob> Jobs(
      const QuantizePlanOptions& options = Defaults()) const {
    auto jobs = Plan(options);
    EXPECT_TRUE(jobs.ok()) << jobs.status();
    return jobs.ok() ? *std::move(jobs) : std::vector<QuantizeJob>();
  }
  std::string Message() const {
    const auto jobs = Plan();
    EXPECT_FALSE(jobs.ok());
    return std::string(jobs.status().message());
  }
  static QuantizePlanOptions Defaults() {
    QuantizePlanOptions options;
    options.linears.grid.scales.group_size = 32;
    return options;
  }

 private:
  ScratchDirectory scratch_;
  absl::StatusOr<Config> config_ = absl::UnknownError("");
  std::optional<Checkpoint> checkpoint_;
};

// "copy a.b: a.b.weight F32 [2, 3]; ..."
std::string Line(const QuantizeJob& job) {
  constexpr const char* kTreatments[] = {"copy", "bf16", "quantize"};
  std::vector<std::string> outputs;
  for (const TensorPlan& plan : job.outputs) {
    EXPECT_TRUE(plan.name.starts_with(job.name + ".")) << plan.name;
    outputs.push_back(fmt::format("{} {} {}", plan.name.substr(job.name.size()),
                                  std::string(ToString(plan.dtype)),
                                  fmt::join(plan.shape, "x")));
  }
  return fmt::format("{} {}: {}",
                     kTreatments[static_cast<size_t>(job.treatment)], job.name,
                     fmt::join(outputs, ", "));
}

std::vector<std::string> Lines(const std::vector<QuantizeJob>& jobs,
                               const std::string& part) {
  std::vector<std::string> lines;
  for (const QuantizeJob& job : jobs) {
    if (job.name.find(part) != std::string::npos) lines.push_back(Line(job));
  }
  return lines;
}

const QuantizeJob* Find(const std::vector<QuantizeJob>& jobs,
                        const std::string& name) {
  for (const QuantizeJob& job : jobs) {
    if (job.name == name) return &job;
  }
  return nullptr;
}

// f32, model_dim 32, ffn_dim 40, 4 heads and 2 KV heads of 8.
TEST(QuantizePlanTest, EveryTensorOfALayer) {
  const Planned model("llama_f32");
  const std::vector<QuantizeJob> jobs = model.Jobs();
  const std::string base = "model.layers.1.";
  const auto quantized = [&](const char* name, int n, int k, int groups) {
    return fmt::format(
        "quantize {}{}: .weight_packed U8 {}x{}, .weight_row_scale F32 {}, "
        ".weight_shift U8 {}x{}",
        base, name, n, k / 2, n, n, groups);
  };
  EXPECT_THAT(
      Lines(jobs, base),
      ElementsAre("copy " + base + "input_layernorm: .weight F32 32",
                  "copy " + base + "post_attention_layernorm: .weight F32 32",
                  quantized("self_attn.q_proj", 32, 32, 1),
                  quantized("self_attn.k_proj", 16, 32, 1),
                  quantized("self_attn.v_proj", 16, 32, 1),
                  quantized("self_attn.o_proj", 32, 32, 1),
                  quantized("mlp.gate_proj", 40, 32, 1),
                  quantized("mlp.up_proj", 40, 32, 1),
                  quantized("mlp.down_proj", 32, 40, 2)));
  EXPECT_EQ(Line(jobs.front()), "bf16 model.embed_tokens: .weight BF16 48x32");
  EXPECT_EQ(Line(jobs.back()),
            "quantize lm_head: .weight F8_E4M3 48x32, .weight_row_scale F32 "
            "48");
  EXPECT_EQ(Line(jobs[jobs.size() - 2]), "copy model.norm: .weight F32 32");
  EXPECT_EQ(jobs.size(), 1 + 2 * 9 + 2u);
  // Packed 32 x 20, scales 32 x 4, shifts 32 x 2.
  EXPECT_EQ(Find(jobs, base + "mlp.down_proj")->output_bytes, 640 + 128 + 64);
  EXPECT_EQ(jobs.front().output_bytes, 48 * 32 * 2);
  for (const QuantizeJob& job : jobs) {
    EXPECT_EQ(job.calibrated_layer, -1);
    EXPECT_EQ(job.source->name, job.name + ".weight");
  }
}

TEST(QuantizePlanTest, BiasesAndHeadNormsAreCopied) {
  const auto biases = Lines(Planned("llama_mqa_bias").Jobs(), "layers.0.mlp");
  EXPECT_EQ(biases.size(), 6u);
  EXPECT_EQ(biases[1], "copy model.layers.0.mlp.gate_proj: .bias BF16 40");
  EXPECT_EQ(Lines(Planned("qwen2").Jobs(), "layers.0.self_attn").size(), 7u);
  const auto norms = Lines(Planned("qwen3").Jobs(), "layers.0.self_attn");
  EXPECT_EQ(norms.size(), 6u);
  EXPECT_EQ(norms[0], "copy model.layers.0.self_attn.q_norm: .weight BF16 16");
}

// 16 bits stay what they are.
TEST(QuantizePlanTest, EmbeddingAndHead) {
  struct Case {
    const char* variant;
    HeadFormat head;
    const char* embedding;
    std::vector<std::string> lm_head;
  };
  const std::string e4m3 =
      "quantize lm_head: .weight F8_E4M3 48x32, .weight_row_scale F32 48";
  const std::string e2m1 =
      "quantize lm_head: .weight_packed U8 48x16, .weight_row_scale F32 48, "
      ".weight_shift U8 48x1";
  using enum HeadFormat;
  for (const Case& c : {Case{"llama_f32",
                             kBf16,
                             "bf16 model.embed_tokens: .weight BF16 48x32",
                             {"bf16 lm_head: .weight BF16 48x32"}},
                        Case{"llama_f16",
                             kBf16,
                             "copy model.embed_tokens: .weight F16 48x32",
                             {"copy lm_head: .weight F16 48x32"}},
                        Case{"llama_mha",
                             kBf16,
                             "copy model.embed_tokens: .weight BF16 48x32",
                             {"copy lm_head: .weight BF16 48x32"}},
                        Case{"llama_mha",
                             kE4m3,
                             "copy model.embed_tokens: .weight BF16 48x32",
                             {e4m3}},
                        Case{"llama_mha",
                             kE2m1,
                             "copy model.embed_tokens: .weight BF16 48x32",
                             {e2m1}},
                        // A tied head is the embedding, or a tensor of its own.
                        Case{"llama_gqa_tied",
                             kBf16,
                             "copy model.embed_tokens: .weight BF16 48x32",
                             {}},
                        Case{"llama_gqa_tied",
                             kE4m3,
                             "copy model.embed_tokens: .weight BF16 48x32",
                             {e4m3}}}) {
    const Planned model(c.variant);
    QuantizePlanOptions options = Planned::Defaults();
    options.lm_head = c.head;
    const std::vector<QuantizeJob> jobs = model.Jobs(options);
    EXPECT_EQ(Line(jobs.front()), c.embedding);
    EXPECT_EQ(Lines(jobs, "lm_head"), c.lm_head);
  }
}

// A tied model may bring either name, or both.
TEST(QuantizePlanTest, ATiedHeadComesFromWhatIsThere) {
  const auto rename = [](EditableCheckpoint* c) {
    auto node = c->tensors.extract("model.embed_tokens.weight");
    node.key() = "lm_head.weight";
    c->tensors.insert(std::move(node));
  };
  const auto both = [](EditableCheckpoint* c) {
    c->tensors["lm_head.weight"] = c->tensors["model.embed_tokens.weight"];
  };
  const Planned renamed("llama_gqa_tied", rename),
      copied("llama_gqa_tied", both);
  const auto head_only = renamed.Jobs(), with_both = copied.Jobs();
  EXPECT_EQ(head_only.front().name, "model.embed_tokens");
  EXPECT_EQ(head_only.front().source->name, "lm_head.weight");
  EXPECT_EQ(head_only.back().source->name, "lm_head.weight");
  EXPECT_EQ(with_both.back().source->name, "model.embed_tokens.weight");
  EXPECT_EQ(head_only.size(), with_both.size());
  const Planned other("llama_gqa_tied", [&](EditableCheckpoint* c) {
    both(c);
    c->tensors["lm_head.weight"].bytes.front() ^= 1;
  });
  EXPECT_THAT(other.Message(), HasSubstr("lm_head.weight: want a copy of "
                                         "model.embed_tokens.weight"));
}

TEST(QuantizePlanTest, KeptLinearsAreCopied) {
  QuantizePlanOptions options = Planned::Defaults();
  options.keep = [](const std::string& name) {
    return name.ends_with("down_proj") || name == "lm_head";
  };
  const Planned model("llama_f32");
  const auto jobs = model.Jobs(options);
  EXPECT_THAT(
      Lines(jobs, "down_proj"),
      ElementsAre("copy model.layers.0.mlp.down_proj: .weight F32 32x40",
                  "copy model.layers.1.mlp.down_proj: .weight F32 "
                  "32x40"));
  // keep is about decoder linears; the head has a format of its own.
  EXPECT_EQ(jobs.back().treatment, Treatment::kQuantize);
  EXPECT_EQ(Find(jobs, "model.layers.0.mlp.up_proj")->treatment,
            Treatment::kQuantize);
}

TEST(QuantizePlanTest, CalibratedLinearsKnowTheirLayer) {
  QuantizePlanOptions options = Planned::Defaults();
  options.linears.method = QuantizeMethod::kGptq;
  options.linears.lorc.rank = 3;
  options.keep = [](const std::string& name) {
    return name == "model.layers.1.mlp.up_proj";
  };
  const Planned model("qwen3");
  for (const QuantizeJob& job : model.Jobs(options)) {
    const bool linear = job.treatment == Treatment::kQuantize;
    const bool decoder = job.name.starts_with("model.layers.");
    const int64_t wanted = !linear || !decoder ? -1 : job.name[13] - '0';
    EXPECT_EQ(job.calibrated_layer, wanted) << job.name;
    if (!linear) continue;
    // The head is rounded to nearest, and nothing is added to it.
    EXPECT_EQ(job.scheme.needs_calibration(), decoder) << job.name;
    EXPECT_EQ(job.scheme.lorc.rank, decoder ? 3 : 0) << job.name;
  }
}

TEST(QuantizePlanTest, NamesWhatDoesNotFit) {
  const std::string up = "model.layers.1.mlp.up_proj.weight";
  struct Bad {
    Planned::Edit edit;
    std::vector<std::string> message;
  };
  for (const Bad& bad :
       {Bad{[&](auto* c) { c->tensors.erase(up); }, {up}},
        Bad{[&](auto* c) {
              c->tensors[up].shape = {32, 40};
            },
            {up, "want F32 or BF16 or F16 [40, 32]", "F32 [32, 40]"}},
        Bad{[&](auto* c) { c->tensors[up].dtype = "I32"; },
            {up, "want F32", "I32 [40, 32]"}},
        Bad{[&](auto* c) { c->tensors["model.norm.weight"].dtype = "I32"; },
            {"model.norm.weight", "I32 [32]"}},
        Bad{[&](auto* c) { c->tensors.erase("lm_head.weight"); },
            {"lm_head.weight"}},
        Bad{[&](auto* c) { c->tensors["x.bias"] = c->tensors[up]; },
            {"x.bias", "want only tensors that", "F32 [40, 32]"}},
        Bad{[&](auto* c) {
              c->tensors["model.layers.2.mlp.up_proj.weight"] = c->tensors[up];
            },
            {"model.layers.2.mlp.up_proj.weight", "found this one besides"}}}) {
    const std::string message = Planned("llama_f32", bad.edit).Message();
    for (const std::string& part : bad.message) {
      EXPECT_THAT(message, HasSubstr(part));
    }
  }
  // Old exporters wrote the rotary frequencies too.
  const Planned old("llama_f32", [&](EditableCheckpoint* c) {
    c->tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
        "F32", {4}, std::string(16, '\0')};
  });
  EXPECT_TRUE(old.Plan().ok()) << old.Plan().status();
}

std::vector<std::vector<int64_t>> Split(const std::vector<int64_t>& bytes,
                                        int64_t max_bytes) {
  std::vector<QuantizeJob> jobs;
  for (const int64_t size : bytes) {
    jobs.push_back({.name = std::to_string(jobs.size()), .output_bytes = size});
  }
  std::vector<std::vector<int64_t>> sizes;
  int next = 0;
  for (const auto& shard : SplitInShards(std::move(jobs), max_bytes)) {
    sizes.emplace_back();
    for (const QuantizeJob& job : shard) {
      EXPECT_EQ(job.name, std::to_string(next++)) << "out of order";
      sizes.back().push_back(job.output_bytes);
    }
  }
  return sizes;
}

TEST(SplitInShardsTest, FilesHoldAtMostWhatTheyMay) {
  using Sizes = std::vector<int64_t>;
  EXPECT_THAT(Split({}, 10), IsEmpty());
  EXPECT_THAT(Split({4, 6}, 10), ElementsAre(Sizes{4, 6}));
  EXPECT_THAT(Split({4, 6}, 9), ElementsAre(Sizes{4}, Sizes{6}));
  EXPECT_THAT(Split({4, 6, 1, 9, 9}, 10),
              ElementsAre(Sizes{4, 6}, Sizes{1, 9}, Sizes{9}));
  // One that is too large for any has a file of its own.
  EXPECT_THAT(Split({1, 50, 1, 1}, 10),
              ElementsAre(Sizes{1}, Sizes{50}, Sizes{1, 1}));
  EXPECT_THAT(Split({3, 3}, 1), ElementsAre(Sizes{3}, Sizes{3}));
  constexpr int64_t kMost = INT64_MAX;
  EXPECT_THAT(Split({kMost, kMost}, kMost),
              ElementsAre(Sizes{kMost}, Sizes{kMost}));
}

}  // namespace
}  // namespace zqfp
