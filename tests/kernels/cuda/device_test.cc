// SPDX-License-Identifier: Apache-2.0
// The device of kernels/cuda on the emulator's runtime.
#include "kernels/cuda/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/staging.h"
#include "tests/kernels/test_weight.h"

namespace zqfp::kernels::cuda {
namespace {

using ::testing::HasSubstr;

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenDevice();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *device;
  }

  Device* device_ = nullptr;
};

TEST_F(DeviceTest, ThereIsOneAndItSaysWhichOne) {
  EXPECT_EQ(*OpenDevice(), device_);
  EXPECT_EQ(device_->Describe(), "emulator, compute capability 9.0");
  EXPECT_GT(device_->Memory().total, 0);
  EXPECT_NE(device_->stream(), nullptr);
}

TEST_F(DeviceTest, MemoryIsAlignedAndNoBytesAreNoMemory) {
  for (const int64_t size : {1, 255, 100000}) {
    auto memory = device_->Allocate(size);
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->get()) % 256, 0u);
  }
  EXPECT_EQ(device_->Allocate(0)->get(), nullptr);
}

TEST_F(DeviceTest, TooMuchMemoryIsAnErrorThatNamesTheSizes) {
  const auto memory = device_->Allocate(int64_t{1} << 40);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(memory.status().message()),
              HasSubstr("want 1099511627776 bytes of device memory, found"));
  EXPECT_TRUE(device_->Synchronize().ok());  // it is reported once
}

// Uploads that end inside of a staging buffer, at its end and several on.
TEST_F(DeviceTest, UploadsOfAnySizeArrive) {
  constexpr int64_t kBuffer = Staging::kBufferBytes;
  for (const int64_t size :
       {int64_t{0}, int64_t{1}, kBuffer - 1, kBuffer, 2 * kBuffer + 12345}) {
    std::vector<uint8_t> sent(static_cast<size_t>(size));
    for (size_t i = 0; i < sent.size(); ++i) {
      sent[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
    }
    std::vector<uint8_t> found(sent.size());
    auto memory = device_->Allocate(size);
    ASSERT_TRUE(memory.ok());
    ASSERT_TRUE(device_->Upload(sent.data(), size, memory->get()).ok());
    ASSERT_TRUE(device_->Download(memory->get(), size, found.data()).ok());
    EXPECT_TRUE(sent == found) << size;
  }
}

__global__ void Nothing(int) { AwaitInputs(); }

__global__ void AddOne(int* number) {
  AwaitInputs();
  *number += 1;
}

// Recording runs nothing; enqueueing runs it as often as wanted.
TEST_F(DeviceTest, RecordedOpsRunWhenTheyAreEnqueued) {
  int number = 0;
  const auto launch = [&] {
    Launch(Exec{}, {.grid = 1, .block = 1}, AddOne, &number);
  };
  auto recorded = device_->Record([&] {
    launch();
    launch();
  });
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  EXPECT_EQ(number, 0);
  launch();
  EXPECT_EQ(number, 1);
  EXPECT_TRUE((*recorded)->Enqueue().ok());
  EXPECT_TRUE((*recorded)->Enqueue().ok());
  EXPECT_TRUE(device_->Synchronize().ok());
  EXPECT_EQ(number, 5);
}

TEST_F(DeviceTest, ALaunchThatIsRefusedFailsTheRecording) {
  const auto recorded = device_->Record(
      [] { Launch(Exec{}, {.grid = 1, .block = 2048}, Nothing, 1); });
  EXPECT_EQ(recorded.status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(device_->Synchronize().ok());  // it is reported once
}

TEST_F(DeviceTest, SynchronizeNamesTheFirstErrorOnce) {
  Launch(Exec{}, {.grid = 1, .block = 2048}, Nothing, 1);
  const absl::Status status = device_->Synchronize();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cudaErrorInvalidConfiguration"));
  EXPECT_TRUE(device_->Synchronize().ok());
}

// What a format does not use is not read: it may point anywhere.
TEST_F(DeviceTest, AWeightIsPlacedWithWhatItsFormatUses) {
  std::mt19937 random(3);
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16}) {
    const TestWeight weight = MakeWeight(random, format, 5, 7, 0);
    auto placed = device_->Place(weight.view);
    ASSERT_TRUE(placed.ok()) << placed.status();
    const int64_t size = 5 * 7 * (format == WeightFormat::kF32 ? 4 : 2);
    EXPECT_EQ(placed->view.row_scale, nullptr);
    EXPECT_EQ(placed->view.group_scale, nullptr);
    EXPECT_EQ(
        memcmp(placed->view.data, weight.view.data, static_cast<size_t>(size)),
        0);
  }
}

}  // namespace
}  // namespace zqfp::kernels::cuda
