// SPDX-License-Identifier: Apache-2.0
// Checkpoints that are not the model their config describes.
#include "models/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "models/model.h"
#include "tests/models/editable_checkpoint.h"

namespace zqfp {
namespace {

using ::testing::AllOf;
using testing::EditableCheckpoint;
using testing::EditableTensor;
using ::testing::HasSubstr;
using testing::ScratchDirectory;

constexpr char kQ[] = "model.layers.1.self_attn.q_proj";
constexpr char kDown[] = "model.layers.0.mlp.down_proj";

absl::Status LoadStatus(const EditableCheckpoint& checkpoint) {
  const ScratchDirectory directory;
  checkpoint.Write(directory);
  return Model::Load(directory.path(), {.num_threads = 2}).status();
}

std::string Message(const EditableCheckpoint& checkpoint) {
  const absl::Status status = LoadStatus(checkpoint);
  EXPECT_FALSE(status.ok());
  return std::string(status.message());
}

EditableCheckpoint M2(HeadFormat head = HeadFormat::kE4m3) {
  return EditableCheckpoint::Quantized("llama_mha", ScaleConstraint::kM2, head);
}

TEST(Weights, WhatIsWrittenUnchangedLoads) {
  for (const char* name :
       {"llama_mha", "llama_f32", "llama_f16", "qwen2", "qwen3",
        "llama_mqa_bias", "llama_gqa_tied", "opt", "opt_no_bias", "gemma2",
        "gemma3", "phi3", "gpt2", "gpt2_untied"}) {
    EXPECT_EQ(LoadStatus(EditableCheckpoint::Golden(name)), absl::OkStatus())
        << name;
  }
  for (const ScaleConstraint constraint :
       {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
    for (const HeadFormat head :
         {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}) {
      EXPECT_EQ(LoadStatus(EditableCheckpoint::Quantized("llama_mqa_bias",
                                                         constraint, head)),
                absl::OkStatus())
          << ToString(constraint) << " " << ToString(head);
    }
  }
}

// Every tensor of some models in turn: absent, of another shape, of another
// dtype. Each message names it.
TEST(Weights, NamesTheTensorThatIsNotAsTheConfigSays) {
  for (const EditableCheckpoint& sound :
       {EditableCheckpoint::Golden("llama_mqa_bias"),
        EditableCheckpoint::Golden("qwen2"),
        EditableCheckpoint::Golden("qwen3"), EditableCheckpoint::Golden("opt"),
        EditableCheckpoint::Golden("phi3"), EditableCheckpoint::Golden("gpt2"),
        M2()}) {
    for (const auto& [name, tensor] : sound.tensors) {
      EditableCheckpoint absent = sound;
      absent.tensors.erase(name);
      EXPECT_EQ(LoadStatus(absent).code(), absl::StatusCode::kNotFound);
      EXPECT_THAT(Message(absent), HasSubstr(name));

      EditableCheckpoint reshaped = sound;
      EditableTensor& other = reshaped.tensors[name];
      other.shape.insert(other.shape.begin(), 1);
      EXPECT_THAT(Message(reshaped),
                  AllOf(HasSubstr("model.safetensors: " + name + ": want "),
                        HasSubstr("file has " + other.dtype + " [1, ")));

      EditableCheckpoint retyped = sound;
      retyped.tensors[name].dtype = tensor.dtype == "F32"    ? "I32"
                                    : tensor.dtype == "U8"   ? "I8"
                                    : tensor.dtype == "BF16" ? "I16"
                                                             : "U8";
      EXPECT_THAT(Message(retyped),
                  AllOf(HasSubstr(name + ": want "), HasSubstr("file has ")));
    }
  }
}

TEST(Weights, NamesATensorThatNothingReads) {
  EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_mha");
  checkpoint.tensors["model.layers.2.mlp.up_proj.weight"] =
      checkpoint.tensors["model.layers.1.mlp.up_proj.weight"];
  EXPECT_THAT(Message(checkpoint),
              AllOf(HasSubstr("model.layers.2.mlp.up_proj.weight"),
                    HasSubstr("want only tensors")));
  // A bias that the config does not mention would change every answer.
  checkpoint = EditableCheckpoint::Golden("llama_mqa_bias");
  checkpoint.config["attention_bias"] = false;
  EXPECT_THAT(Message(checkpoint), HasSubstr("bias"));
}

// Old exporters store what others compute: the rotary frequencies.
TEST(Weights, IgnoresStoredRotaryFrequenciesOnly) {
  EditableCheckpoint checkpoint = EditableCheckpoint::Golden("llama_mha");
  checkpoint.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
      "F32", {4}, std::string(16, '\0')};
  EXPECT_EQ(LoadStatus(checkpoint), absl::OkStatus());
}

// The first, a middle and the last element of every tensor of floats.
TEST(Weights, RefusesNanAndInfinityAnywhere) {
  const uint16_t bad_bf16[] = {0x7fc0, 0x7f80, 0xff80};
  const EditableCheckpoint sound = EditableCheckpoint::Golden("qwen2");
  int kind = 0;
  for (const auto& [name, tensor] : sound.tensors) {
    ASSERT_EQ(tensor.dtype, "BF16");
    const size_t count = tensor.bytes.size() / 2;
    for (const size_t at : {size_t{0}, count / 2, count - 1}) {
      EditableCheckpoint spoiled = sound;
      spoiled.tensors[name].Set(at, bad_bf16[kind++ % 3]);
      EXPECT_EQ(LoadStatus(spoiled).code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(Message(spoiled),
                  AllOf(HasSubstr(name + ": "),
                        HasSubstr("element " + std::to_string(at))));
    }
  }
}

TEST(Weights, ConfigAndTensorsMustAgree) {
  const EditableCheckpoint sound = EditableCheckpoint::Golden("llama_mha");
  const auto with = [&](const char* key, nlohmann::json value) {
    EditableCheckpoint changed = sound;
    changed.config[key] = std::move(value);
    return Message(changed);
  };
  EXPECT_THAT(with("vocab_size", 49),
              AllOf(HasSubstr("embed_tokens"), HasSubstr("[49, 32]"),
                    HasSubstr("[48, 32]")));
  EXPECT_THAT(with("intermediate_size", 41), HasSubstr("[41, 32]"));
  EXPECT_THAT(with("num_hidden_layers", 1), HasSubstr("model.layers.1."));
  EXPECT_THAT(with("num_hidden_layers", 3), HasSubstr("model.layers.2."));
  EXPECT_THAT(with("num_key_value_heads", 2), HasSubstr("k_proj"));
  EXPECT_THAT(with("head_dim", 16), HasSubstr("q_proj"));
  EXPECT_THAT(with("attention_bias", true), HasSubstr("q_proj.bias"));
  EditableCheckpoint qwen3 = sound;
  qwen3.config["architectures"] = {"Qwen3ForCausalLM"};
  qwen3.config["model_type"] = "qwen3";
  EXPECT_THAT(Message(qwen3), HasSubstr("q_norm"));
  EditableCheckpoint quantized = M2();
  quantized.config.erase("quantization_config");
  EXPECT_THAT(Message(quantized), HasSubstr("weight"));
}

TEST(Weights, ATiedHeadIsTheEmbeddingUnderEitherName) {
  const EditableCheckpoint sound = EditableCheckpoint::Golden("llama_gqa_tied");
  EditableCheckpoint renamed = sound;
  auto node = renamed.tensors.extract("model.embed_tokens.weight");
  node.key() = "lm_head.weight";
  renamed.tensors.insert(std::move(node));
  EXPECT_EQ(LoadStatus(renamed), absl::OkStatus());
  EditableCheckpoint neither = sound;
  neither.tensors.erase("model.embed_tokens.weight");
  EXPECT_THAT(Message(neither), HasSubstr("model.embed_tokens.weight"));
}

// A second one is the same, or the model is not what its config says.
TEST(Weights, ATiedHeadThatIsStoredIsACopy) {
  EditableCheckpoint both = EditableCheckpoint::Golden("llama_gqa_tied");
  EditableTensor& head = both.tensors["lm_head.weight"];
  const EditableTensor sound = both.tensors["model.embed_tokens.weight"];
  head = sound;
  EXPECT_EQ(LoadStatus(both), absl::OkStatus());
  const auto expect = [&](const char* found) {
    EXPECT_THAT(Message(both), AllOf(HasSubstr("lm_head.weight: want a copy of "
                                               "model.embed_tokens.weight"),
                                     HasSubstr(found)));
  };
  head.bytes.back() ^= 1;
  expect("found other values");
  head = {"I8", {3, 1}, "abc"};
  expect("found I8 [3, 1]");
  head = sound;
  std::swap(head.shape[0], head.shape[1]);
  expect("found ");
}

// The names of a file of the bare model lack its prefix; GPT-2's first ones
// also store the causal mask.
TEST(Weights, ABareModelLacksThePrefix) {
  const std::map<std::string, std::string> prefixes = {
      {"opt", "model."}, {"gpt2", "transformer."}};
  for (const auto& [name, prefix] : prefixes) {
    EditableCheckpoint bare = EditableCheckpoint::Golden(name);
    const EditableCheckpoint sound = bare;
    bare.tensors.clear();
    for (const auto& [tensor_name, tensor] : sound.tensors) {
      ASSERT_TRUE(tensor_name.starts_with(prefix)) << tensor_name;
      bare.tensors[tensor_name.substr(prefix.size())] = tensor;
    }
    EXPECT_EQ(LoadStatus(bare), absl::OkStatus()) << name;
    EditableCheckpoint twice = sound;
    twice.tensors.insert(*bare.tensors.begin());
    EXPECT_THAT(Message(twice), HasSubstr("want only tensors that"));
  }
  EditableCheckpoint masked = EditableCheckpoint::Golden("gpt2");
  masked.tensors["transformer.h.0.attn.bias"] = {
      "U8", {4}, std::string(4, '\1')};
  EXPECT_EQ(LoadStatus(masked), absl::OkStatus());
  masked.tensors["transformer.h.0.mlp.bias"] = {
      "U8", {4}, std::string(4, '\1')};
  EXPECT_THAT(Message(masked), HasSubstr("transformer.h.0.mlp.bias"));
}

// A fused tensor is as long as its parts together.
TEST(Weights, FusedTensorsHaveOneShape) {
  const auto with = [](const char* name, const char* key, int value) {
    EditableCheckpoint changed = EditableCheckpoint::Golden(name);
    changed.config[key] = value;
    return Message(changed);
  };
  EXPECT_THAT(with("phi3", "num_key_value_heads", 1),
              AllOf(HasSubstr("self_attn.qkv_proj.weight: want"),
                    HasSubstr("[48, 32]"), HasSubstr("[64, 32]")));
  EXPECT_THAT(with("phi3", "intermediate_size", 41),
              AllOf(HasSubstr("mlp.gate_up_proj.weight"), HasSubstr("[82, 32]"),
                    HasSubstr("[80, 32]")));
  EXPECT_THAT(with("gpt2", "n_inner", 41),
              AllOf(HasSubstr("mlp.c_fc.weight"), HasSubstr("[32, 41]"),
                    HasSubstr("[32, 128]")));
  EXPECT_THAT(with("gpt2", "n_positions", 65),
              AllOf(HasSubstr("wpe.weight"), HasSubstr("[65, 32]")));
  EXPECT_THAT(with("opt", "max_position_embeddings", 65),
              AllOf(HasSubstr("embed_positions.weight"), HasSubstr("[67, 32]"),
                    HasSubstr("[66, 32]")));
}

TEST(QuantizedWeights, ShiftsStayInTheExactnessWindow) {
  EditableCheckpoint checkpoint = M2();
  EditableTensor& shift =
      checkpoint.tensors[std::string(kDown) + ".weight_shift"];
  ASSERT_EQ(shift.shape, (std::vector<int64_t>{32, 2}));
  shift.Set<uint8_t>(2 * 5 + 1, 14);
  EXPECT_EQ(LoadStatus(checkpoint), absl::OkStatus());
  for (const int wrong : {15, 255}) {
    shift.Set<uint8_t>(2 * 5 + 1, static_cast<uint8_t>(wrong));
    EXPECT_THAT(
        Message(checkpoint),
        AllOf(HasSubstr("down_proj.weight_shift"), HasSubstr("0..14"),
              HasSubstr("row 5"), HasSubstr("found " + std::to_string(wrong))));
  }
}

TEST(QuantizedWeights, ScalesAreFiniteAndAboveZero) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EditableCheckpoint free = EditableCheckpoint::Quantized(
      "llama_mha", ScaleConstraint::kFree, HeadFormat::kE2m1);
  EditableCheckpoint shifted = M2();
  for (const float wrong : {0.0f, -0.0f, -1.0f, kInfinity, -kInfinity,
                            std::numeric_limits<float>::quiet_NaN()}) {
    for (const auto& [sound, tensor] :
         {std::pair{&free, std::string(kDown) + ".weight_scale"},
          {&free, std::string("lm_head.weight_scale")},
          {&shifted, std::string(kQ) + ".weight_row_scale"},
          {&shifted, std::string("lm_head.weight_row_scale")}}) {
      EditableCheckpoint checkpoint = *sound;
      ASSERT_TRUE(checkpoint.tensors.contains(tensor)) << tensor;
      checkpoint.tensors[tensor].Set(7, wrong);
      EXPECT_EQ(LoadStatus(checkpoint).code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(Message(checkpoint),
                  AllOf(HasSubstr(tensor), HasSubstr("element 7")));
    }
  }
}

TEST(QuantizedWeights, M1RowScalesArePowersOfTwo) {
  EditableCheckpoint checkpoint = EditableCheckpoint::Quantized(
      "llama_mha", ScaleConstraint::kM1, HeadFormat::kE4m3);
  checkpoint.tensors[std::string(kQ) + ".weight_row_scale"].Set(3, 0.75f);
  EXPECT_THAT(
      Message(checkpoint),
      AllOf(HasSubstr("q_proj.weight_row_scale"), HasSubstr("powers of two"),
            HasSubstr("0.75"), HasSubstr("row 3")));
  checkpoint.config["quantization_config"]["weights"]["scale_constraint"] =
      "m2";
  EXPECT_EQ(LoadStatus(checkpoint), absl::OkStatus()) << "fine as M2";
}

TEST(QuantizedWeights, AnE4m3HeadHoldsNoNan) {
  for (const uint8_t nan : {uint8_t{0x7f}, uint8_t{0xff}}) {
    EditableCheckpoint checkpoint = M2();
    checkpoint.tensors["lm_head.weight"].Set<uint8_t>(100, nan);
    EXPECT_THAT(Message(checkpoint),
                AllOf(HasSubstr("lm_head.weight"), HasSubstr("element 100")));
  }
}

TEST(QuantizedWeights, AnotherGroupSizeThanTheTensorsIsRefused) {
  EditableCheckpoint checkpoint = M2();
  checkpoint.config["quantization_config"]["weights"]["group_size"] = 64;
  EXPECT_THAT(Message(checkpoint),
              AllOf(HasSubstr("weight_shift"), HasSubstr("[32, 1]"),
                    HasSubstr("[32, 2]")));
}

// FORMAT.md, counted by hand for one tiny model: 4 bits a weight,
// a byte a group, four a row, and an e4m3 head.
TEST(QuantizedWeights, StreamedBytesAreWhatATokenReads) {
  const ScratchDirectory directory;
  M2().Write(directory);
  const auto model = Model::Load(directory.path(), {.num_threads = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  const int64_t attention = 4 * 32 * (16 + 1 + 4);
  const int64_t ffn = 2 * 40 * (16 + 1 + 4) + 32 * (20 + 2 + 4);
  EXPECT_EQ((*model)->weight_bytes(), 2 * (attention + ffn) + 48 * (32 + 4));
}

}  // namespace
}  // namespace zqfp
