// SPDX-License-Identifier: Apache-2.0
// zqfp-inspect: what it says is what the files and the engine hold.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "models/model.h"
#include "tests/tools/program.h"
#include "tools/inspection.h"

namespace zqfp::tools {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using zqfp::testing::AssetPath;
using zqfp::testing::DemoModel;
using zqfp::testing::Outcome;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;

Outcome Inspect(const std::string& arguments) {
  return RunProgram("zqfp-inspect", arguments);
}

nlohmann::json InspectJson(const std::string& arguments) {
  const Outcome outcome = Inspect(arguments + " --json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  return outcome.Json();
}

TEST(InspectCommand, SummaryNamesWhatMatters) {
  const Outcome outcome = Inspect("");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_THAT(outcome.out, HasSubstr("LlamaForCausalLM: 6 layers, width 256"));
  EXPECT_THAT(outcome.out,
              HasSubstr("e2m1 m2 group 32, low rank 8 e4m3 (42 matrices)"));
  EXPECT_THAT(outcome.out, ContainsRegex("tokenizer +[0-9a-f]{16}"));
  EXPECT_THAT(outcome.out, ContainsRegex("chat template +[0-9a-f]{16}"));
  EXPECT_THAT(outcome.out, HasSubstr("2 </s>, 6 <|end|>"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("q_proj")));  // nobody asked
}

TEST(InspectCommand, ModelsQuantizedElsewhere) {
  const std::string root =
      zqfp::testing::SourcePath("tests/golden/foreign") + "/";
  const nlohmann::json layers =
      InspectJson("--explain --model " + root + "ct_nvfp4")["layers"];
  EXPECT_EQ(layers[0]["weights"], "e2m1 nvfp4 group 16");
  EXPECT_EQ(layers[0]["note"], "scale product not rounded");
  const std::string four_bits = "--explain --model " + root + "ct_nvfp4_a4";
  const Outcome refused = Inspect(four_bits);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("input_activations: 4-bit float"));
  EXPECT_EQ(
      InspectJson(four_bits + " --weight_only")["layers"][0]["activations"],
      "f32 (weight only)");
  EXPECT_EQ(Inspect(four_bits + " --weight_only --strict").exit_code, 1);
}

TEST(InspectCommand, MemoryAddsUp) {
  const nlohmann::json memory =
      InspectJson("--context 100 --kv e4m3")["memory"];
  EXPECT_EQ(memory["context_tokens"], 100);
  EXPECT_EQ(memory["kv"], "e4m3");
  const int64_t kv = memory["kv_bytes"].get<int64_t>();
  // 4 pages of 32 tokens, 6 layers, keys and values: 4 heads of 32 bytes and a
  // scale of 4 bytes for each head.
  EXPECT_EQ(kv, 128 * 6 * 2 * 4 * (32 + 4));
  EXPECT_EQ(memory["kv_bytes_per_token"].get<int64_t>() * 128, kv);
  EXPECT_EQ(memory["resident_bytes"], 0);  // of a device
  EXPECT_EQ(memory["total_bytes"].get<int64_t>(),
            memory["weight_file_bytes"].get<int64_t>() +
                memory["buffer_bytes"].get<int64_t>() + kv);
  EXPECT_LT(memory["weight_bytes"], memory["weight_file_bytes"]);
  EXPECT_GT(InspectJson("--context 100 --kv f32")["memory"]["kv_bytes"], kv);
}

TEST(InspectCommand, ExplainNamesEveryLayerAndItsKernel) {
  const nlohmann::json all = InspectJson("--explain --ops");
  ASSERT_EQ(all["layers"].size(), 6 * 7 + 1u);
  const std::string backend = all["model"]["backend"];
  int64_t bytes = 0;
  for (const nlohmann::json& layer : all["layers"]) {
    EXPECT_EQ(layer["op"], "matmul_a8");
    EXPECT_EQ(layer["activations"], "e4m3 per token");
    EXPECT_EQ(layer["kernel"], all["ops"][backend]["matmul_a8"]);
    EXPECT_TRUE(layer["exact_products"].get<bool>());
    bytes += layer["bytes"].get<int64_t>();
  }
  EXPECT_EQ(all["layers"][0]["layer"], "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(all["layers"].back()["layer"], "lm_head");
  // What a token streams are the layers and a row of the embedding and norms.
  EXPECT_LE(bytes, all["memory"]["weight_bytes"].get<int64_t>());
  EXPECT_GT(bytes, all["memory"]["weight_bytes"].get<int64_t>() * 9 / 10);
}

TEST(InspectCommand, TensorsAreThoseOfTheFile) {
  const nlohmann::json all = InspectJson("--tensors");
  std::set<std::string> names;
  int64_t bytes = 0;
  for (const nlohmann::json& tensor : all["tensors"]) {
    names.insert(tensor["name"]);
    bytes += tensor["bytes"].get<int64_t>();
    EXPECT_EQ(tensor["file"], "model.safetensors");
  }
  EXPECT_TRUE(names.contains("model.embed_tokens.weight"));
  EXPECT_EQ(names.size(), all["tensors"].size());
  const int64_t file_bytes = static_cast<int64_t>(
      std::filesystem::file_size(DemoModel() + "/model.safetensors"));
  EXPECT_LE(bytes, file_bytes);
  EXPECT_GT(bytes, file_bytes * 9 / 10);
}

TEST(InspectCommand, OpsShowEveryOpUnderEveryBackendThatRuns) {
  const nlohmann::json ops = InspectJson("--ops")["ops"];
  ASSERT_TRUE(ops["reference"].is_object());
  for (const char* op : {"embed", "add_positions", "rms_norm", "layer_norm",
                         "quantize_tokens", "matmul", "matmul_a8", "rope",
                         "store_kv", "attention", "activate", "softcap"}) {
    EXPECT_EQ(ops["reference"][op], "reference");
    for (const auto& [backend, table] : ops.items()) {
      if (table.is_string()) continue;  // not runnable here: the reason
      EXPECT_TRUE(table.contains(op)) << backend << " " << op;
    }
  }
  EXPECT_THAT(Inspect("--ops").out, HasSubstr("quantize_tokens"));
}

TEST(InspectCommand, FullPrecisionModelsToo) {
  const std::string model = AssetPath("models/stories-260k");
  if (model.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  const nlohmann::json all = InspectJson("--explain --model " + model);
  EXPECT_EQ(all["model"]["head"], "f32");
  EXPECT_EQ(all["memory"]["kv"], "f32");
  EXPECT_EQ(all["layers"][0]["op"], "matmul");
  EXPECT_EQ(all["layers"][0]["activations"], "f32");
  EXPECT_FALSE(all["layers"][0]["exact_products"].get<bool>());
}

// What only a GPU does is refused on the CPU, by every program.
TEST(InspectCommand, OptionsOfAGpuWantOne) {
  for (const std::string flag : {"fp8_fast_accum", "resident_fp8"}) {
    const std::string arguments = " --device cpu --" + flag;
    for (const Outcome& outcome :
         {Inspect("--explain" + arguments),
          RunProgram("zqfp-run", "--prompt Hello" + arguments),
          RunProgram("zqfp-bench", "--prompt 1 --generate 1" + arguments),
          RunProgram("zqfp-perplexity",
                     "--text " + DemoModel() + "/README.md" + arguments)}) {
      EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
      EXPECT_THAT(outcome.err,
                  HasSubstr(flag + ": want a CUDA device, found the CPU"));
      EXPECT_THAT(outcome.out, IsEmpty());
    }
    EXPECT_THAT(Inspect("--help").out, HasSubstr(flag));
  }
}

// On a device: on the emulator, which no program has.
TEST(InspectCommand, ResidentRowsAreExplainedAndCounted) {
  const auto model = Model::Load(
      DemoModel(),
      {.num_threads = 1, .backend = "cuda_emulated", .resident_fp8 = true});
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t wanted = 0;
  for (const Section& layer : ExplainSection(**model)) {
    EXPECT_THAT(layer["kernel"].get<std::string>(),
                HasSubstr("e4m3 rows, resident"));
    wanted +=
        layer["shape"][0].get<int64_t>() * layer["shape"][1].get<int64_t>();
  }
  const Section memory = MemorySection(**model, KvFormat::kAuto, 32, 1000);
  EXPECT_EQ(memory["resident_bytes"], wanted);
  EXPECT_EQ(memory["total_bytes"].get<int64_t>(),
            1000 + wanted + memory["buffer_bytes"].get<int64_t>() +
                memory["kv_bytes"].get<int64_t>());
  EXPECT_THAT(MemoryText(memory), HasSubstr("e4m3 rows of weights, resident"));
}

TEST(InspectCommand, BadInputIsOneMessage) {
  const Outcome absent = Inspect("--model /nonexistent");
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, HasSubstr("/nonexistent"));
  const Outcome context = Inspect("--context 5000");
  EXPECT_EQ(context.exit_code, 2);
  EXPECT_THAT(context.err, HasSubstr("want 2 .. 1024 tokens"));
  const Outcome kv = Inspect("--kv int4");
  EXPECT_EQ(kv.exit_code, 2);
  const ScratchDirectory scratch;
  zqfp::testing::CopyDemoModel(scratch / "m");
  std::filesystem::resize_file(scratch / "m/model.safetensors", 100'000);
  const Outcome cut = Inspect("--model " + (scratch / "m"));
  EXPECT_EQ(cut.exit_code, 1);
  EXPECT_THAT(cut.err, HasSubstr("model.safetensors"));
  EXPECT_THAT(cut.out, IsEmpty());
}

}  // namespace
}  // namespace zqfp::tools
