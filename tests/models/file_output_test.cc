// SPDX-License-Identifier: Apache-2.0
#include "models/file_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;
using testing::ScratchDirectory;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int64_t NumFiles(const ScratchDirectory& scratch) {
  const fs::directory_iterator files(scratch.path());
  return std::distance(begin(files), end(files));
}

TEST(FileOutputTest, WritesAndReplaces) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "a";
  for (const std::string& text :
       {std::string("long"), std::string(), std::string("a\0b", 3)}) {
    ASSERT_TRUE(WriteSynced(path, text).ok());
    EXPECT_EQ(Read(path), text);
    ASSERT_TRUE(ReplaceFile(path, text + "x").ok());
    EXPECT_EQ(Read(path), text + "x");
  }
  EXPECT_TRUE(CheckReplaceable(path).ok());
  EXPECT_TRUE(CheckReplaceable(scratch / "b").ok());
  EXPECT_EQ(NumFiles(scratch), 1);
}

TEST(FileOutputTest, AFailedReplaceLeavesTheOldFile) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "directory";
  fs::create_directory(path);
  scratch.Write("directory/a", "old");
  const absl::Status status = ReplaceFile(path, "new");
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              ::testing::StartsWith(path + ": cannot write: "));
  EXPECT_EQ(Read(path + "/a"), "old");
  EXPECT_EQ(NumFiles(scratch), 1);
}

TEST(FileOutputTest, ErrorsNameTheFileNotItsPartialOne) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "no/such/a";
  for (const absl::Status& status :
       {WriteSynced(path, "x"), ReplaceFile(path, "x"),
        CheckReplaceable(path)}) {
    EXPECT_EQ(std::string(status.message()),
              path + ": cannot write: No such file or directory");
  }
}

TEST(FileOutputTest, DirectoriesAreSynced) {
  const ScratchDirectory scratch;
  scratch.Write("a", "");
  EXPECT_TRUE(SyncDirectory(scratch.path()).ok());
  EXPECT_EQ(SyncDirectory(scratch / "no").message(),
            scratch / "no" + ": cannot open: No such file or directory");
  EXPECT_EQ(SyncDirectory(scratch / "a").message(),
            scratch / "a" + ": cannot open: Not a directory");
}

TEST(FileOutputTest, AFullDiskIsResourceExhausted) {
  EXPECT_TRUE(absl::IsResourceExhausted(WriteSynced("/dev/full", "x")));
}

}  // namespace
}  // namespace zqfp
