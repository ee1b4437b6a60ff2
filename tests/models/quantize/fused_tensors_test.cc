// SPDX-License-Identifier: Apache-2.0
// Models whose checkpoints hold several linears in one tensor, or transposed:
// quantized they equal the same weights stored one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "models/model.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tests/models/editable_checkpoint.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using testing::EditableCheckpoint;
using testing::EditableTensor;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using testing::SequenceRunner;

constexpr size_t kBytes = 2;  // of a bf16 element

LinearScheme M2() {
  LinearScheme scheme;
  scheme.grid.scales = {32, ScaleConstraint::kM2, ScaleRounding::kSearch};
  return scheme;
}

absl::Status Quantize(const EditableCheckpoint& checkpoint,
                      const std::string& output,
                      const LinearScheme& scheme = M2()) {
  const ScratchDirectory input;
  checkpoint.Write(input);
  QuantizeOptions options;
  options.input = input.path();
  options.output = output;
  options.linears = scheme;
  options.num_threads = 1;
  if (scheme.is_dense()) options.lm_head = HeadFormat::kBf16;
  if (scheme.needs_calibration()) {
    for (int32_t i = 0; i < 8; ++i) {
      std::vector<int32_t> ids;
      for (int32_t t = 0; t < 24; ++t) ids.push_back(3 + (i + 7 * t) % 40);
      options.calibration.push_back(ids);
    }
  }
  return QuantizeCheckpoint(options).status();
}

EditableCheckpoint Quantized(const EditableCheckpoint& checkpoint,
                             const LinearScheme& scheme = M2()) {
  const ScratchDirectory scratch;
  const std::string output = scratch / "quantized";
  const absl::Status status = Quantize(checkpoint, output, scheme);
  EXPECT_TRUE(status.ok()) << status;
  return EditableCheckpoint::Read(output);
}

// Rows [first, first + count) of a matrix or a vector.
EditableTensor Rows(const EditableTensor& tensor, int64_t first,
                    int64_t count) {
  EditableTensor rows = tensor;
  const size_t row = tensor.bytes.size() / static_cast<size_t>(tensor.shape[0]);
  rows.shape[0] = count;
  rows.bytes = tensor.bytes.substr(static_cast<size_t>(first) * row,
                                   static_cast<size_t>(count) * row);
  return rows;
}

EditableTensor Transposed(const EditableTensor& tensor) {
  EditableTensor result = tensor;
  const auto rows = static_cast<size_t>(tensor.shape[0]);
  const auto columns = static_cast<size_t>(tensor.shape[1]);
  std::swap(result.shape[0], result.shape[1]);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) {
      result.bytes.replace((c * rows + r) * kBytes, kBytes, tensor.bytes,
                           (r * columns + c) * kBytes, kBytes);
    }
  }
  return result;
}

// Phi-3 with plain rotary embeddings is a Mistral with fused tensors.
EditableCheckpoint AsMistral(const EditableCheckpoint& phi3) {
  EditableCheckpoint mistral = phi3;
  mistral.config["architectures"] = {"MistralForCausalLM"};
  mistral.config["model_type"] = "mistral";
  for (int layer = 0; layer < 2; ++layer) {
    const std::string base = "model.layers." + std::to_string(layer) + ".";
    const EditableTensor qkv =
        mistral.tensors[base + "self_attn.qkv_proj.weight"];
    const EditableTensor gate_up =
        mistral.tensors[base + "mlp.gate_up_proj.weight"];
    mistral.tensors.erase(base + "self_attn.qkv_proj.weight");
    mistral.tensors.erase(base + "mlp.gate_up_proj.weight");
    mistral.tensors[base + "self_attn.q_proj.weight"] = Rows(qkv, 0, 32);
    mistral.tensors[base + "self_attn.k_proj.weight"] = Rows(qkv, 32, 16);
    mistral.tensors[base + "self_attn.v_proj.weight"] = Rows(qkv, 48, 16);
    mistral.tensors[base + "mlp.gate_proj.weight"] = Rows(gate_up, 0, 40);
    mistral.tensors[base + "mlp.up_proj.weight"] = Rows(gate_up, 40, 40);
  }
  return mistral;
}

std::vector<float> Logits(const EditableCheckpoint& checkpoint) {
  const ScratchDirectory directory;
  checkpoint.Write(directory);
  const auto model = Model::Load(directory.path(), {.num_threads = 2});
  EXPECT_TRUE(model.ok()) << model.status();
  SequenceRunner runner(model->get(), kernels::ValueFormat::kF32);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 24; ++i) ids.push_back(3 + i * 7 % 40);
  return *runner.RunChunks(ids, 24);
}

TEST(FusedTensors, Phi3EqualsMistralWithTheSameWeights) {
  const EditableCheckpoint phi3 = EditableCheckpoint::Golden("phi3");
  const EditableCheckpoint mistral = AsMistral(phi3);
  EXPECT_EQ(Logits(phi3), Logits(mistral));
  const EditableCheckpoint fused = Quantized(phi3);
  const EditableCheckpoint single = Quantized(mistral);
  ASSERT_EQ(fused.tensors.size(), single.tensors.size());
  for (const auto& [name, tensor] : single.tensors) {
    ASSERT_TRUE(fused.tensors.contains(name)) << name;
    EXPECT_EQ(fused.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(fused.tensors.at(name).bytes, tensor.bytes) << name;
  }
  EXPECT_EQ(Logits(fused), Logits(single));
}

// The linears of a GPT-2 under OPT's names, [n, k] and apart.
EditableCheckpoint AsOpt(const EditableCheckpoint& gpt2) {
  EditableCheckpoint opt = EditableCheckpoint::Golden("opt");
  opt.config["ffn_dim"] = 128;
  const std::map<std::string, std::string> names = {
      {"attn.c_proj", "self_attn.out_proj"},
      {"mlp.c_fc", "fc1"},
      {"mlp.c_proj", "fc2"}};
  for (int layer = 0; layer < 2; ++layer) {
    const std::string index = std::to_string(layer) + ".";
    const std::string from = "transformer.h." + index;
    const std::string to = "model.decoder.layers." + index;
    for (const auto& [theirs, ours] : names) {
      opt.tensors[to + ours + ".weight"] =
          Transposed(gpt2.tensors.at(from + theirs + ".weight"));
      opt.tensors[to + ours + ".bias"] =
          gpt2.tensors.at(from + theirs + ".bias");
    }
    const EditableTensor weight =
        Transposed(gpt2.tensors.at(from + "attn.c_attn.weight"));
    const EditableTensor bias = gpt2.tensors.at(from + "attn.c_attn.bias");
    int64_t first = 0;
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      const std::string linear = to + "self_attn." + name;
      opt.tensors[linear + ".weight"] = Rows(weight, first, 32);
      opt.tensors[linear + ".bias"] = Rows(bias, first, 32);
      first += 32;
    }
  }
  return opt;
}

TEST(FusedTensors, Gpt2IsQuantizedAlongItsInputs) {
  const EditableCheckpoint gpt2 = EditableCheckpoint::Golden("gpt2");
  const EditableCheckpoint fused = Quantized(gpt2);
  const EditableCheckpoint single = Quantized(AsOpt(gpt2));
  const std::map<std::string, std::string> names = {
      {"attn.q_proj", "self_attn.q_proj"},
      {"attn.k_proj", "self_attn.k_proj"},
      {"attn.v_proj", "self_attn.v_proj"},
      {"attn.c_proj", "self_attn.out_proj"},
      {"mlp.c_fc", "fc1"},
      {"mlp.c_proj", "fc2"}};
  for (int layer = 0; layer < 2; ++layer) {
    const std::string index = std::to_string(layer) + ".";
    for (const auto& [theirs, ours] : names) {
      for (const char* ending :
           {".weight_packed", ".weight_row_scale", ".weight_shift", ".bias"}) {
        const std::string name = "transformer.h." + index + theirs + ending;
        ASSERT_TRUE(fused.tensors.contains(name)) << name;
        const EditableTensor& wanted =
            single.tensors.at("model.decoder.layers." + index + ours + ending);
        EXPECT_EQ(fused.tensors.at(name).shape, wanted.shape) << name;
        EXPECT_EQ(fused.tensors.at(name).bytes, wanted.bytes) << name;
      }
    }
  }
}

// Every family loads what is made of it, each linear in four bits.
TEST(FusedTensors, EveryFamilyLoadsQuantized) {
  for (const char* name : {"opt", "opt_no_bias", "gemma2", "gemma2_uncapped",
                           "gemma3", "phi3", "phi3_longrope", "gpt2"}) {
    const EditableCheckpoint quantized =
        Quantized(EditableCheckpoint::Golden(name));
    const ScratchDirectory directory;
    quantized.Write(directory);
    const auto model = Model::Load(directory.path(), {.num_threads = 1});
    ASSERT_TRUE(model.ok()) << name << ": " << model.status();
    const std::vector<LinearInfo> linears = (*model)->Explain();
    for (size_t i = 0; i + 1 < linears.size(); ++i) {
      EXPECT_EQ(linears[i].weights, "e2m1 m2 group 32") << linears[i].name;
      EXPECT_FALSE(linears[i].name.empty());
      EXPECT_GT(linears[i].num_bytes, 0) << linears[i].name;
    }
    for (const float logit : Logits(quantized)) {
      ASSERT_TRUE(std::isfinite(logit)) << name;
    }
  }
}

// GPTQ with a low-rank branch sees a layer through the model, and integers are
// written as the floats they stand for: in both every linear is one of its own,
// and no worse than rounding it as the nearest of 2^8 steps a row allows.
TEST(FusedTensors, CalibratedAndSimulatedModelsLoad) {
  LinearScheme gptq = M2();
  gptq.method = QuantizeMethod::kGptq;
  gptq.lorc.rank = 2;
  LinearScheme int8 = M2();
  int8.grid.format = GridFormat::kInt8;
  int8.activations = ActivationFormat::kNone;
  for (const char* name : {"opt", "gemma3", "phi3", "gpt2"}) {
    const EditableCheckpoint original = EditableCheckpoint::Golden(name);
    for (const float logit : Logits(Quantized(original, gptq))) {
      ASSERT_TRUE(std::isfinite(logit)) << name;
    }
    const std::vector<float> wanted = Logits(original);
    const std::vector<float> found = Logits(Quantized(original, int8));
    double squared = 0, error = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      squared += double{wanted[i]} * wanted[i];
      error += std::pow(double{found[i]} - wanted[i], 2);
    }
    // A step is 2/255 of a row's range, its error a twelfth of the square: some
    // 2e-5 of a weight's variance, times the 14 linears and what later layers
    // make of it. A wrong part or order would be near 1.
    EXPECT_LT(error, 0.01 * squared) << name;
  }
}

// A NaN in one part of a tensor names the tensor, also where it is transposed.
TEST(FusedTensors, ANanIsNamed) {
  const std::map<std::string, std::string> tensors = {
      {"phi3", "model.layers.1.self_attn.qkv_proj.weight"},
      {"gpt2", "transformer.h.1.attn.c_attn.weight"}};
  for (const auto& [variant, name] : tensors) {
    EditableCheckpoint checkpoint = EditableCheckpoint::Golden(variant);
    EditableTensor& tensor = checkpoint.tensors[name];
    tensor.Set(tensor.bytes.size() / kBytes - 1, uint16_t{0x7fc0});
    const ScratchDirectory scratch;
    const absl::Status status = Quantize(checkpoint, scratch / "quantized");
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    const ScratchDirectory directory;
    checkpoint.Write(directory);
    EXPECT_THAT(std::string(Model::Load(directory.path(), {.num_threads = 1})
                                .status()
                                .message()),
                HasSubstr(name));
  }
}

}  // namespace
}  // namespace zqfp
