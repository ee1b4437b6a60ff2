// SPDX-License-Identifier: Apache-2.0
#include "tools/row_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/model_tokenizer.h"
#include "tests/tools/small_model.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using zqfp::testing::ScratchDirectory;
using zqfp::testing::SmallStories;
using Remains = WorkDirectory::Remains;

std::vector<EvaluationRow> Rows() {
  LinearScheme common;
  common.grid.scales.group_size = 32;
  common.lorc.rank = 4;
  return AllRows(common);
}

EvaluationRow Row(const std::string& name) {
  for (const EvaluationRow& row : Rows()) {
    if (row.name == name) return row;
  }
  ADD_FAILURE() << "no row " << name;
  return {};
}

// Layers as an interrupted row leaves them, but damaged.
void WriteLayers(const std::string& directory) {
  fs::create_directories(directory);
  std::ofstream(directory + "/job.json") << "{";
  std::ofstream(directory + "/layer-00000.safetensors") << "x";
}

TEST(WorkDirectoryTest, IsThereWhileItIsOpen) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "deep/work";
  {
    const auto work = WorkDirectory::Open(path, Rows(), Remains::kLayers);
    ASSERT_TRUE(work.ok()) << work.status();
    EXPECT_TRUE(fs::is_directory(path));
    EXPECT_EQ((*work)->PathOf(Row("w8a8-fp-fp-rtn")), path + "/w8a8-fp-fp-rtn");
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(WorkDirectoryTest, IsOneRunsAlone) {
  const ScratchDirectory scratch;
  auto work = WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers);
  ASSERT_TRUE(work.ok());
  const absl::Status second =
      WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second));
  EXPECT_THAT(std::string(second.message()), HasSubstr("another process"));
  EXPECT_TRUE(fs::exists(scratch / "work"));
  work->reset();
  EXPECT_TRUE(
      WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers).ok());
}

// What was killed holds its lock until the kernel has taken it down.
TEST(WorkDirectoryTest, WaitsForWhatIsAboutToEnd) {
  const ScratchDirectory scratch;
  auto dying = WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers);
  ASSERT_TRUE(dying.ok());
  std::thread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    dying->reset();
  });
  const auto next =
      WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers);
  end.join();
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(fs::exists(scratch / "work"));
}

TEST(WorkDirectoryTest, RemainsGoAndLayersStayUnlessDropped) {
  const ScratchDirectory scratch;
  const EvaluationRow row = Row("w4a8-fp-fp-m2-gptq");
  const std::string path = scratch / "work/" + row.name;
  fs::create_directories(path + ".partial-123");
  fs::create_directories(path);
  WriteLayers(path + ".layers");
  {
    const auto work =
        WorkDirectory::Open(scratch / "work", Rows(), Remains::kLayers);
    ASSERT_TRUE(work.ok()) << work.status();
    EXPECT_TRUE((*work)->HasLayers(row));
    EXPECT_FALSE(fs::exists(path));
    EXPECT_FALSE(fs::exists(path + ".partial-123"));
  }
  ASSERT_TRUE(fs::exists(path + ".layers"));
  fs::create_directories(path + ".partial-123");
  fs::create_directories(path);
  {
    const auto work = WorkDirectory::Open(scratch / "work", Rows(),
                                          Remains::kLayersAndModels);
    ASSERT_TRUE(work.ok()) << work.status();
    EXPECT_TRUE((*work)->HasLayers(row));
    EXPECT_TRUE((*work)->HasModel(row));
    EXPECT_FALSE(fs::exists(path + ".partial-123"));
  }
  EXPECT_TRUE(
      WorkDirectory::Open(scratch / "work", Rows(), Remains::kNothing).ok());
  EXPECT_FALSE(fs::exists(scratch / "work"));
}

TEST(WorkDirectoryTest, NothingOfOthersIsTouched) {
  for (const char* name : {"letter", "w4a8-fp-fp-m2-gptq.txt", "w4a8"}) {
    const ScratchDirectory scratch;
    fs::create_directories(scratch / "w16a16");
    scratch.Write(name, "dear all");
    const absl::Status status =
        WorkDirectory::Open(scratch.path(), Rows(), Remains::kNothing).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_TRUE(fs::exists(scratch / name));
    EXPECT_TRUE(fs::exists(scratch / "w16a16"));
  }
  const ScratchDirectory scratch;
  scratch.Write("file", "");
  EXPECT_FALSE(
      WorkDirectory::Open(scratch / "file", Rows(), Remains::kLayers).ok());
}

class RunRowTest : public ::testing::Test {
 protected:
  RunRowTest() {
    testing::WriteSmallModel(model_);
    tokenizer_ = *LoadModelTokenizer(model_.path());
    work_ = *WorkDirectory::Open(scratch_ / "work", Rows(), Remains::kLayers);
    texts_.push_back({"a", {{SmallStories(1, 100)}, false}});
    texts_.push_back({"b", {{SmallStories(1, 900)}, false}});
    args_ = {.quantize = {.input = model_.path(),
                          .lm_head = HeadFormat::kBf16,
                          .calibration = {{1, 5, 9, 13, 2, 4}, {1, 7, 3, 8}},
                          .num_threads = 1},
             .model = {.num_threads = 1},
             .evaluation = {.window = 64},
             .tokenizer = tokenizer_.get(),
             .texts = &texts_,
             .work = work_.get()};
  }
  double Loss(const std::string& row) {
    const auto score = RunRow(Row(row), args_);
    EXPECT_TRUE(score.ok()) << score.status();
    return score.ok() ? score->scores.at("a").loss : -1;
  }

  ScratchDirectory model_, scratch_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<WorkDirectory> work_;
  std::vector<EvaluationText> texts_;
  RowRunnerArgs args_;
};

TEST_F(RunRowTest, ScoresEveryTextAndCleansUp) {
  const auto score = RunRow(Row("w4a8-fp-fp-m2-gptq-lorc"), args_);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->name, "w4a8-fp-fp-m2-gptq-lorc");
  EXPECT_THAT(score->kernel, StartsWith("matmul_a8 "));
  EXPECT_EQ(score->scores.size(), 2u);
  EXPECT_GT(score->scores.at("a").num_tokens, 63);
  EXPECT_NE(score->scores.at("a").loss, score->scores.at("b").loss);
  EXPECT_GT(score->seconds, 0);
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

TEST_F(RunRowTest, TheOriginalIsRunWhereItLies) {
  const auto score = RunRow(Row("w16a16"), args_);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_THAT(score->kernel, StartsWith("matmul "));
}

// Integer weights run in f32; only their inputs tell the two rows apart.
TEST_F(RunRowTest, InputsOfSimulatedRowsAreRounded) {
  EXPECT_NE(Loss("w8a8-int-int-rtn"), Loss("w8a8-int-fp-rtn"));
  EXPECT_NE(Loss("w8a8-int-fp-rtn"), Loss("w4a8-int-fp-rtn"));
}

TEST_F(RunRowTest, AStoppedRowIsCancelledAndGoesOn) {
  const double whole = Loss("w4a8-fp-fp-free-gptq");
  int calls = 0;
  args_.progress = [&](double share, const std::string& note) {
    EXPECT_GE(share, 0);
    EXPECT_LE(share, 1);
    ++calls;
    return note == "layer 2 of 2" ? absl::CancelledError("stopped")
                                  : absl::OkStatus();
  };
  const absl::Status status =
      RunRow(Row("w4a8-fp-fp-free-gptq"), args_).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(std::string(status.message()), "w4a8-fp-fp-free-gptq: stopped");
  EXPECT_GT(calls, 1);
  EXPECT_TRUE(work_->HasLayers(Row("w4a8-fp-fp-free-gptq")));
  args_.progress = nullptr;
  EXPECT_EQ(Loss("w4a8-fp-fp-free-gptq"), whole);
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

TEST_F(RunRowTest, AStoppedEvaluationLeavesTheModelForTheNextOne) {
  const double whole = Loss("w4a8-fp-fp-free-gptq");
  args_.progress = [](double, const std::string& note) {
    return note == "b" ? absl::CancelledError("stopped") : absl::OkStatus();
  };
  EXPECT_TRUE(
      absl::IsCancelled(RunRow(Row("w4a8-fp-fp-free-gptq"), args_).status()));
  EXPECT_TRUE(work_->HasModel(Row("w4a8-fp-fp-free-gptq")));
  args_.progress = [](double, const std::string& note) {
    EXPECT_TRUE(note == "a" || note == "b") << "quantizes again: " << note;
    return absl::OkStatus();
  };
  EXPECT_EQ(Loss("w4a8-fp-fp-free-gptq"), whole);
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

TEST_F(RunRowTest, DamagedLayersAreMadeAnew) {
  const std::string row = "w4a8-fp-fp-free-gptq";
  const double whole = Loss(row);
  WriteLayers(work_->PathOf(Row(row)) + ".layers");
  EXPECT_EQ(Loss(row), whole);
  EXPECT_FALSE(work_->HasLayers(Row(row)));
}

TEST_F(RunRowTest, ErrorsSayOfWhichRowAndText) {
  texts_[1].corpus.texts = {"short"};
  const absl::Status status = RunRow(Row("w8a8-fp-fp-rtn"), args_).status();
  EXPECT_THAT(std::string(status.message()),
              StartsWith("w8a8-fp-fp-rtn: b: text: want enough"));
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

}  // namespace
}  // namespace zqfp::tools
