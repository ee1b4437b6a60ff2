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
    if (tensor.name == "lm_head.weight") {  // a copy of the embedding
      generator.seed(17);
      value.reset();
    }
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
    options.linears.grid.scales = {32, ScaleConstraint::kM2,
                                   ScaleRounding::kSearch};
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
      options.linears.grid.scales.constraint = constraint;
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
    QuantizeToE2m1(weights, 16, options.linears.grid.scales, pool_, &rows);
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
  options.linears.grid.scales.group_size = 48;
  ExpectRefusal(options, "group size: want 32, 64, 128 or 256, found 48");
  options = Options();
  options.linears.lorc.rank = 65;
  ExpectRefusal(options, "want a rank of 0 .. 64, found 65");
  options = Options();
  options.linears.damping = 0;
  ExpectRefusal(options, "damping: want more than 0");
  options = Options();
  options.linears.activations = ActivationFormat::kInt8;
  ExpectRefusal(options, "want none or e4m3 with e2m1 weights, found int8");
  options = Options();
  options.linears.grid.format = GridFormat::kE4m3;
  options.lm_head = HeadFormat::kE2m1;
  ExpectRefusal(options, "lm_head: want bf16 or e4m3");
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
  double last = 0;
  options.progress = [&](const QuantizeProgress& progress) {
    EXPECT_GE(progress.share, last);
    last = progress.share;
    return absl::OkStatus();
  };
  ASSERT_TRUE(QuantizeCheckpoint(options).ok());
  EXPECT_EQ(last, 1);
  fs::remove_all(output());
  options.progress = [&](const QuantizeProgress& progress) {
    return progress.share > 0.5 ? absl::CancelledError("stop")
                                : absl::OkStatus();
  };
  ExpectRefusal(options, "stop");
}

// Options of a job with a calibration.
QuantizeOptions Calibrated(QuantizeOptions options) {
  options.linears.method = QuantizeMethod::kGptq;
  options.linears.lorc = {.rank = 2, .weighting = LorcWeighting::kWeighted};
  options.calibration_source = {"stories.txt", "0123456789abcdef"};
  std::mt19937 random(3);
  for (int i = 0; i < 6; ++i) {
    options.calibration.emplace_back();
    for (int j = 0; j < 20; ++j) {
      options.calibration.back().push_back(static_cast<int32_t>(random() % 24));
    }
  }
  return options;
}

TEST_F(QuantizeCheckpointTest, CalibratedModelBindsAndSaysHowItWasMade) {
  for (const StageOrder stages :
       {StageOrder::kTrueSequential, StageOrder::kWholeLayer}) {
    QuantizeOptions options = Calibrated(Options());
    options.stages = stages;
    options.if_exists = IfExists::kReplace;
    std::vector<int64_t> layers;
    options.on_layer = [&](const LayerReport& layer) {
      layers.push_back(layer.layer_index);
      EXPECT_EQ(layer.num_layers, 2);
      EXPECT_GT(layer.seconds, 0);
      EXPECT_EQ(layer.tensors.size(), 7u);
    };
    const auto report = QuantizeCheckpoint(options);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(layers, ElementsAre(0, 1));
    for (const TensorReport& tensor : report->tensors) {
      if (tensor.name == "lm_head") continue;
      EXPECT_GE(tensor.output_error, 0);
      EXPECT_LT(tensor.output_error, tensor.rounding.relative_error());
    }
    const auto weights = Bind();
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(weights->layers[1].down.view.lorc.rank, 2);
    EXPECT_FALSE(fs::exists(output() + ".layers"));
    const auto config =
        nlohmann::json::parse(ReadFile(output() + "/config.json"));
    const nlohmann::json& own = config["quantization_config"];
    EXPECT_EQ(own["calibration"]["method"], "gptq");
    EXPECT_EQ(own["calibration"]["text"], "stories.txt");
    EXPECT_EQ(own["calibration"]["tokens"], 120);
    EXPECT_EQ(own["calibration"]["true_sequential"],
              stages == StageOrder::kTrueSequential);
    EXPECT_EQ(own["lorc"]["weighting"], "weighted");
  }
}

TEST_F(QuantizeCheckpointTest, AnInterruptedJobGoesOnToTheSameBytes) {
  const QuantizeOptions options = Calibrated(Options());
  ASSERT_TRUE(QuantizeCheckpoint(options).ok());
  const std::string wanted = ReadFile(output() + "/model.safetensors");
  const std::string config = ReadFile(output() + "/config.json");
  fs::remove_all(output());

  QuantizeOptions stopped = options;
  stopped.progress = [](const QuantizeProgress& progress) {
    return progress.note == "layer 2 of 2" ? absl::CancelledError("stop")
                                           : absl::OkStatus();
  };
  EXPECT_EQ(QuantizeCheckpoint(stopped).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_FALSE(fs::exists(output()));
  EXPECT_TRUE(fs::exists(output() + ".layers"));

  // Nothing is lost or used by accident.
  const absl::Status refused = QuantizeCheckpoint(options).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--resume"));
  QuantizeOptions other = options;
  other.if_interrupted = IfInterrupted::kResume;
  other.calibration.front().front() ^= 1;
  EXPECT_THAT(std::string(QuantizeCheckpoint(other).status().message()),
              HasSubstr("found those of another"));

  QuantizeOptions resumed = options;
  resumed.if_interrupted = IfInterrupted::kResume;
  std::vector<double> seconds;
  resumed.on_layer = [&](const LayerReport& layer) {
    seconds.push_back(layer.seconds);
  };
  const auto report = QuantizeCheckpoint(resumed);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(seconds, ElementsAre(0, ::testing::Gt(0)));
  EXPECT_EQ(ReadFile(output() + "/model.safetensors"), wanted);
  EXPECT_EQ(ReadFile(output() + "/config.json"), config);
  EXPECT_FALSE(fs::exists(output() + ".layers"));
}

TEST_F(QuantizeCheckpointTest, CalibrationThatCannotBe) {
  QuantizeOptions options = Calibrated(Options());
  options.calibration.clear();
  EXPECT_THAT(std::string(QuantizeCheckpoint(options).status().message()),
              HasSubstr("want at least one sequence"));
  options = Calibrated(Options());
  options.if_interrupted = IfInterrupted::kStartOver;
  options.calibration.front() = {1, 99};
  EXPECT_THAT(std::string(QuantizeCheckpoint(options).status().message()),
              HasSubstr("token ids below: want 24, found 99"));
}

TEST_F(QuantizeCheckpointTest, KeepsWhatItIsToldTo) {
  for (QuantizeOptions options : {Options(), Calibrated(Options())}) {
    options.if_exists = IfExists::kReplace;
    options.keep = [](const std::string& name) {
      return name.ends_with("down_proj") || name.starts_with("model.layers.0");
    };
    ASSERT_TRUE(QuantizeCheckpoint(options).ok());
    const auto weights = Bind();
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_FALSE(weights->layers[0].q.quantized());
    EXPECT_FALSE(weights->layers[1].down.quantized());
    EXPECT_TRUE(weights->layers[1].up.quantized());
  }
}

// INT4 and INT8 come out as the f32 numbers that they are.
TEST_F(QuantizeCheckpointTest, SimulatesIntegers) {
  for (const auto& [format, levels] :
       {std::pair(GridFormat::kInt4, 16), std::pair(GridFormat::kInt8, 256)}) {
    QuantizeOptions options = Options();
    options.linears.grid.format = format;
    options.linears.activations = ActivationFormat::kInt8;
    EXPECT_THAT(std::string(QuantizeCheckpoint(options).status().message()),
                HasSubstr("want bf16 in a simulation"));
    options.lm_head = HeadFormat::kBf16;
    options.if_exists = IfExists::kReplace;
    ASSERT_TRUE(QuantizeCheckpoint(options).ok());
    EXPECT_TRUE(Bind().ok()) << Bind().status();
    EXPECT_FALSE(LoadConfig(output())->quantization.has_value());
    const auto file = Checkpoint::Open(output());
    const Tensor* up = file->Find("model.layers.0.mlp.up_proj.weight");
    ASSERT_EQ(Describe(*up), "F32 [36, 16]");
    const float* row = reinterpret_cast<const float*>(up->data);
    std::vector<float> values(row, row + 16);
    std::sort(values.begin(), values.end());
    // Evenly spaced: differences are multiples of the step.
    const float step =
        (std::max(values.back(), 0.0f) - std::min(values.front(), 0.0f)) /
        static_cast<float>(levels - 1);
    for (size_t i = 1; i < values.size(); ++i) {
      const float steps = (values[i] - values[i - 1]) / step;
      EXPECT_NEAR(steps, std::round(steps), 1e-3);
    }
  }
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
    if (options.input.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
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
