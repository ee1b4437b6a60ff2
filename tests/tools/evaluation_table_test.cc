// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluation_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/evaluation_figures.h"
#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using zqfp::testing::Rows;
using zqfp::testing::ScratchDirectory;
using zqfp::testing::Table;

TEST(EvaluationTableTest, MeansAreOfPerplexitiesAsInThePaper) {
  const EvaluationTable table = Table();
  EXPECT_NEAR(table.Find("w16a16")->mean_perplexity(), 12, 1e-12);
  EXPECT_EQ(table.Find("w4a8-fp-fp-m1-rtn"), nullptr);
  EXPECT_TRUE(std::isfinite(TextScore{1, 1e5, 0}.perplexity()));
}

TEST(EvaluationTableTest, WhatIsWrittenIsReadBack) {
  const ScratchDirectory scratch;
  const EvaluationTable table = Table();
  scratch.Write("a", ToJsonText(table, Rows()));
  const auto read = ReadEvaluationTable(scratch / "a", Rows());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model, "toy");
  EXPECT_TRUE(CheckSameSettings(table.settings, read->settings).ok());
  ASSERT_THAT(read->rows, SizeIs(3));
  for (const RowScore& row : table.rows) {
    const RowScore* found = read->Find(row.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->kernel, row.kernel);
    EXPECT_EQ(found->seconds, row.seconds);
    for (const auto& [name, score] : row.scores) {
      EXPECT_EQ(found->scores.at(name).loss, score.loss);
      EXPECT_EQ(found->scores.at(name).num_tokens, score.num_tokens);
      EXPECT_EQ(found->scores.at(name).standard_error, score.standard_error);
    }
  }
  // In the order of the table, and again the same text.
  EXPECT_EQ(read->rows.front().name, "w16a16");
  EvaluationTable again = *read;
  again.texts = table.texts;
  again.settings = table.settings;
  EXPECT_EQ(ToJsonText(again, Rows()), ToJsonText(table, Rows()));
}

TEST(EvaluationTableTest, DamagedFilesAreNamedWithThePlace) {
  const ScratchDirectory scratch;
  const ordered_json sound =
      ordered_json::parse(ToJsonText(Table(), Rows()), nullptr, false);
  const auto message = [&](const std::string& text) {
    scratch.Write("a", text);
    const auto read = ReadEvaluationTable(scratch / "a", Rows());
    EXPECT_FALSE(read.ok()) << text;
    return std::string(read.status().message());
  };
  const auto edited = [&](const char* pointer, const ordered_json& value) {
    ordered_json broken = sound;
    broken[ordered_json::json_pointer(pointer)] = value;
    return message(broken.dump());
  };
  EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message(sound.dump().substr(0, 300)), HasSubstr("not valid"));
  EXPECT_THAT(message("[1]"), HasSubstr("want results of zqfp-evaluate"));
  EXPECT_THAT(message("{\"loss\": 1}"), HasSubstr("want results of"));
  EXPECT_THAT(edited("/zqfp_evaluation", 2), HasSubstr("zqfp_evaluation"));
  EXPECT_THAT(edited("/settings", 5), HasSubstr("settings"));
  EXPECT_THAT(edited("/settings/texts", 5), HasSubstr("texts"));
  EXPECT_THAT(edited("/settings/calibration", 5), HasSubstr("calibration"));
  EXPECT_THAT(edited("/rows", "x"), HasSubstr("rows: want a list"));
  EXPECT_THAT(edited("/rows/1", 3), HasSubstr("rows[1]: want an object"));
  EXPECT_THAT(edited("/rows/1/name", "w3a3"), HasSubstr("\"w3a3\""));
  EXPECT_THAT(edited("/rows/1/name", "w16a16"), HasSubstr("w16a16 again"));
  EXPECT_THAT(edited("/rows/0/seconds", -1), HasSubstr("seconds"));
  EXPECT_THAT(edited("/rows/0/texts", ordered_json::object()),
              HasSubstr("ptb"));
  EXPECT_THAT(edited("/rows/0/texts/extra", 1), HasSubstr("extra"));
  const char* score = "/rows/0/texts/wiki/";
  EXPECT_THAT(edited((std::string(score) + "loss").c_str(), nullptr),
              HasSubstr("loss"));
  EXPECT_THAT(edited((std::string(score) + "loss").c_str(), "2"),
              HasSubstr("loss"));
  EXPECT_THAT(edited((std::string(score) + "loss").c_str(), 2.0),
              HasSubstr("perplexity: want exp(loss)"));
  EXPECT_THAT(edited((std::string(score) + "num_tokens").c_str(), 0),
              HasSubstr("num_tokens"));
  EXPECT_THAT(edited((std::string(score) + "standard_error").c_str(), -0.5),
              HasSubstr("standard_error"));
  EXPECT_THAT(edited((std::string(score) + "perplexity").c_str(), 9.0),
              HasSubstr("perplexity: want exp(loss)"));
}

TEST(EvaluationTableTest, AMissingFileIsNotFound) {
  const ScratchDirectory scratch;
  EXPECT_TRUE(
      absl::IsNotFound(ReadEvaluationTable(scratch / "no", Rows()).status()));
}

TEST(CheckSameSettingsTest, NamesWhatDiffers) {
  const ordered_json settings = Table().settings;
  ordered_json other = settings;
  other["window"] = 128;
  other["texts"]["wiki"] = "cc";
  const std::string message(CheckSameSettings(settings, other).message());
  EXPECT_THAT(message, HasSubstr("window 64 (in the file: 128)"));
  EXPECT_THAT(message, HasSubstr("texts/wiki \"aa\" (in the file: \"cc\")"));
  EXPECT_THAT(message, Not(HasSubstr("protocol")));
  other = settings;
  other.erase("protocol");
  other["extra"] = 1;
  const std::string keys(CheckSameSettings(settings, other).message());
  EXPECT_THAT(keys, HasSubstr("protocol \"gptq\" (in the file: nothing)"));
  EXPECT_THAT(keys, HasSubstr("extra nothing (in the file: 1)"));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      CheckSameSettings(settings, ordered_json::object())));
}

TEST(CheckSameSettingsTest, ACalibrationThatOneSideLacksIsNoDifference) {
  ordered_json with = Table().settings, other = Table().settings;
  with["calibration"] = {{"text_hash", "dd"}};
  EXPECT_TRUE(CheckSameSettings(with, other).ok());
  EXPECT_TRUE(CheckSameSettings(other, with).ok());
  other["calibration"] = {{"text_hash", "ee"}};
  EXPECT_THAT(std::string(CheckSameSettings(with, other).message()),
              HasSubstr("calibration/text_hash \"dd\""));
}

}  // namespace
}  // namespace zqfp::tools
