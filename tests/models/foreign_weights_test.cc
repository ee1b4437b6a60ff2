// SPDX-License-Identifier: Apache-2.0
// Tensors that other tools could not have written.
#include "models/foreign_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "models/model.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tests/models/editable_checkpoint.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::zqfp::testing::EditableCheckpoint;
using ::zqfp::testing::EditableTensor;
using ::zqfp::testing::ScratchDirectory;
using ::zqfp::testing::SourcePath;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::string kUp = "model.layers.0.mlp.up_proj";

EditableCheckpoint Foreign(const std::string& variant) {
  EditableCheckpoint checkpoint =
      EditableCheckpoint::Read(SourcePath("tests/golden/foreign/" + variant));
  // What ModelOpt says in a second file only.
  if (variant == "modelopt_nvfp4_a8") {
    checkpoint.config["quantization_config"]["group_size"] = 32;
  }
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Model>> Load(
    const EditableCheckpoint& checkpoint, bool weight_only = false) {
  const ScratchDirectory scratch;
  checkpoint.Write(scratch);
  return Model::Load(scratch / "",
                     {.num_threads = 1, .weight_only = weight_only});
}

// The file with one tensor changed is refused, and the tensor named.
void ExpectRefusal(const std::string& variant, const std::string& tensor,
                   const std::function<void(EditableTensor&)>& change,
                   const std::string& text) {
  EditableCheckpoint checkpoint = Foreign(variant);
  ASSERT_TRUE(checkpoint.tensors.contains(tensor)) << tensor;
  ASSERT_TRUE(Load(checkpoint).ok()) << Load(checkpoint).status();
  change(checkpoint.tensors[tensor]);
  const auto model = Load(checkpoint);
  EXPECT_FALSE(model.ok()) << tensor;
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(tensor));
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(text));
}

TEST(ForeignWeightsTest, RefusesHostileScales) {
  for (const uint8_t code : {0x7f, 0xff, 0x80, 0xb8}) {
    ExpectRefusal(
        "ct_nvfp4", kUp + ".weight_scale",
        [&](EditableTensor& tensor) { tensor.Set(5, code); },
        "want finite scales of 0 or more");
  }
  ExpectRefusal(
      "ct_mxfp4", kUp + ".weight_scale",
      [](EditableTensor& tensor) { tensor.Set<uint8_t>(1, 255); },
      "want ue8m0 scales of 0..252");
  ExpectRefusal(
      "gptoss_mxfp4", kUp + ".weight_scales",
      [](EditableTensor& tensor) { tensor.Set<uint8_t>(1, 254); },
      "found 254 in row 0");
  for (const float value : {0.0f, -1.0f, kNan, kInfinity}) {
    const auto set = [&](EditableTensor& tensor) { tensor.Set(0, value); };
    ExpectRefusal("ct_nvfp4", kUp + ".weight_global_scale", set,
                  "want finite scales above 0");
    ExpectRefusal("modelopt_fp8", kUp + ".weight_scale", set, "above 0");
    ExpectRefusal("modelopt_fp8", kUp + ".input_scale", set, "above 0");
    ExpectRefusal("modelopt_nvfp4_a8", kUp + ".weight_scale_2", set, "above 0");
    ExpectRefusal("deepseek_fp8", kUp + ".weight_scale_inv", set, "above 0");
  }
  ExpectRefusal(
      "ct_fp8_dynamic", kUp + ".weight_scale",
      [](EditableTensor& tensor) { tensor.Set<uint16_t>(3, 0); },
      "found 0 at element 3");
  ExpectRefusal(
      "ct_nvfp4", kUp + ".weight_global_scale",
      [](EditableTensor& tensor) { tensor.Set(0, 1e-38f); },
      "want a scale of finite f32 weights");
  ExpectRefusal(
      "ct_fp8_dynamic", kUp + ".weight",
      [](EditableTensor& tensor) { tensor.Set<uint8_t>(9, 0x7f); },
      "found a NaN or an infinity at element 9");
}

// A tensor of another shape or dtype is refused with both.
TEST(ForeignWeightsTest, RefusesWrongShapesAndDtypes) {
  const auto reshape = [](std::vector<int64_t> shape, size_t bytes) {
    return [=](EditableTensor& tensor) {
      tensor.shape = shape;
      tensor.bytes.resize(bytes);
    };
  };
  ExpectRefusal("ct_mxfp4", kUp + ".weight_packed", reshape({32, 16}, 512),
                "want U8 [32, 32], file has U8 [32, 16]");
  ExpectRefusal("ct_mxfp4", kUp + ".weight_scale", reshape({32, 1}, 32),
                "want U8 [32, 2]");
  ExpectRefusal("gptoss_mxfp4", kUp + ".weight_blocks", reshape({32, 32}, 1024),
                "want U8 [32, 2, 16], file has U8 [32, 32]");
  ExpectRefusal("ct_nvfp4", kUp + ".weight_global_scale", reshape({2}, 8),
                "want F32 or BF16 or F16 [] or [1] or [1, 1]");
  ExpectRefusal("deepseek_fp8",
                "model.layers.0.self_attn.q_proj.weight_scale_inv",
                reshape({1, 2}, 8), "[2, 2]");
  ExpectRefusal("ct_fp8_dynamic", kUp + ".weight_scale", reshape({8, 1}, 16),
                "[16, 1] or [16]");
  ExpectRefusal(
      "ct_fp8_dynamic", kUp + ".weight",
      [](EditableTensor& tensor) { tensor.dtype = "F8_E5M2"; },
      "want F8_E4M3 [16, 32], file has F8_E5M2");
  ExpectRefusal(
      "ct_nvfp4", kUp + ".weight_scale",
      [](EditableTensor& tensor) { tensor.dtype = "U8"; },
      "want F8_E4M3 [16, 2]");
}

TEST(ForeignWeightsTest, RefusesTensorsThatAreMissingOrTooMany) {
  for (const auto& [variant, tensor] :
       std::vector<std::pair<std::string, std::string>>{
           {"ct_mxfp4", ".weight_scale"},
           {"ct_nvfp4", ".weight_global_scale"},
           {"modelopt_fp8", ".input_scale"},
           {"deepseek_fp8", ".weight_scale_inv"},
           {"gptoss_mxfp4", ".weight_blocks"}}) {
    EditableCheckpoint checkpoint = Foreign(variant);
    ASSERT_EQ(checkpoint.tensors.erase(kUp + tensor), 1);
    const auto model = Load(checkpoint);
    EXPECT_EQ(model.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(kUp + tensor));
  }
  for (const char* name : {".weight_g_idx", ".weight_zero_point",
                           ".pre_quant_scale", ".input_scale", ".k_scale"}) {
    EditableCheckpoint checkpoint = Foreign("ct_mxfp4");
    checkpoint.tensors[kUp + name] = {"F32", {1}, std::string(4, '\0')};
    const auto model = Load(checkpoint);
    EXPECT_FALSE(model.ok()) << name;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(kUp + name));
  }
}

// Scales of a cache go with the cache, and only with it.
TEST(ForeignWeightsTest, WeightOnlyPassesOverInputsAndCaches) {
  EditableCheckpoint checkpoint = Foreign("modelopt_fp8");
  checkpoint.tensors["model.layers.0.self_attn.k_proj.k_scale"] = {
      "F32", {}, std::string(4, '\0')};
  EXPECT_FALSE(Load(checkpoint).ok());
  const auto model = Load(checkpoint, true);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->Explain()[0].activations, "f32 (weight only)");
  checkpoint.tensors[kUp + ".surprise"] = {"F32", {1}, std::string(4, '\0')};
  EXPECT_FALSE(Load(checkpoint, true).ok());
}

// A row beyond the window: the whole tensor goes free, with the same values,
// and the explanation names the row.
TEST(ForeignWeightsTest, MxfpBeyondTheWindowGoesFree) {
  EditableCheckpoint checkpoint = Foreign("ct_mxfp4");
  EditableTensor& scales = checkpoint.tensors[kUp + ".weight_scale"];
  scales.Set<uint8_t>(6, 80);
  scales.Set<uint8_t>(7, 130);
  const auto model = Load(checkpoint);
  ASSERT_TRUE(model.ok()) << model.status();
  const LinearWeight& up = (*model)->mutable_weights().layers[0].up;
  EXPECT_EQ(up.view.format, WeightFormat::kE2m1Free);
  EXPECT_EQ(up.origin, "e2m1 mxfp4 free group 32");
  EXPECT_EQ(up.note, "row 3 spans 2^50, shifts reach 2^14");
  for (size_t i = 0; i < scales.bytes.size(); ++i) {
    EXPECT_EQ(up.view.group_scale[i],
              std::ldexp(1.0, static_cast<uint8_t>(scales.bytes[i]) - 127));
  }
  EXPECT_EQ((*model)->mutable_weights().layers[0].gate.view.format,
            WeightFormat::kE2m1Shift);
  EXPECT_FALSE((*model)->Explain()[5].exact);
}

// Codes and scales of NVFP4 stay where the file is mapped.
TEST(ForeignWeightsTest, Nvfp4KeepsItsScaleBytes) {
  const auto model = Load(Foreign("modelopt_nvfp4_a8"));
  ASSERT_TRUE(model.ok()) << model.status();
  const Weights& weights = (*model)->mutable_weights();
  const LinearWeight& up = weights.layers[0].up;
  EXPECT_EQ(up.view.scale_code,
            (*weights.checkpoint->Get(kUp + ".weight_scale"))->data);
  EXPECT_TRUE(up.scales.empty());
  EXPECT_GT(up.input_scale, 0);
}

TEST(ForeignWeightsTest, AQuantizedModelIsNotQuantizedAgain) {
  const ScratchDirectory scratch;
  QuantizeOptions options;
  options.input = SourcePath("tests/golden/foreign/ct_mxfp4");
  options.output = scratch / "out";
  const auto report = QuantizeCheckpoint(options);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("quantized already (compressed-tensors)"));
}

TEST(ForeignWeightsTest, RandomWeightsHaveNoForeignScheme) {
  const auto config = LoadConfig(SourcePath("tests/golden/foreign/ct_mxfp4"));
  ASSERT_TRUE(config.ok()) << config.status();
  const auto model = Model::Random(*config, 1, {.num_threads = 1});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
}

// What it says about them would be passed over.
TEST(ForeignWeightsTest, FusedTensorsAreNotQuantized) {
  const auto status = [](const char* target, const char* ignored) {
    EditableCheckpoint checkpoint = EditableCheckpoint::Golden("phi3");
    const EditableCheckpoint donor = Foreign("ct_fp8_dynamic");
    nlohmann::json& config = checkpoint.config["quantization_config"];
    config = donor.config["quantization_config"];
    config["config_groups"].begin().value()["targets"] = {target};
    config["ignore"] = {"lm_head", ignored};
    return Load(checkpoint).status();
  };
  for (const char* name : {"qkv_proj", "gate_up_proj", "k_proj", "up_proj"}) {
    const absl::Status refused =
        status((std::string("re:.*[._]") + name).c_str(), "none");
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr(name), HasSubstr("stored together")));
  }
  EXPECT_EQ(status("re:.*qkv_proj", "re:.*"), absl::OkStatus());
}

}  // namespace
}  // namespace zqfp
