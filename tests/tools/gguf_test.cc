// SPDX-License-Identifier: Apache-2.0
// Every program takes a GGUF file where it takes a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using ::testing::HasSubstr;
using zqfp::testing::AssetPath;
using zqfp::testing::Outcome;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;
using zqfp::testing::SourcePath;

std::string GoldenFile(const std::string& name) {
  return SourcePath("tests/golden/gguf/" + name);
}

TEST(GgufPrograms, RunInspectAndBench) {
  for (const char* name :
       {"llama_f16", "llama_q8_0", "llama_mxfp4", "qwen2_bf16", "qwen3_f32"}) {
    const std::string model =
        "--model " + GoldenFile(std::string(name) + ".gguf") + " --threads 1 ";
    const Outcome run =
        RunProgram("zqfp-run", model +
                                   "--raw --prompt 'The quick' --temperature 0 "
                                   "--max_tokens 4 --json");
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_GT(run.Json()["timings"]["prompt_tokens"], 0);
    const Outcome inspect =
        RunProgram("zqfp-inspect", model + "--explain --tensors --json");
    EXPECT_EQ(inspect.exit_code, 0) << inspect.err;
    const nlohmann::json report = inspect.Json();
    for (const auto& layer : report["layers"]) {
      EXPECT_THAT(layer["source"].get<std::string>(), HasSubstr("GGUF "));
    }
  }
  const Outcome bench = RunProgram(
      "zqfp-bench", "--model " + GoldenFile("llama_mxfp4.gguf") +
                        " --threads 1 --prompt 16 --generate 4 --repeat 1");
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
}

TEST(GgufPrograms, InspectTellsWhatWasExpandedAndItsMemory) {
  const Outcome outcome =
      RunProgram("zqfp-inspect",
                 "--model " + GoldenFile("llama_q8_0.gguf") + " --explain");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("in the file"));
  EXPECT_THAT(outcome.out, HasSubstr("GGUF Q8_0, rows put in order"));
  EXPECT_THAT(outcome.out, HasSubstr("weights expanded or re-laid"));
}

TEST(GgufPrograms, QuantizeMakesACompleteDirectory) {
  const ScratchDirectory scratch;
  const Outcome outcome =
      RunProgram("zqfp-quantize", "--input " + GoldenFile("llama_q8_0.gguf") +
                                      " --output " + (scratch / "out") +
                                      " --group_size 32 --threads 1");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8-bit already (Q8_0)"));
  const Outcome run = RunProgram(
      "zqfp-run", "--model " + (scratch / "out") +
                      " --raw --prompt 'The' --max_tokens 2 --threads 1");
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST(GgufPrograms, PerplexityOfTheRealFile) {
  const std::string model =
      AssetPath("models/stories-260k/tinyllamas-stories-260k-f32.gguf");
  if (model.empty()) GTEST_SKIP() << "NOT RUN: no assets";
  const ScratchDirectory scratch;
  scratch.Write("text",
                "Once upon a time, there was a little girl named "
                "Lily. She loved to play outside in the park.");
  const Outcome outcome = RunProgram(
      "zqfp-perplexity", "--model " + model + " --text " + (scratch / "text") +
                             " --window 32 --threads 1 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // A story of the kind it was trained on, in its own tokens.
  EXPECT_LT(outcome.Json()["perplexity"], 10);
}

TEST(GgufPrograms, ErrorsNameTheFile) {
  const ScratchDirectory scratch;
  scratch.Write("broken.gguf", "GGUF");
  for (const char* program : {"zqfp-run", "zqfp-inspect"}) {
    const Outcome outcome = RunProgram(
        program, "--model " + (scratch / "broken.gguf") +
                     (std::string(program) == "zqfp-run" ? " --prompt x" : ""));
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("broken.gguf: version"));
  }
  const Outcome outcome =
      RunProgram("zqfp-quantize", "--input " + GoldenFile("llama_mxfp4.gguf") +
                                      " --output " + (scratch / "out"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("file has MXFP4"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "out"));
}

}  // namespace
}  // namespace zqfp::tools
