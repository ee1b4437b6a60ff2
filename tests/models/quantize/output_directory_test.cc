// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/output_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using ::testing::UnorderedElementsAre;

class OutputDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(input()); }

  std::string input() const { return scratch_ / "in"; }
  std::string output() const { return scratch_ / "out"; }
  absl::StatusOr<OutputDirectory> Create(
      IfExists if_exists = IfExists::kRefuse) const {
    return OutputDirectory::Create(output(), input(), if_exists);
  }
  // Names in a folder of the scratch directory.
  std::set<std::string> Names(const std::string& folder = ".") const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(scratch_ / folder)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(scratch_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ScratchDirectory scratch_;
};

TEST_F(OutputDirectoryTest, AppearsWholeOrNotAtAll) {
  for (const bool commits : {false, true}) {
    {
      auto directory = Create();
      ASSERT_TRUE(directory.ok()) << directory.status();
      ASSERT_TRUE(directory->WriteText("a.txt", "text").ok());
      EXPECT_FALSE(fs::exists(output()));
      EXPECT_EQ(Names().size(), 2u);  // the input and the sibling
      OutputDirectory moved = *std::move(directory);
      EXPECT_TRUE(fs::exists(moved.PathOf("a.txt")));
      if (commits) {
        EXPECT_TRUE(moved.Commit().ok());
      }
    }
    if (!commits) {
      EXPECT_THAT(Names(), UnorderedElementsAre("in"));
    }
  }
  EXPECT_THAT(Names(), UnorderedElementsAre("in", "out"));
  EXPECT_EQ(Read("out/a.txt"), "text");
}

TEST_F(OutputDirectoryTest, ParentsAreMade) {
  auto directory = OutputDirectory::Create(scratch_ / "a/b/out/", input(),
                                           IfExists::kRefuse);
  ASSERT_TRUE(directory.ok()) << directory.status();
  ASSERT_TRUE(directory->WriteText("c", "").ok());
  ASSERT_TRUE(directory->Commit().ok());
  EXPECT_TRUE(fs::exists(scratch_ / "a/b/out/c"));
}

TEST_F(OutputDirectoryTest, ReplacesOnlyWhenAsked) {
  fs::create_directory(output());
  EXPECT_TRUE(Create().ok()) << "an empty one gives way";
  scratch_.Write("out/old.txt", "old");
  const auto refused = Create();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("--overwrite"));
  {
    auto directory = Create(IfExists::kReplace);
    ASSERT_TRUE(directory.ok()) << directory.status();
    ASSERT_TRUE(directory->WriteText("new.txt", "new").ok());
    EXPECT_EQ(Read("out/old.txt"), "old") << "until the last moment";
  }
  EXPECT_EQ(Read("out/old.txt"), "old") << "a job that failed";
  auto directory = Create(IfExists::kReplace);
  ASSERT_TRUE(directory->WriteText("new.txt", "new").ok());
  ASSERT_TRUE(directory->Commit().ok());
  EXPECT_THAT(Names("out"), UnorderedElementsAre("new.txt"));
  EXPECT_THAT(Names(), UnorderedElementsAre("in", "out"));
}

// What came there while the job ran is not the job's to remove.
TEST_F(OutputDirectoryTest, FilesOfTheMeantimeStay) {
  auto directory = Create();
  ASSERT_TRUE(directory.ok());
  ASSERT_TRUE(directory->WriteText("new.txt", "new").ok());
  fs::create_directory(output());
  scratch_.Write("out/other.txt", "other");
  const absl::Status refused = directory->Commit();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("filled in the meantime (--overwrite"));
  EXPECT_THAT(Names("out"), UnorderedElementsAre("other.txt"));
  fs::remove(output() + "/other.txt");
  EXPECT_TRUE(directory->Commit().ok()) << "an empty one gives way";
  EXPECT_THAT(Names("out"), UnorderedElementsAre("new.txt"));
}

TEST_F(OutputDirectoryTest, AFileIsNeverReplaced) {
  scratch_.Write("out", "a file");
  for (const IfExists if_exists : {IfExists::kRefuse, IfExists::kReplace}) {
    EXPECT_EQ(Create(if_exists).status().code(),
              absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(Read("out"), "a file");
}

// However the paths are spelled; neighbours whose names begin alike are apart.
TEST_F(OutputDirectoryTest, OutputAndInputAreApart) {
  fs::create_directory_symlink(input(), scratch_ / "link");
  for (const std::string& bad :
       {input(), input() + "/", input() + "/below", scratch_.path(),
        scratch_ / "in/../in", scratch_ / "link", scratch_ / "link/below"}) {
    const auto directory =
        OutputDirectory::Create(bad, input(), IfExists::kReplace);
    EXPECT_EQ(directory.status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
  EXPECT_TRUE(fs::exists(input()));
  EXPECT_TRUE(
      OutputDirectory::Create(input() + "2", input(), IfExists::kRefuse).ok());
}

TEST_F(OutputDirectoryTest, PlacesThatCannotBeWritten) {
  scratch_.Write("file", "");
  for (const std::string& bad :
       {scratch_ / "file/out", std::string("/proc/none/out")}) {
    const auto directory =
        OutputDirectory::Create(bad, input(), IfExists::kRefuse);
    EXPECT_EQ(directory.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(directory.status().message()), HasSubstr(bad));
  }
  auto directory = Create();
  ASSERT_TRUE(directory.ok());
  EXPECT_FALSE(directory->WriteText("no/such/folder", "x").ok());
  EXPECT_TRUE(directory->CheckSpace(0).ok());
  const absl::Status space = directory->CheckSpace(INT64_MAX);
  EXPECT_EQ(space.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(space.message()),
              HasSubstr("want 9223372036854775807 bytes of disk space"));
}

// Tokenizer, template, settings and licence; no weights, code or cards. Links
// are followed and read-only files become ones that can be removed.
TEST_F(OutputDirectoryTest, CopiesWhatBelongsToAModel) {
  const std::set<std::string> companions = {"tokenizer.json",
                                            "tokenizer.model",
                                            "tokenizer_config.json",
                                            "merges.txt",
                                            "vocab.json",
                                            "generation_config.json",
                                            "qwen.tiktoken",
                                            "chat_template.jinja",
                                            "LICENSE",
                                            "LICENSE.txt",
                                            "NOTICE",
                                            "USE_POLICY.md",
                                            "added_tokens.json",
                                            "linked.json"};
  for (const std::string& name : companions) {
    scratch_.Write("in/" + (name == "linked.json" ? "elsewhere" : name),
                   "of " + name);
  }
  fs::create_symlink("elsewhere", scratch_ / "in/linked.json");
  fs::permissions(scratch_ / "in/LICENSE", fs::perms::owner_read);
  for (const char* name :
       {"config.json", "model.safetensors", "model.safetensors.index.json",
        "pytorch_model.bin", "modeling.py", "README.md", "picture.png",
        ".hidden.json", "notes.txt"}) {
    scratch_.Write(std::string("in/") + name, "stays");
  }
  fs::create_directory(scratch_ / "in/folder.json");
  fs::create_symlink(scratch_ / "nowhere", scratch_ / "in/broken.json");
  auto directory = Create();
  ASSERT_TRUE(directory.ok());
  const absl::Status status = directory->CopyCompanions(input());
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(directory->Commit().ok());
  EXPECT_EQ(Names("out"), companions);
  for (const std::string& name : companions) {
    EXPECT_EQ(Read("out/" + name), "of " + name);
    EXPECT_FALSE(fs::is_symlink(scratch_ / ("out/" + name)));
    EXPECT_NE(fs::status(scratch_ / ("out/" + name)).permissions() &
                  fs::perms::owner_write,
              fs::perms::none);
  }
}

TEST_F(OutputDirectoryTest, ALinkOutOfTheModelIsRefused) {
  scratch_.Write("secret", "of this machine");
  fs::create_directories(scratch_ / "blobs");
  scratch_.Write("blobs/blob", "of no cache");
  fs::create_directory_symlink(scratch_.path(), scratch_ / "in/up");
  for (const std::string& target :
       {scratch_ / "secret", std::string("../secret"), std::string("up/secret"),
        scratch_ / "blobs/blob"}) {
    fs::create_symlink(target, scratch_ / "in/LICENSE");
    auto directory = Create();
    ASSERT_TRUE(directory.ok());
    const absl::Status status = directory->CopyCompanions(input());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << target;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("in/LICENSE: want a file of the model directory, "
                          "found a link to"));
    fs::remove(scratch_ / "in/LICENSE");
  }
}

// REPOSITORY/snapshots/REVISION/NAME -> REPOSITORY/blobs/HASH.
TEST_F(OutputDirectoryTest, BlobsOfAHubsCacheAreTheModels) {
  for (const std::string repository : {"hub/one", "hub/two"}) {
    fs::create_directories(scratch_ / (repository + "/snapshots/main"));
    fs::create_directories(scratch_ / (repository + "/blobs"));
    scratch_.Write(repository + "/blobs/1234", "of " + repository);
  }
  const std::string revision = scratch_ / "hub/one/snapshots/main";
  fs::create_symlink("../../blobs/1234", revision + "/tokenizer.json");
  auto directory = Create();
  ASSERT_TRUE(directory.ok());
  const absl::Status copied = directory->CopyCompanions(revision);
  ASSERT_TRUE(copied.ok()) << copied;
  ASSERT_TRUE(directory->Commit().ok());
  EXPECT_EQ(Read("out/tokenizer.json"), "of hub/one");
  fs::create_symlink("../../../two/blobs/1234", revision + "/vocab.json");
  auto other = Create(IfExists::kReplace);
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(std::string(other->CopyCompanions(revision).message()),
              HasSubstr("vocab.json: want a file of the model directory"));
}

TEST_F(OutputDirectoryTest, AnInputThatIsNotThereIsAnError) {
  auto directory = Create();
  ASSERT_TRUE(directory.ok());
  const absl::Status status = directory->CopyCompanions(scratch_ / "none");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("none: cannot list"));
}

}  // namespace
}  // namespace zqfp
