// SPDX-License-Identifier: Apache-2.0
#include "engine/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::HasSubstr;
using zqfp::testing::ScratchDirectory;

absl::StatusOr<SamplingOptions> LoadText(const std::string& json) {
  const ScratchDirectory scratch;
  scratch.Write("generation_config.json", json);
  return LoadDefaultSampling(scratch.path());
}

TEST(GenerationConfig, NoFileMeansGreedy) {
  const ScratchDirectory scratch;
  const auto sampling = LoadDefaultSampling(scratch.path());
  ASSERT_TRUE(sampling.ok());
  EXPECT_EQ(sampling->temperature, 0.0);
}

TEST(GenerationConfig, WithoutDoSampleItIsGreedyWhateverElseItSays) {
  for (const char* text : {"{}", R"({"temperature": 0.6, "top_p": 0.9})",
                           R"({"do_sample": false, "temperature": 0.6})",
                           R"({"do_sample": null, "top_k": 5})"}) {
    const auto sampling = LoadText(text);
    ASSERT_TRUE(sampling.ok()) << sampling.status();
    EXPECT_EQ(sampling->temperature, 0.0) << text;
    EXPECT_EQ(sampling->top_k, 0) << text;
  }
}

TEST(GenerationConfig, WhatItSaysIsTakenAndTheRestIsOff) {
  const auto llama = LoadText(
      R"({"bos_token_id": 128000, "do_sample": true,
          "eos_token_id": [128001, 128009], "temperature": 0.6,
          "top_p": 0.9, "transformers_version": "4.42.3"})");
  ASSERT_TRUE(llama.ok());
  EXPECT_EQ(llama->temperature, 0.6);
  EXPECT_EQ(llama->top_p, 0.9);
  EXPECT_EQ(llama->top_k, 0);
  EXPECT_EQ(llama->repetition_penalty, 1.0);
  const auto qwen = LoadText(
      R"({"do_sample": true, "repetition_penalty": 1.05, "top_k": 20,
          "typical_p": 0.95, "min_p": 0.1})");
  ASSERT_TRUE(qwen.ok());
  EXPECT_EQ(qwen->temperature, 1.0);
  EXPECT_EQ(qwen->top_k, 20);
  EXPECT_EQ(qwen->repetition_penalty, 1.05);
  EXPECT_EQ(qwen->typical_p, 0.95);
  EXPECT_EQ(qwen->min_p, 0.1);
}

TEST(GenerationConfig, AbsurdValuesAreNamed) {
  const struct {
    const char* text;
    const char* message;
  } kFiles[] = {
      {"", "generation_config.json"},
      {"[1]", "want an object"},
      {R"({"do_sample": "yes"})", "do_sample"},
      {R"({"do_sample": true, "temperature": -1})", "temperature"},
      {R"({"do_sample": true, "temperature": "hot"})", "temperature"},
      {R"({"do_sample": true, "repetition_penalty": 200})",
       "generation_config.json: repetition_penalty: want 0.01 .. 100"},
      {R"({"do_sample": true, "top_p": 0})", "top_p"},
      {R"({"do_sample": true, "top_p": 2})", "top_p"},
      {R"({"do_sample": true, "top_k": -3})", "top_k"},
      {R"({"do_sample": true, "top_k": 1.5})", "top_k"},
      {R"({"do_sample": true, "min_p": 1e300})", "min_p"},
      {R"({"do_sample": true, "repetition_penalty": 0})", "repetition_penalty"},
      {R"({"do_sample": true, "do_sample": false})", "do_sample"},
  };
  for (const auto& file : kFiles) {
    const auto sampling = LoadText(file.text);
    ASSERT_FALSE(sampling.ok()) << file.text;
    EXPECT_THAT(std::string(sampling.status().message()),
                HasSubstr(file.message));
  }
}

}  // namespace
}  // namespace zqfp
