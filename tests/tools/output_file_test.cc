// SPDX-License-Identifier: Apache-2.0
#include "tools/output_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/tools/program.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using zqfp::testing::ReadWholeFile;
using zqfp::testing::ScratchDirectory;

int64_t NumFiles(const ScratchDirectory& scratch) {
  const fs::directory_iterator files(scratch.path());
  return std::distance(begin(files), end(files));
}

TEST(OutputFileTest, WritesAndReplacesAndLeavesNothingElse) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "a";
  ASSERT_TRUE(WriteOutputFile(path, "first").ok());
  EXPECT_EQ(ReadWholeFile(path), "first");
  EXPECT_TRUE(CheckOutputFile(path).ok());
  EXPECT_EQ(ReadWholeFile(path), "first");
  ASSERT_TRUE(WriteOutputFile(path, std::string(1 << 20, 'x')).ok());
  EXPECT_EQ(fs::file_size(path), 1u << 20);
  ASSERT_TRUE(WriteOutputFile(path, "").ok());
  EXPECT_EQ(fs::file_size(path), 0u);
  EXPECT_EQ(NumFiles(scratch), 1);
}

TEST(OutputFileTest, CheckingCreatesNothing) {
  const ScratchDirectory scratch;
  EXPECT_TRUE(CheckOutputFile(scratch / "new").ok());
  EXPECT_EQ(NumFiles(scratch), 0);
}

TEST(OutputFileTest, WhatIsNoFileIsRefusedAndStays) {
  const ScratchDirectory scratch;
  fs::create_directory(scratch / "directory");
  fs::create_symlink("/dev/null", scratch / "link");
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  for (const char* name : {"directory", "link", "pipe"}) {
    const std::string path = scratch / name;
    for (const absl::Status& status :
         {CheckOutputFile(path), WriteOutputFile(path, "text")}) {
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << name;
      EXPECT_THAT(std::string(status.message()),
                  StartsWith(path + ": want a file or a new name, found a "));
    }
  }
  EXPECT_TRUE(fs::is_symlink(scratch / "link"));
  EXPECT_EQ(NumFiles(scratch), 3);
}

TEST(OutputFileTest, AMissingDirectoryIsNamed) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "no/such/file";
  EXPECT_THAT(std::string(CheckOutputFile(path).message()),
              HasSubstr("no/such/file: cannot write: No such file"));
  EXPECT_FALSE(WriteOutputFile(path, "x").ok());
}

TEST(OutputFileTest, AFileThatGetsTooLargeLeavesTheOldOne) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteOutputFile(scratch / "a", "old").ok());
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {4096, before.rlim_max};
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status =
      WriteOutputFile(scratch / "a", std::string(1 << 20, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(ReadWholeFile(scratch / "a"), "old");
  EXPECT_EQ(NumFiles(scratch), 1);
}

}  // namespace
}  // namespace zqfp::tools
