// SPDX-License-Identifier: Apache-2.0
#include "models/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::HasSubstr;
using testing::ScratchDirectory;

std::vector<uint8_t> Ramp(size_t count, uint8_t first) {
  std::vector<uint8_t> bytes(count);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

int64_t CountFiles(const ScratchDirectory& directory) {
  int64_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory.path())) {
    count += entry.exists() ? 1 : 0;
  }
  return count;
}

// Odd byte counts before wide dtypes, in the order of the plan.
std::vector<TensorPlan> MixedPlan() {
  return {{"codes", DType::kU8, {3, 3}},
          {"scale", DType::kF32, {3}},
          {"half", DType::kBf16, {1, 5}},
          {"shift", DType::kU8, {7}}};
}

TEST(SafetensorsWriterTest, RoundTripInUnevenPieces) {
  const ScratchDirectory directory;
  const std::string path = directory / "out.safetensors";
  absl::StatusOr<SafetensorsWriter> writer =
      SafetensorsWriter::Create(path, MixedPlan());
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<uint8_t> bytes = Ramp(9 + 12 + 10 + 7, 1);
  for (size_t at = 0; at < bytes.size(); at += 5) {
    const size_t count = std::min<size_t>(5, bytes.size() - at);
    ASSERT_TRUE(writer->Append(absl::MakeSpan(bytes.data() + at, count)).ok());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(CountFiles(directory), 1);
  const absl::StatusOr<Checkpoint> file = Checkpoint::OpenFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto expect = [&](const char* name, size_t begin, size_t count) {
    const Tensor* tensor = file->Find(name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(
        std::vector<uint8_t>(tensor->data, tensor->data + tensor->num_bytes),
        std::vector<uint8_t>(bytes.begin() + begin,
                             bytes.begin() + begin + count));
  };
  expect("codes", 0, 9);
  expect("scale", 9, 12);
  expect("half", 21, 10);
  expect("shift", 31, 7);
  // The widest dtype lies first, 64-byte aligned.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file->Find("scale")->data) % 64, 0u);
}

TEST(SafetensorsWriterTest, UnfinishedWorkLeavesNothing) {
  const ScratchDirectory directory;
  {
    absl::StatusOr<SafetensorsWriter> writer =
        SafetensorsWriter::Create(directory / "out.safetensors", MixedPlan());
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Append(Ramp(10, 0)).ok());
    EXPECT_EQ(CountFiles(directory), 1);
    const absl::Status status = writer->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("scale lacks bytes"));
  }
  EXPECT_EQ(CountFiles(directory), 0);
}

TEST(SafetensorsWriterTest, TooManyBytesAreRefused) {
  const ScratchDirectory directory;
  absl::StatusOr<SafetensorsWriter> writer = SafetensorsWriter::Create(
      directory / "out.safetensors", {{"t", DType::kU8, {4}}});
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->Append(Ramp(5, 0)).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SafetensorsWriterTest, BadPlans) {
  const ScratchDirectory directory;
  const auto create = [&](std::vector<TensorPlan> plan) {
    return SafetensorsWriter::Create(directory / "x", std::move(plan)).status();
  };
  EXPECT_FALSE(create({{"t", DType::kU8, {0}}}).ok());
  EXPECT_FALSE(create({{"t", DType::kU8, {-1}}}).ok());
  EXPECT_FALSE(create({{"t", DType::kF32, {int64_t{1} << 62}}}).ok());
  EXPECT_FALSE(create({{"t", DType::kU8, {int64_t{1} << 62}},
                       {"u", DType::kU8, {int64_t{1} << 62}}})
                   .ok());
  EXPECT_FALSE(create({{"t", DType::kU8, {1}}, {"t", DType::kU8, {1}}}).ok());
  EXPECT_EQ(CountFiles(directory), 0);
}

TEST(SafetensorsWriterTest, NoSuchDirectoryNamesPathAndReason) {
  const ScratchDirectory directory;
  const absl::Status status =
      SafetensorsWriter::Create(directory / "no/out", MixedPlan()).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no/out: cannot create: No such file or directory"));
}

// A file-size limit makes write() fail as a full disk does.
TEST(SafetensorsWriterTest, AFullDiskIsReportedAndLeavesNothing) {
  const ScratchDirectory directory;
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {100'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  absl::Status status;
  {
    absl::StatusOr<SafetensorsWriter> writer = SafetensorsWriter::Create(
        directory / "out.safetensors", {{"t", DType::kU8, {1'000'000}}});
    ASSERT_TRUE(writer.ok());
    status = writer->Append(std::vector<uint8_t>(1'000'000));
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("out.safetensors: cannot write: File too large"));
  EXPECT_EQ(CountFiles(directory), 0);
}

}  // namespace
}  // namespace zqfp
