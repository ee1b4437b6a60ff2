// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantize_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/core/views.h"
#include "models/config.h"
#include "models/safetensors.h"
#include "models/safetensors_writer.h"
#include "models/weights.h"
#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchDirectory;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A tiny Llama: model_dim 16, ffn 36 (a short group), 2 layers, vocab 24.
nlohmann::ordered_json TinyConfig() {
  return nlohmann::ordered_json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "zebra": [1e-05, null],
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 36,
    "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 24, "attention_bias": true,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16"})");
}

struct TinyTensor {
  std::string name;
  std::vector<int64_t> shape;
};

std::vector<TinyTensor> TinyTensors() {
  std::vector<TinyTensor> tensors = {{"model.embed_tokens.weight", {24, 16}},
                                     {"lm_head.weight", {24, 16}},
                                     {"model.norm.weight", {16}}};
  for (int layer = 0; layer < 2; ++layer) {
    const std::string base = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      tensors.push_back({base + name, std::move(shape)});
    };
    add("input_layernorm.weight", {16});
    add("post_attention_layernorm.weight", {16});
    add("self_attn.q_proj.weight", {16, 16});
    add("self_attn.q_proj.bias", {16});
    add("self_attn.k_proj.weight", {8, 16});
    add("self_attn.k_proj.bias", {8});
    add("self_attn.v_proj.weight", {8, 16});
    add("self_attn.v_proj.bias", {8});
    add("self_attn.o_proj.weight", {16, 16});
    add("self_attn.o_proj.bias", {16});
    add("mlp.gate_proj.weight", {36, 16});
    add("mlp.up_proj.weight", {36, 16});
    add("mlp.down_proj.weight", {16, 36});
  }
  return tensors;
}

// Writes the tensors as `dtype`; element `spoiled` of tensor `bad` is a NaN.
void WriteTensors(const std::string& path,
                  const std::vector<TinyTensor>& tensors, DType dtype,
                  const std::string& bad = "", size_t spoiled = 0) {
  std::vector<TensorPlan> plan;
  for (const TinyTensor& tensor : tensors) {
    plan.push_back({tensor.name, dtype, tensor.shape});
  }
  absl::StatusOr<SafetensorsWriter> writer =
      SafetensorsWriter::Create(path, plan);
  ASSERT_TRUE(writer.ok()) << writer.status();
  std::mt19937 generator(17);
  std::normal_distribution<float> value(0.0f, 0.1f);
  for (const TinyTensor& tensor : tensors) {
    size_t count = 1;
    for (const int64_t dim : tensor.shape) count *= static_cast<size_t>(dim);
    for (size_t i = 0; i < count; ++i) {
      const bool is_bad = tensor.name == bad && i == spoiled;
      const float f32 =
          is_bad ? std::numeric_limits<float>::quiet_NaN() : value(generator);
      const uint16_t half = dtype == DType::kF16 ? kernels::FloatToF16(f32)
                                                 : kernels::FloatToBf16(f32);
      uint8_t bytes[4];
      memcpy(bytes, &f32, 4);
      if (dtype != DType::kF32) memcpy(bytes, &half, 2);
      const size_t size = dtype == DType::kF32 ? 4 : 2;
      ASSERT_TRUE(writer->Append(absl::MakeSpan(bytes, size)).ok());
    }
  }
  ASSERT_TRUE(writer->Finish().ok());
}

// An input directory and where the output shall be.
class QuantizeCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(input());
    WriteConfig(TinyConfig());
    scratch_.Write("in/tokenizer.model", "pieces");
    scratch_.Write("in/tokenizer_config.json", "{}");
    scratch_.Write("in/LICENSE.txt", "licence");
    scratch_.Write("in/pytorch_model.bin", "not to be copied");
    scratch_.Write("in/README.md", "not to be copied");
    Write(DType::kF32);
  }

  std::string input() const { return scratch_ / "in"; }
  std::string output() const { return scratch_ / "out"; }
  void WriteConfig(const nlohmann::ordered_json& config) {
    scratch_.Write("in/config.json", config.dump());
  }
  void Write(DType dtype, const std::string& bad = "", size_t spoiled = 0) {
    WriteTensors(input() + "/model.safetensors", TinyTensors(), dtype, bad,
                 spoiled);
  }
  QuantizeOptions Options() const {
    QuantizeOptions options;
    options.input = input();
    options.output = output();
    options.scales = {32, ScaleConstraint::kM2, ScaleRounding::kSearch};
    options.num_threads = 2;
    return options;
  }
  // The output, bound as the model would bind it.
  absl::StatusOr<Weights> Bind() {
    absl::StatusOr<Config> config = LoadConfig(output());
    if (!config.ok()) return config.status();
    absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(output());
    if (!checkpoint.ok()) return checkpoint.status();
    return BindWeights(*std::move(checkpoint), *config, pool_);
  }
  // Fails with `message`, and nothing stands beside the input.
  void ExpectRefusal(const QuantizeOptions& options,
                     const std::string& message) {
    const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(options);
    ASSERT_FALSE(report.ok()) << message;
    EXPECT_THAT(std::string(report.status().message()), HasSubstr(message));
    ExpectOnlyInput();
  }
  void ExpectOnlyInput() {
    for (const auto& entry : fs::directory_iterator(scratch_.path())) {
      EXPECT_EQ(entry.path().filename(), "in");
    }
  }

  ScratchDirectory scratch_;
  kernels::ThreadPool pool_{2};
};

TEST_F(QuantizeCheckpointTest, WritesWhatTheModelBinds) {
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    for (const HeadFormat head :
         {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}) {
      QuantizeOptions options = Options();
      options.scales.constraint = constraint;
      options.lm_head = head;
      options.if_exists = IfExists::kReplace;
      const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(options);
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->tensors.size(), head == HeadFormat::kBf16 ? 14u : 15u);
      EXPECT_LT(report->bytes_after, report->bytes_before);
      const absl::StatusOr<Weights> weights = Bind();
      ASSERT_TRUE(weights.ok()) << weights.status();
      EXPECT_TRUE(weights->layers[1].down.quantized());
      EXPECT_EQ(weights->lm_head.quantized(), head != HeadFormat::kBf16);
    }
  }
}

TEST_F(QuantizeCheckpointTest, KeepsTheConfigAndItsOrder) {
  ASSERT_TRUE(QuantizeCheckpoint(Options()).ok());
  const auto config =
      nlohmann::ordered_json::parse(ReadFile(output() + "/config.json"));
  nlohmann::ordered_json wanted = TinyConfig();
  wanted["quantization_config"] = nlohmann::ordered_json::parse(R"({
    "quant_method": "zqfp", "version": 1,
    "weights": {"format": "e2m1", "group_size": 32, "scale_constraint": "m2",
                "scale_rounding": "search"},
    "activations": {"format": "e4m3", "granularity": "token",
                    "dynamic": true},
    "lm_head": "e4m3"})");
  EXPECT_EQ(config.dump(), wanted.dump());
}

TEST_F(QuantizeCheckpointTest, CopiesWhatBelongsToAModel) {
  ASSERT_TRUE(QuantizeCheckpoint(Options()).ok());
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(output())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names,
              ElementsAre("LICENSE.txt", "config.json", "model.safetensors",
                          "tokenizer.model", "tokenizer_config.json"));
  EXPECT_EQ(ReadFile(output() + "/tokenizer.model"), "pieces");
}

TEST_F(QuantizeCheckpointTest, NormsAndBiasesStayEmbeddingBecomesBf16) {
  ASSERT_TRUE(QuantizeCheckpoint(Options()).ok());
  const auto before = Checkpoint::Open(input());
  const auto after = Checkpoint::Open(output());
  ASSERT_TRUE(before.ok() && after.ok());
  for (const char* name :
       {"model.norm.weight", "model.layers.1.self_attn.k_proj.bias"}) {
    const Tensor* a = before->Find(name);
    const Tensor* b = after->Find(name);
    ASSERT_TRUE(a != nullptr && b != nullptr) << name;
    EXPECT_EQ(Describe(*a), Describe(*b));
    EXPECT_EQ(memcmp(a->data, b->data, static_cast<size_t>(a->num_bytes)), 0);
  }
  const Tensor* f32 = before->Find("model.embed_tokens.weight");
  const Tensor* bf16 = after->Find("model.embed_tokens.weight");
  ASSERT_TRUE(f32 != nullptr && bf16 != nullptr);
  EXPECT_EQ(Describe(*bf16), "BF16 [24, 16]");
  for (int i = 0; i < 24 * 16; ++i) {
    EXPECT_EQ(
        reinterpret_cast<const uint16_t*>(bf16->data)[i],
        kernels::FloatToBf16(reinterpret_cast<const float*>(f32->data)[i]));
  }
}

// The same numbers in bf16 and in f16 give the same codes as in f32.
TEST_F(QuantizeCheckpointTest, ReadsAllThreeFloatFormats) {
  for (const DType dtype : {DType::kBf16, DType::kF16}) {
    Write(dtype);
    QuantizeOptions options = Options();
    options.if_exists = IfExists::kReplace;
    ASSERT_TRUE(QuantizeCheckpoint(options).ok());
    ASSERT_TRUE(Bind().ok()) << Bind().status();
    const auto before = Checkpoint::Open(input());
    const auto after = Checkpoint::Open(output());
    const Tensor* source = before->Find("model.layers.0.mlp.up_proj.weight");
    std::vector<float> weights;
    for (int i = 0; i < 36 * 16; ++i) {
      const uint16_t code = reinterpret_cast<const uint16_t*>(source->data)[i];
      weights.push_back(dtype == DType::kF16 ? kernels::F16ToFloat(code)
                                             : kernels::Bf16ToFloat(code));
    }
    E2m1Rows rows;
    QuantizeToE2m1(weights, 16, options.scales, pool_, &rows);
    const Tensor* packed =
        after->Find("model.layers.0.mlp.up_proj.weight_packed");
    ASSERT_NE(packed, nullptr);
    EXPECT_EQ(memcmp(packed->data, rows.packed.data(), rows.packed.size()), 0);
    EXPECT_EQ(after->Find("model.embed_tokens.weight")->dtype, dtype);
  }
}

TEST_F(QuantizeCheckpointTest, SplitsInShardsWithAnIndex) {
  QuantizeOptions options = Options();
  options.max_shard_bytes = 1500;
  const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->num_files, 2);
  EXPECT_TRUE(fs::exists(output() + "/model.safetensors.index.json"));
  const absl::StatusOr<Weights> weights = Bind();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->checkpoint->total_bytes(), report->bytes_after);
}

TEST_F(QuantizeCheckpointTest, TiedHeadGetsATensorOfItsOwn) {
  nlohmann::ordered_json config = TinyConfig();
  config["tie_word_embeddings"] = true;
  WriteConfig(config);
  QuantizeOptions options = Options();
  options.if_exists = IfExists::kReplace;
  // The file of each kind: both tensors, only the head, only the embedding.
  for (const char* missing :
       {"", "model.embed_tokens.weight", "lm_head.weight"}) {
    std::vector<TinyTensor> tensors = TinyTensors();
    std::erase_if(tensors,
                  [&](const TinyTensor& t) { return t.name == missing; });
    WriteTensors(input() + "/model.safetensors", tensors, DType::kF32);
    for (const HeadFormat head : {HeadFormat::kBf16, HeadFormat::kE4m3}) {
      options.lm_head = head;
      const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(options);
      ASSERT_TRUE(report.ok()) << report.status();
      const absl::StatusOr<Weights> weights = Bind();
      ASSERT_TRUE(weights.ok()) << weights.status();
      EXPECT_EQ(weights->checkpoint->Find("lm_head.weight") != nullptr,
                head == HeadFormat::kE4m3);
    }
  }
}

TEST_F(QuantizeCheckpointTest, ANanIsNamedAndNothingIsLeft) {
  Write(DType::kF32, "model.layers.1.mlp.down_proj.weight", 77);
  ExpectRefusal(Options(),
                "model.safetensors: model.layers.1.mlp.down_proj.weight: want "
                "finite numbers, found a NaN or an infinity at element 77");
  Write(DType::kBf16, "model.norm.weight", 3);
  ExpectRefusal(Options(), "model.norm.weight: want finite numbers");
}

TEST_F(QuantizeCheckpointTest, TensorsMustFitTheConfig) {
  const auto rewrite = [&](auto&& change) {
    std::vector<TinyTensor> tensors = TinyTensors();
    change(tensors);
    WriteTensors(input() + "/model.safetensors", tensors, DType::kF32);
  };
  rewrite([](auto& tensors) { tensors.pop_back(); });
  ExpectRefusal(Options(), "want tensor model.layers.1.mlp.down_proj.weight");
  rewrite([](auto& tensors) { tensors.back().shape = {36, 16}; });
  ExpectRefusal(Options(),
                "model.layers.1.mlp.down_proj.weight: want F32 or BF16 or F16 "
                "[16, 36], file has F32 [36, 16]");
  rewrite([](auto& tensors) { tensors.push_back({"model.more", {4}}); });
  ExpectRefusal(Options(), "model.more: want only tensors that");
  rewrite([](auto& tensors) {
    tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}});
  });
  EXPECT_TRUE(QuantizeCheckpoint(Options()).ok());
}

TEST_F(QuantizeCheckpointTest, RefusesWhatItCannotDo) {
  QuantizeOptions options = Options();
  options.scales.group_size = 48;
  ExpectRefusal(options, "group size: want 32, 64, 128 or 256, found 48");
  options = Options();
  options.input = scratch_ / "nothing";
  ExpectRefusal(options, "nothing/config.json: cannot open");
  options = Options();
  options.output = input() + "/inside";
  ExpectRefusal(options, "apart from the input");
  EXPECT_FALSE(fs::exists(input() + "/inside"));
  options.output = input() + "/.";
  options.if_exists = IfExists::kReplace;
  ExpectRefusal(options, "apart from the input");
  options.output = scratch_.path();
  ExpectRefusal(options, "apart from the input");
}

TEST_F(QuantizeCheckpointTest, RefusesAQuantizedInput) {
  ASSERT_TRUE(QuantizeCheckpoint(Options()).ok());
  QuantizeOptions again = Options();
  again.input = output();
  again.output = scratch_ / "twice";
  const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(again);
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("found one that is quantized already"));
  EXPECT_FALSE(fs::exists(again.output));
}

TEST_F(QuantizeCheckpointTest, ReplacesOnlyWhenAsked) {
  fs::create_directory(output());  // empty: fine
  ASSERT_TRUE(QuantizeCheckpoint(Options()).ok());
  scratch_.Write("out/mine.txt", "x");
  EXPECT_EQ(QuantizeCheckpoint(Options()).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::exists(output() + "/mine.txt"));
  QuantizeOptions options = Options();
  options.if_exists = IfExists::kReplace;
  // A failure keeps the old directory.
  Write(DType::kF32, "model.norm.weight", 0);
  EXPECT_FALSE(QuantizeCheckpoint(options).ok());
  EXPECT_TRUE(fs::exists(output() + "/mine.txt"));
  Write(DType::kF32);
  ASSERT_TRUE(QuantizeCheckpoint(options).ok());
  EXPECT_FALSE(fs::exists(output() + "/mine.txt"));
  EXPECT_TRUE(Bind().ok());
  fs::remove_all(output());
  scratch_.Write("out", "a file");
  EXPECT_THAT(std::string(QuantizeCheckpoint(options).status().message()),
              HasSubstr("want a directory to create, found a file"));
}

TEST_F(QuantizeCheckpointTest, ProgressReachesTheEndAndCanCancel) {
  QuantizeOptions options = Options();
  int64_t last = 0;
  int64_t total = 0;
  options.progress = [&](const QuantizeProgress& progress) {
    EXPECT_GE(progress.done_bytes, last);
    last = progress.done_bytes;
    total = progress.total_bytes;
    return absl::OkStatus();
  };
  ASSERT_TRUE(QuantizeCheckpoint(options).ok());
  EXPECT_EQ(last, total);
  fs::remove_all(output());
  options.progress = [&](const QuantizeProgress& progress) {
    return progress.done_bytes > total / 2 ? absl::CancelledError("stop")
                                           : absl::OkStatus();
  };
  ExpectRefusal(options, "stop");
}

TEST_F(QuantizeCheckpointTest, AFullDiskLeavesNothing) {
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t limit : {rlim_t{4096}, rlim_t{3}}) {
    const struct rlimit small = {limit, before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const absl::Status status = QuantizeCheckpoint(Options()).status();
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("model.safetensors: cannot write: File too large"));
    ExpectOnlyInput();
  }
  signal(SIGXFSZ, handler);
}

TEST_F(QuantizeCheckpointTest, RealCheckpoints) {
  for (const char* model :
       {"tinystories-656k", "babyllama-1m", "stories-260k"}) {
    QuantizeOptions options = Options();
    options.input = testing::AssetPath(std::string("models/") + model);
    if (options.input.empty()) GTEST_SKIP() << "not run: no shared assets";
    options.if_exists = IfExists::kReplace;
    const absl::StatusOr<QuantizeReport> report = QuantizeCheckpoint(options);
    ASSERT_TRUE(report.ok()) << report.status();
    for (const TensorReport& tensor : report->tensors) {
      EXPECT_LT(tensor.rounding.relative_error(), 0.0125) << tensor.name;
      EXPECT_LE(tensor.rounding.max_shift, kernels::kMaxShift);
      EXPECT_EQ(tensor.rounding.clamped_rows, 0);
    }
    EXPECT_TRUE(Bind().ok()) << Bind().status();
  }
}

}  // namespace
}  // namespace zqfp
