// SPDX-License-Identifier: Apache-2.0
// Models that other tools quantized, recorded by
// tests/golden/foreign_golden.py: the weights are the tool's bit for bit, the
// logits those of transformers' Llama, on every backend of this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "kernels/backend.h"
#include "kernels/core/float_formats.h"
#include "models/model.h"
#include "models/weights.h"
#include "nlohmann/json.hpp"
#include "tests/assets.h"
#include "tests/backends.h"
#include "tests/models/sequence_runner.h"
#include "xxhash.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;
using nlohmann::json;
using ::testing::HasSubstr;
using ::zqfp::testing::SequenceRunner;
using ::zqfp::testing::SourcePath;

constexpr const char* kRoot = "tests/golden/foreign";

std::vector<std::string> Variants() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(SourcePath(kRoot))) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string Directory(const std::string& variant) {
  return SourcePath(std::string(kRoot) + "/" + variant);
}

// Those whose inputs no kernel has.
bool NeedsWeightOnly(const std::string& variant) {
  return variant.ends_with("_a4") || variant == "modelopt_mxfp4_mlp";
}

json Golden(const std::string& variant) {
  std::ifstream file(Directory(variant) + "/golden.json");
  return json::parse(file);
}

// The factor of one weight as every tool computes it: f32, rounded.
float Scale(const kernels::WeightView& w, int64_t n, int64_t k) {
  if (w.format == WeightFormat::kE4m3) return w.row_scale[n];
  const int64_t groups = kernels::NumGroups(w.k, w.group_size);
  const int64_t at = n / w.scale_rows * groups + k / w.group_size;
  if (w.format == WeightFormat::kE2m1Shift) {
    return std::ldexp(w.row_scale[n], -w.shift[at]);
  }
  if (w.format == WeightFormat::kE2m1E4m3) {
    return kernels::E4m3ToFloat(w.scale_code[at]) * w.global_scale /
           w.global_divisor;
  }
  return w.group_scale[at];
}

std::vector<float> Dequantized(const kernels::WeightView& w) {
  const auto* bytes = static_cast<const uint8_t*>(w.data);
  const bool is_e4m3 =
      w.format == WeightFormat::kE4m3 || w.format == WeightFormat::kE4m3Groups;
  std::vector<float> values;
  for (int64_t n = 0; n < w.n; ++n) {
    for (int64_t k = 0; k < w.k; ++k) {
      const float code = is_e4m3 ? kernels::E4m3ToFloat(bytes[n * w.k + k])
                                 : kernels::E2m1ToFloat(kernels::UnpackE2m1(
                                       bytes + n * (w.k / 2), k));
      // + 0: a zero has no sign here; ModelOpt drops it.
      values.push_back(code * Scale(w, n, k) + 0.0f);
    }
  }
  return values;
}

class ForeignGoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ForeignGoldenTest, WeightsAreTheToolsBitForBit) {
  const json golden = Golden(GetParam());
  const auto model = Model::Load(
      Directory(GetParam()),
      {.num_threads = 2, .weight_only = NeedsWeightOnly(GetParam())});
  ASSERT_TRUE(model.ok()) << model.status();
  size_t found = 0;
  for (const LayerWeights& layer : (*model)->mutable_weights().layers) {
    for (const LinearWeight* linear : {&layer.q, &layer.k, &layer.v, &layer.o,
                                       &layer.gate, &layer.up, &layer.down}) {
      const bool is_listed = golden["weights"].contains(linear->name);
      EXPECT_EQ(linear->quantized(), is_listed) << linear->name;
      if (!is_listed) continue;
      ++found;
      const std::vector<float> values = Dequantized(linear->view);
      const uint64_t hash = XXH64(values.data(), values.size() * 4, 0);
      EXPECT_EQ(hash,
                std::stoull(golden["weights"][linear->name].get<std::string>(),
                            nullptr, 16))
          << linear->name << " " << linear->origin << " " << values[0];
    }
  }
  EXPECT_EQ(found, golden["weights"].size());
}

// As LogitBound of golden_test.cc, the weights' own roundings added: the tool
// rounds a scale twice and the weight once, which we do not.
double LogitBound(const Config& config, double largest) {
  const double steps = 7.0 * static_cast<double>(config.num_layers) + 1;
  const double terms =
      static_cast<double>(std::max(config.model_dim, config.ffn_dim)) + 3;
  return 8 * steps * terms * std::ldexp(1.0, -24) * largest;
}

// A noise floor is measured of models that do not.
TEST(ForeignGolden, ModelsSayWhetherTheyRoundInputs) {
  const std::pair<const char*, bool> kModels[] = {{"ct_fp8_dynamic", true},
                                                  {"ct_fp8_static", true},
                                                  {"ct_nvfp4", false},
                                                  {"gptoss_mxfp4", false}};
  for (const auto& [name, rounds] : kModels) {
    const auto model = Model::Load(Directory(name), {.backend = "reference"});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->rounds_inputs(), rounds) << name;
  }
}

TEST_P(ForeignGoldenTest, LogitsOfEveryBackend) {
  const json golden = Golden(GetParam());
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();
  const size_t rows = golden["logits"].size();
  for (const std::string& backend : testing::Backends()) {
    const auto model = Model::Load(
        Directory(GetParam()), {.num_threads = 2,
                                .backend = backend,
                                .weight_only = NeedsWeightOnly(GetParam())});
    if (model.status().code() == absl::StatusCode::kUnimplemented) {
      // Static and grouped input scales run on the CPU only.
      EXPECT_NE(kernels::MakeBackend(backend)->device, nullptr) << backend;
      continue;
    }
    ASSERT_TRUE(model.ok()) << model.status();
    const size_t vocab_size =
        static_cast<size_t>((*model)->config().vocab_size);
    for (const size_t chunk : {prompt.size(), size_t{3}}) {
      SequenceRunner runner(model->get(), kernels::ValueFormat::kF32, 64);
      const auto logits = runner.RunChunks(prompt, chunk);
      ASSERT_TRUE(logits.ok()) << logits.status();
      double largest = 0, difference = 0;
      for (size_t i = 0; i < rows * vocab_size; ++i) {
        const double want =
            golden["logits"][i / vocab_size][i % vocab_size].get<double>();
        const size_t at = (prompt.size() - rows) * vocab_size + i;
        largest = std::max(largest, std::fabs(want));
        difference = std::max(difference, std::fabs(want - (*logits)[at]));
      }
      EXPECT_LE(difference, LogitBound((*model)->config(), largest))
          << backend << ", chunks of " << chunk;
    }
  }
}

TEST_P(ForeignGoldenTest, RefusesInputsThatNoKernelHas) {
  const auto model = Model::Load(Directory(GetParam()), {.num_threads = 1});
  EXPECT_EQ(model.ok(), !NeedsWeightOnly(GetParam())) << model.status();
  if (model.ok()) return;
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("is not supported; --weight_only runs"));
}

INSTANTIATE_TEST_SUITE_P(All, ForeignGoldenTest,
                         ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param; });

LinearInfo Explained(const std::string& variant, const std::string& ending,
                     bool weight_only) {
  const auto model = Model::Load(
      Directory(variant), {.num_threads = 1, .weight_only = weight_only});
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  for (const LinearInfo& linear : (*model)->Explain()) {
    if (linear.name.ends_with(ending)) return linear;
  }
  return {};
}

TEST(ForeignExplainTest, SaysHowEachLinearIsHeldAndRun) {
  const LinearInfo mxfp4 = Explained("ct_mxfp4", "up_proj", false);
  EXPECT_EQ(mxfp4.weights, "e2m1 mxfp4 shifts group 32");
  EXPECT_EQ(mxfp4.note, "every row proved within the window");
  EXPECT_EQ(mxfp4.activations, "f32");
  EXPECT_TRUE(mxfp4.exact);
  const LinearInfo nvfp4 = Explained("ct_nvfp4_a8", "up_proj", false);
  EXPECT_EQ(nvfp4.weights, "e2m1 nvfp4 group 16");
  EXPECT_EQ(nvfp4.activations, "e4m3 per token");
  EXPECT_EQ(nvfp4.op, "matmul_a8");
  EXPECT_FALSE(nvfp4.exact);
  // Four bits a weight and eight a group of 16.
  EXPECT_EQ(nvfp4.num_bytes, nvfp4.n * nvfp4.k * 9 / 16);
  const LinearInfo fixed = Explained("modelopt_fp8", "up_proj", false);
  EXPECT_EQ(fixed.weights, "e4m3 per tensor");
  EXPECT_THAT(fixed.activations, HasSubstr("e4m3 static 0."));
  EXPECT_EQ(fixed.op, "matmul");
  const LinearInfo blocks = Explained("deepseek_fp8", "q_proj", false);
  EXPECT_EQ(blocks.weights, "e4m3 blocks 128 x 128");
  EXPECT_EQ(blocks.activations, "e4m3 per token and 128");
  const LinearInfo dropped = Explained("ct_nvfp4_a4", "up_proj", true);
  EXPECT_EQ(dropped.activations, "f32 (weight only)");
  const LinearInfo kept = Explained("ct_mixed", "gate_proj", false);
  EXPECT_EQ(kept.weights, "bf16");
}

TEST(ForeignStrictTest, WeightOnlyIsNoStrictWayToRun) {
  const ModelOptions options = {
      .num_threads = 1, .strict = true, .weight_only = true};
  const auto changed = Model::Load(Directory("ct_fp8_dynamic"), options);
  EXPECT_EQ(changed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(changed.status().message()),
              HasSubstr("strict: weight_only"));
  const auto same = Model::Load(Directory("ct_mxfp4"), options);
  EXPECT_TRUE(same.ok()) << same.status();
}

}  // namespace
}  // namespace zqfp
