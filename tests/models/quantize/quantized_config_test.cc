// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/quantized_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/models/editable_checkpoint.h"

namespace zqfp {
namespace {

using nlohmann::ordered_json;
using testing::EditableCheckpoint;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using testing::SourcePath;

QuantizeOptions Options() {
  QuantizeOptions options;
  options.input = SourcePath("tests/golden/models/llama_mha");
  options.num_threads = 2;
  return options;
}

QuantizeOptions Calibrated() {
  QuantizeOptions options = Options();
  options.linears.method = QuantizeMethod::kGptq;
  options.linears.lorc = {.rank = 4, .weighting = LorcWeighting::kWeighted};
  options.calibration = {{1, 2}, {3}};
  options.calibration_source = {"text.txt", "0123456789abcdef"};
  return options;
}

ordered_json Parse(const QuantizeOptions& options,
                   const std::vector<std::string>& kept = {}) {
  const auto text = MakeConfigText(options, kept);
  EXPECT_TRUE(text.ok()) << text.status();
  EXPECT_TRUE(text->ends_with("}\n"));
  return ordered_json::parse(*text);
}

// The whole of quantization_config, by value and order, for each kind.
TEST(MakeConfigTextTest, SaysWhatTheModelIs) {
  QuantizeOptions options = Options();
  EXPECT_EQ(Parse(options)["quantization_config"].dump(),
            ordered_json::parse(R"({"quant_method": "zqfp", "version": 1,
      "weights": {"format": "e2m1", "group_size": 128,
                  "scale_constraint": "m2", "scale_rounding": "search"},
      "activations": {"format": "e4m3", "granularity": "token",
                      "dynamic": true},
      "lm_head": "e4m3"})")
                .dump());
  options.linears.grid.scales = {32, ScaleConstraint::kFree,
                                 ScaleRounding::kNearest};
  options.linears.activations = ActivationFormat::kNone;
  options.lm_head = HeadFormat::kBf16;
  options.linears.lorc = {.rank = 8, .format = kernels::ValueFormat::kBf16};
  EXPECT_EQ(Parse(options, {"a", "b"})["quantization_config"].dump(),
            ordered_json::parse(R"({"quant_method": "zqfp", "version": 1,
      "weights": {"format": "e2m1", "group_size": 32,
                  "scale_constraint": "free", "scale_rounding": "nearest"},
      "activations": null, "lm_head": "bf16",
      "lorc": {"rank": 8, "format": "bf16", "weighting": "plain"},
      "keep": ["a", "b"]})")
                .dump());
  // Rows of e4m3 have neither groups nor constraints.
  options = Options();
  options.linears.grid.format = GridFormat::kE4m3;
  EXPECT_EQ(Parse(options)["quantization_config"]["weights"].dump(),
            R"({"format":"e4m3"})");
}

TEST(MakeConfigTextTest, SaysHowItWasCalibrated) {
  const ordered_json own = Parse(Calibrated())["quantization_config"];
  const ordered_json& calibration = own["calibration"];
  EXPECT_EQ(calibration["method"], "gptq");
  EXPECT_EQ(calibration["damping"], 0.01);
  EXPECT_EQ(calibration["act_order"], true);
  EXPECT_EQ(calibration["true_sequential"], true);
  EXPECT_EQ(calibration["text"], "text.txt");
  EXPECT_EQ(calibration["text_hash"], "0123456789abcdef");
  EXPECT_EQ(calibration["sequences"], 2);
  EXPECT_EQ(calibration["tokens"], 3);
  EXPECT_EQ(own["lorc"]["weighting"], "weighted");
  QuantizeOptions other = Calibrated();
  other.linears.column_order = ColumnOrder::kAsStored;
  other.stages = StageOrder::kWholeLayer;
  const ordered_json changed =
      Parse(other)["quantization_config"]["calibration"];
  EXPECT_EQ(changed["act_order"], false);
  EXPECT_EQ(changed["true_sequential"], false);
  // What needs none names none.
  EXPECT_FALSE(Parse(Options())["quantization_config"].contains("calibration"));
}

// Integers are f32 to a loader, which must not be told otherwise.
TEST(MakeConfigTextTest, ASimulationIsNoQuantizedModel) {
  for (const GridFormat format : {GridFormat::kInt4, GridFormat::kInt8}) {
    QuantizeOptions options = Options();
    options.linears.grid.format = format;
    options.linears.activations = ActivationFormat::kInt8;
    const ordered_json config = Parse(options);
    EXPECT_FALSE(config.contains("quantization_config"));
    const ordered_json& own = config["zqfp_simulation"];
    EXPECT_EQ(own["weights"]["format"], std::string(ToString(format)));
    EXPECT_FALSE(own["weights"].contains("scale_constraint"));
    EXPECT_EQ(own["activations"]["format"], "int8");
  }
}

TEST(MakeConfigTextTest, KeepsTheRestInItsOrder) {
  const ScratchDirectory scratch;
  QuantizeOptions options = Options();
  options.input = scratch.path();
  scratch.Write(
      "config.json",
      R"({"z": [1e-05, null], "a": "\u00e4", "m": {"b": 1, "a": 2}})");
  ordered_json config = Parse(options);
  config.erase("quantization_config");
  EXPECT_EQ(config.dump(), ordered_json::parse(
                               R"({"z": [1e-05, null], "a": "\u00e4",
                                   "m": {"b": 1, "a": 2}})")
                               .dump());
  // One that is there is replaced, not added to.
  scratch.Write("config.json",
                R"({"quantization_config": {"old": 1}, "b": 2})");
  config = Parse(options);
  EXPECT_FALSE(config["quantization_config"].contains("old"));
  EXPECT_EQ(config["b"], 2);
}

TEST(MakeConfigTextTest, RefusesWhatIsNoConfig) {
  const ScratchDirectory scratch;
  QuantizeOptions options = Options();
  options.input = scratch.path();
  EXPECT_EQ(MakeConfigText(options, {}).status().code(),
            absl::StatusCode::kNotFound);
  for (const char* text : {"", "[]", "3", "{\"a\": ", "{} {}", "\xff\xfe"}) {
    scratch.Write("config.json", text);
    const auto result = MakeConfigText(options, {});
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument)
        << text;
    EXPECT_THAT(std::string(result.status().message()),
                HasSubstr("want a JSON object"));
  }
}

// Layers of one job may go on another only where all of this is the same.
TEST(DescribeJobTest, DiffersWithEverythingThatLayersDependOn) {
  using Change = std::function<void(QuantizeOptions*)>;
  const Change changes[] = {
      [](auto*) {},
      [](auto* o) {
        o->calibration = {{1, 2}, {4}};
      },
      [](auto* o) {
        o->calibration = {{1}, {2, 3}};
      },
      [](auto* o) {
        o->calibration = {{1, 2}, {3}, {}};
      },
      [](auto* o) {
        o->calibration = {{3}, {1, 2}};
      },
      [](auto* o) { o->num_threads = 3; },
      [](auto* o) { o->stages = StageOrder::kWholeLayer; },
      [](auto* o) { o->linears.damping = 0.02; },
      [](auto* o) { o->linears.column_order = ColumnOrder::kAsStored; },
      [](auto* o) { o->linears.activations = ActivationFormat::kNone; },
      [](auto* o) { o->linears.lorc.rank = 5; },
      [](auto* o) { o->linears.lorc.format = kernels::ValueFormat::kBf16; },
      [](auto* o) { o->linears.grid.format = GridFormat::kE4m3; },
      [](auto* o) { o->linears.grid.scales.group_size = 64; },
      [](auto* o) { o->linears.grid.scales.constraint = ScaleConstraint::kM1; },
      [](auto* o) { o->linears.grid.scales.rounding = ScaleRounding::kPaper; },
      [](auto* o) { o->input = SourcePath("tests/golden/models/llama_f32"); }};
  for (const QuantizeMethod method :
       {QuantizeMethod::kGptq, QuantizeMethod::kRtn}) {
    std::set<std::string> jobs;
    for (const Change& change : changes) {
      QuantizeOptions options = Calibrated();
      options.linears.method = method;
      change(&options);
      const auto job = DescribeJob(options, {});
      ASSERT_TRUE(job.ok()) << job.status();
      EXPECT_TRUE(jobs.insert(*job).second)
          << ToString(method) << ", change " << &change - changes;
    }
    QuantizeOptions options = Calibrated();
    options.linears.method = method;
    EXPECT_TRUE(jobs.insert(*DescribeJob(options, {"kept"})).second);
  }
}

// One bit of one tensor, and what the config says of the same bytes.
TEST(DescribeJobTest, DiffersWithTheBytesOfTheInput) {
  const ScratchDirectory scratch;
  QuantizeOptions options = Calibrated();
  options.input = scratch.path();
  EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_mha");
  checkpoint.Write(scratch);
  const std::string job = *DescribeJob(options, {});
  for (const char* name : {"model.layers.1.mlp.down_proj.weight",
                           "model.norm.weight", "model.embed_tokens.weight"}) {
    std::string& bytes = checkpoint.tensors.at(name).bytes;
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    checkpoint.Write(scratch);
    EXPECT_NE(*DescribeJob(options, {}), job) << name;
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
  }
  checkpoint.config["rms_norm_eps"] = 0.5;
  checkpoint.Write(scratch);
  EXPECT_NE(*DescribeJob(options, {}), job);
}

TEST(HashOfModelTest, IsOfConfigAndTensorsWhereverTheyLie) {
  const ScratchDirectory first, second;
  EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_mha");
  checkpoint.Write(first);
  checkpoint.Write(second);
  const auto hash = HashOfModel(first.path());
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(hash->size(), 16u);
  EXPECT_EQ(*HashOfModel(second.path()), *hash);
  std::string& bytes = checkpoint.tensors.at("model.norm.weight").bytes;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  checkpoint.Write(second);
  EXPECT_NE(*HashOfModel(second.path()), *hash);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  checkpoint.config["rms_norm_eps"] = 0.5;
  checkpoint.Write(second);
  EXPECT_NE(*HashOfModel(second.path()), *hash);
  EXPECT_FALSE(HashOfModel("no/such/model").ok());
}

TEST(DescribeJobTest, IsTheSameForWhatLayersDoNotDependOn) {
  const std::string job = *DescribeJob(Calibrated(), {});
  EXPECT_TRUE(job.ends_with("}\n"));
  QuantizeOptions options = Calibrated();
  options.output = "elsewhere";
  options.max_shard_bytes = 5;
  options.if_exists = IfExists::kReplace;
  options.if_interrupted = IfInterrupted::kResume;
  options.progress = [](const auto&) { return absl::OkStatus(); };
  EXPECT_EQ(*DescribeJob(options, {}), job);
  options.input = "no/such/model";
  EXPECT_FALSE(DescribeJob(options, {}).ok());
}

}  // namespace
}  // namespace zqfp
