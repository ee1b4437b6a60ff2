// SPDX-License-Identifier: Apache-2.0
#include "tools/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/models/editable_checkpoint.h"
#include "tests/tools/program.h"
#include "tokenizer/tokenizer.h"

namespace zqfp::tools {
namespace {

using testing::AssetPath;
using testing::DemoModel;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using Ids = std::vector<int32_t>;

std::vector<std::string> Models() {
  std::vector<std::string> models = {DemoModel()};
  for (const char* name : {"models/babyllama-1m", "models/tinystories-656k"}) {
    const std::string path = AssetPath(name);
    if (!path.empty()) models.push_back(path);
  }
  return models;
}

Ids Encode(const std::string& model, const std::string& text,
           bool add_special_tokens = true) {
  const auto tokenizer = LoadTokenizer(model);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)
                       ->Encode(text, {.add_special_tokens = add_special_tokens,
                                       .parse_special_tokens = false});
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.value_or(Ids());
}

// A text no two parts of which are the same.
std::string Story(int sentences) {
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    text += "The " + std::to_string(i * i) + " birds saw a red ball. ";
  }
  return text;
}

class CalibrationTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    scratch_.Write(name, text);
    return scratch_ / name;
  }
  Calibration Read(const std::string& model, CalibrationOptions options) {
    auto calibration = ReadCalibration(model, options);
    EXPECT_TRUE(calibration.ok()) << calibration.status();
    return calibration.ok() ? *std::move(calibration) : Calibration();
  }
  std::string Message(const std::string& model, CalibrationOptions options) {
    const auto calibration = ReadCalibration(model, options);
    EXPECT_FALSE(calibration.ok());
    return std::string(calibration.status().message());
  }

  ScratchDirectory scratch_;
};

// Of floor(size / length) windows the i-th taken is number i * all / count.
TEST_F(CalibrationTest, RunningTextGivesWindowsEvenlySpaced) {
  const std::string text = Story(80);
  const std::string path = Write("text.txt", text);
  for (const std::string& model : Models()) {
    const Ids ids = Encode(model, text);
    for (const int64_t length : {7, 32, 100}) {
      const auto all = static_cast<int64_t>(ids.size()) / length;
      ASSERT_GT(all, 5);
      for (const int64_t wanted :
           {int64_t{1}, int64_t{3}, all - 1, all, all + 1, int64_t{5000}}) {
        const Calibration found = Read(
            model, {.text = path, .num_samples = wanted, .length = length});
        const int64_t count = std::min(wanted, all);
        ASSERT_EQ(static_cast<int64_t>(found.sequences.size()), count);
        for (int64_t i = 0; i < count; ++i) {
          const auto begin = ids.begin() + i * all / count * length;
          EXPECT_EQ(found.sequences[i], Ids(begin, begin + length))
              << model << " length " << length << " window " << i;
        }
      }
    }
  }
}

// The first `length` tokens of the first documents that have so many, from
// their beginning-of-text token; as jsonl and between separators.
TEST_F(CalibrationTest, DocumentsGiveTheirBeginnings) {
  std::vector<std::string> documents;
  for (const int sentences : {9, 1, 12, 2, 15, 1, 10}) {
    documents.push_back("Story " + std::to_string(documents.size()) + ". " +
                        Story(sentences));
    documents.back().pop_back();  // no space at the end: they are trimmed
  }
  std::string lines, joined;
  for (const std::string& document : documents) {
    lines += nlohmann::json{{"text", document}}.dump() + "\n";
    joined += (joined.empty() ? "" : "\n<|end|>\n") + document;
  }
  const CalibrationOptions ways[] = {
      {.text = Write("documents.jsonl", lines)},
      {.text = Write("joined.txt", joined), .split = "\\n<|end|>\\n"}};
  for (const std::string& model : Models()) {
    const auto tokenizer = LoadTokenizer(model);
    for (CalibrationOptions options : ways) {
      for (const int64_t length : {16, 40, 60}) {
        options.length = length;
        std::vector<Ids> wanted;
        for (const std::string& document : documents) {
          Ids ids = Encode(model, document, false);
          ids.insert(ids.begin(), (*tokenizer)->bos_id());
          if (static_cast<int64_t>(ids.size()) < length) continue;
          wanted.emplace_back(ids.begin(), ids.begin() + length);
        }
        ASSERT_GE(wanted.size(), 3u);
        options.num_samples = 100;
        EXPECT_EQ(Read(model, options).sequences, wanted) << model;
        options.num_samples = 2;
        wanted.resize(2);
        EXPECT_EQ(Read(model, options).sequences, wanted) << model;
      }
    }
  }
}

// Exactly so many tokens are enough, one less are not.
TEST_F(CalibrationTest, TheShortestTextThatWillDo) {
  for (const std::string& model : Models()) {
    const std::string text = Story(3);
    const auto size = static_cast<int64_t>(Encode(model, text).size());
    const std::string path = Write("text.txt", text);
    EXPECT_EQ(Read(model, {.text = path, .length = size}).sequences.size(), 1u);
    const std::string message =
        Message(model, {.text = path, .length = size + 1});
    EXPECT_THAT(message, HasSubstr(path));
    EXPECT_THAT(message, HasSubstr("at least one sequence of " +
                                   std::to_string(size + 1) + " tokens"));
    // The same text as a document.
    const std::string document = text.substr(0, text.size() - 1);
    const auto tokens =
        static_cast<int64_t>(Encode(model, document, false).size()) + 1;
    const std::string lines =
        Write("one.jsonl", nlohmann::json{{"text", document}}.dump());
    EXPECT_EQ(Read(model, {.text = lines, .length = tokens}).sequences.size(),
              1u);
    EXPECT_THAT(Message(model, {.text = lines, .length = tokens + 1}),
                HasSubstr("found 1 text(s) that are all shorter"));
  }
}

// A length beyond the model's context is the context.
TEST_F(CalibrationTest, LengthEndsAtTheContext) {
  const std::string path = Write("text.txt", Story(1200));
  for (const std::string& model : Models()) {
    const auto config = LoadConfig(model);
    ASSERT_TRUE(config.ok());
    const Calibration found = Read(model, {.text = path, .num_samples = 3});
    ASSERT_EQ(found.sequences.size(), 3u);
    for (const Ids& ids : found.sequences) {
      EXPECT_EQ(static_cast<int64_t>(ids.size()), config->max_positions);
    }
  }
}

// XXH64 of the file's bytes, as its authors publish it for "abc".
TEST_F(CalibrationTest, TheSourceIsTheFilesNameAndHash) {
  std::filesystem::create_directory(scratch_ / "folder");
  const Calibration abc =
      Read(DemoModel(), {.text = Write("folder/abc.txt", "abc"), .length = 2});
  EXPECT_EQ(abc.source.text, "abc.txt");
  EXPECT_EQ(abc.source.text_hash, "44bc2cf5ad770999");
  const Calibration other =
      Read(DemoModel(), {.text = Write("folder/abc.txt", "abd"), .length = 2});
  EXPECT_EQ(other.source.text_hash.size(), 16u);
  EXPECT_NE(other.source.text_hash, abc.source.text_hash);
}

TEST_F(CalibrationTest, SaysWhatIsNotThere) {
  EXPECT_THAT(Message(DemoModel(), {.text = scratch_ / "none.txt"}),
              HasSubstr("none.txt"));
  const std::string path = Write("text.txt", Story(9));
  EXPECT_FALSE(ReadCalibration(scratch_ / "no_model", {.text = path}).ok());
  EXPECT_FALSE(ReadCalibration(DemoModel(), {.text = scratch_.path()}).ok());
  for (const char* bad : {"{\"text\": 3}", "{\"text\": \"a", "[]"}) {
    EXPECT_THAT(Message(DemoModel(), {.text = Write("bad.jsonl", bad)}),
                HasSubstr("bad.jsonl"));
  }
  EXPECT_FALSE(
      ReadCalibration(DemoModel(), {.text = Write("empty.txt", "")}).ok());
  EXPECT_FALSE(
      ReadCalibration(DemoModel(), {.text = path, .split = "\\q"}).ok());
}

// A tokenizer that is not the model's: its ids have no embedding.
TEST_F(CalibrationTest, IdsBeyondTheVocabularyAreRefused) {
  const std::string model = scratch_ / "model";
  testing::CopyDemoModel(model);
  std::ifstream file(model + "/config.json");
  nlohmann::json config = nlohmann::json::parse(file);
  config["vocab_size"] = 10;
  scratch_.Write("model/config.json", config.dump());
  const auto calibration = ReadCalibration(
      model, {.text = Write("text.txt", Story(9)), .length = 8});
  EXPECT_EQ(calibration.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(calibration.status().message()),
              HasSubstr("want ids below 10"));
}

}  // namespace
}  // namespace zqfp::tools
