// SPDX-License-Identifier: Apache-2.0
// A certificate's way: zqfp-quantize --certify writes it, zqfp-inspect shows
// and checks it, zqfp-run --verify and the library refuse what it is not of.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/program.h"
#include "tests/tools/small_model.h"
#include "tools/certification.h"
#include "tools/command_line.h"
#include "zqfp/zqfp.h"

namespace zqfp::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using zqfp::testing::Outcome;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::RunProgram;
using zqfp::testing::ScratchDirectory;

class CertificateCommand : public ::testing::Test {
 protected:
  CertificateCommand() {
    zqfp::testing::WriteSmallModel(original_);
    scratch_.Write("text", zqfp::testing::SmallStories(3, 100));
  }
  std::string model() const { return scratch_ / "model"; }
  // The flags of a quantizing with and without a certificate.
  std::string Plain() const {
    return "--input " + original_.path() + " --output " + model() +
           " --group_size 32 --threads 1 ";
  }
  std::string Certified() const {
    return Plain() + "--certify " + (scratch_ / "text") +
           " --certify_split '<end>' --certify_window 64 ";
  }
  void Make() const {
    const Outcome outcome = RunProgram("zqfp-quantize", Certified());
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  Outcome Run() const {
    return RunProgram("zqfp-run",
                      "--verify --threads 1 --raw --prompt a "
                      "--max_tokens 1 --model " +
                          model());
  }
  Outcome Inspect(const std::string& flags = "") const {
    return RunProgram("zqfp-inspect",
                      "--threads 1 --model " + model() + " " + flags);
  }
  // Changes one byte of the weights, far behind the header.
  void Damage() const {
    std::fstream file(model() + "/model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-5, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-5, std::ios::end);
    file.put(byte);
  }

  ScratchDirectory original_;
  ScratchDirectory scratch_;
};

TEST_F(CertificateCommand, SaysWhatPerplexitySays) {
  Make();
  const nlohmann::json certificate =
      nlohmann::json::parse(ReadWholeFile(model() + "/" + kCertificateName));
  const nlohmann::json compared = certificate["measurement"]["comparison"];
  const Outcome outcome =
      RunProgram("zqfp-perplexity",
                 "--threads 1 --json --window 64 --split '<end>' "
                 "--text " +
                     (scratch_ / "text") + " --model " + model() +
                     " --against " + original_.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json measured = outcome.Json();
  EXPECT_EQ(compared["num_tokens"], 3 * 64);
  for (const char* key : {"loss", "kld_mean", "kld_p99", "top1_agreement",
                          "perplexity_ratio", "noise_floor", "num_tokens"}) {
    EXPECT_EQ(compared[key], measured[key]) << key;
  }
  EXPECT_EQ(certificate["measurement"]["text"], "text");
  EXPECT_EQ(certificate["measurement"]["zqfp_version"], Version());
}

TEST_F(CertificateCommand, IsShownCheckedAndRunWith) {
  Make();
  EXPECT_EQ(Run().exit_code, 0);
  const Outcome shown = Inspect();
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr("protocol gptq, window 64, 192 tokens scored"),
                    HasSubstr("files are as certified"), Not(HasSubstr("?"))));
  const nlohmann::json json = Inspect("--json").Json();
  EXPECT_TRUE(json["certificate"]["difference"].is_null());
  EXPECT_GT(json["certificate"]["tensors"], 10);
}

TEST_F(CertificateCommand, ATamperedModelIsRefused) {
  Make();
  Damage();
  const Outcome run = Run();
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("not what its certificate.json says"));
  EXPECT_EQ(run.out, "");
  const Outcome shown = Inspect();
  EXPECT_EQ(shown.exit_code, 1);
  EXPECT_THAT(shown.out, HasSubstr("NOT the one that was certified"));
  EXPECT_THAT(shown.err, HasSubstr("not what its certificate.json says"));
  const Outcome json = Inspect("--json");
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_TRUE(json.Json()["certificate"]["difference"].is_string());
  const auto loaded = LanguageModel::Load(
      {.directory = model(), .num_threads = 1, .verify = true});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kCorruptData);
  EXPECT_TRUE(
      LanguageModel::Load({.directory = model(), .num_threads = 1}).ok());
}

TEST_F(CertificateCommand, WithoutOneThereIsNothingToVerify) {
  ASSERT_EQ(RunProgram("zqfp-quantize", Plain()).exit_code, 0);
  const Outcome run = Run();
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("want a certificate.json"));
  const Outcome shown = Inspect();
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_THAT(shown.out, Not(HasSubstr("certif")));
}

TEST_F(CertificateCommand, AnOldCertificateDoesNotTravel) {
  std::ofstream(original_ / kCertificateName) << "{}";
  ASSERT_EQ(RunProgram("zqfp-quantize", Plain()).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(model() + "/" + kCertificateName));
}

TEST_F(CertificateCommand, WhatCannotBeMeasuredIsFoundBeforeTheWork) {
  scratch_.Write("short", "A cat.");
  const struct {
    std::string arguments;
    int exit_code;
    const char* message;
  } cases[] = {
      {Plain() + "--certify_window 64", 2, "want them with --certify"},
      {Certified() + "--weights int4", 2, "--certify: want weights e2m1"},
      {Plain() + "--certify no-such-file", 1, "no-such-file"},
      {Certified() + "--certify_window 100000", 1, "window"},
      {Plain() + "--certify " + (scratch_ / "short"), 1, "tokens"}};
  for (const auto& test : cases) {
    const Outcome outcome = RunProgram("zqfp-quantize", test.arguments);
    EXPECT_EQ(outcome.exit_code, test.exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(test.message));
    EXPECT_FALSE(std::filesystem::exists(model()));
  }
}

TEST(CertificateTextTest, AForeignMeasurementIsShownWithoutItsControls) {
  const nlohmann::ordered_json measurement = {
      {"original", "a\x1b[2Jb"}, {"text", 7}, {"comparison", "none"}};
  const std::string text = MeasurementText(measurement);
  EXPECT_THAT(text, AllOf(HasSubstr("against a[2Jb"), HasSubstr("text ?"),
                          HasSubstr("perplexity ? +- ?")));
  EXPECT_EQ(MeasurementText(nullptr), "");
}

}  // namespace
}  // namespace zqfp::tools
