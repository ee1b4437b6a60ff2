// SPDX-License-Identifier: Apache-2.0
// Q8_0 and MXFP4 blocks: exact expansion, exact re-laying, and the scales that
// are refused.
#include "models/gguf_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/core/float_formats.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;
using ::testing::HasSubstr;

constexpr float kE2m1[16] = {0,     .5f,  1,  1.5f,  2,  3,  4,  6,
                             -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};

struct Blocks {
  std::vector<uint8_t> bytes;
  Tensor tensor;

  Blocks(DType dtype, int64_t n, int64_t k) {
    bytes.resize(static_cast<size_t>(n * k / 32 * ByteSize(dtype)));
    tensor = {.name = "w",
              .dtype = dtype,
              .shape = {n, k},
              .data = bytes.data(),
              .num_bytes = static_cast<int64_t>(bytes.size()),
              .file = "x.gguf"};
  }
  uint8_t* Block(int64_t index) {
    return bytes.data() + index * ByteSize(tensor.dtype);
  }
  void SetScale(int64_t block, uint16_t code) {
    memcpy(Block(block), &code, 2);
  }
};

kernels::ThreadPool& Pool() {
  static kernels::ThreadPool& pool = *new kernels::ThreadPool(2);
  return pool;
}

void FillRandom(Blocks& blocks, uint32_t seed, int low, int high) {
  std::mt19937 random(seed);
  const int64_t count = NumElements(blocks.tensor) / 32;
  for (auto& byte : blocks.bytes) byte = static_cast<uint8_t>(random());
  for (int64_t i = 0; i < count; ++i) {
    blocks.Block(i)[0] = static_cast<uint8_t>(
        low + static_cast<int>(random() % (high - low + 1)));
  }
}

// w[n, k] of a view, by the definition in kernels/core/views.h.
float WeightAt(const kernels::WeightView& view, int64_t n, int64_t k) {
  const auto* packed = static_cast<const uint8_t*>(view.data);
  const uint8_t byte = packed[n * view.k / 2 + k / 2];
  const float value = kE2m1[k % 2 == 0 ? byte & 15 : byte >> 4];
  const int64_t group = n * (view.k / view.group_size) + k / view.group_size;
  if (view.format == WeightFormat::kE2m1Free) {
    return value * view.group_scale[group];
  }
  return value * std::ldexp(view.row_scale[n], -view.shift[group]);
}

void ExpectRelaidEqualsExpanded(const Blocks& blocks, WeightFormat format) {
  const auto floats = ExpandTensor(blocks.tensor, Pool());
  auto relaid = RelayMxfp4(blocks.tensor, Pool());
  ASSERT_TRUE(floats.ok() && relaid.ok());
  relaid->view.n = blocks.tensor.shape[0];
  relaid->view.k = blocks.tensor.shape[1];
  EXPECT_EQ(relaid->view.format, format);
  EXPECT_EQ(relaid->view.group_size, 32);
  const auto* want = reinterpret_cast<const float*>(floats->bytes().data());
  for (int64_t n = 0; n < relaid->view.n; ++n) {
    for (int64_t k = 0; k < relaid->view.k; ++k) {
      const float found = WeightAt(relaid->view, n, k);
      ASSERT_EQ(found, want[n * relaid->view.k + k]) << n << ", " << k;
      ASSERT_EQ(std::signbit(found),
                std::signbit(want[n * relaid->view.k + k]));
    }
  }
}

TEST(GgufBlocksTest, Q8TimesItsScaleIsExact) {
  // Every byte with scales of full, short and subnormal mantissas.
  const uint16_t scales[] = {0x3c00, 0x2bff, 0x0001, 0x83ff, 0x7bff, 0x1555};
  Blocks blocks(DType::kQ8Blocks, 6, 256);
  for (int64_t row = 0; row < 6; ++row) {
    for (int64_t b = 0; b < 8; ++b) {
      blocks.SetScale(row * 8 + b, scales[row]);
      for (int64_t i = 0; i < 32; ++i) {
        blocks.Block(row * 8 + b)[2 + i] = static_cast<uint8_t>(b * 32 + i);
      }
    }
  }
  const auto floats = ExpandTensor(blocks.tensor, Pool());
  ASSERT_TRUE(floats.ok());
  const auto* found = reinterpret_cast<const float*>(floats->bytes().data());
  for (int64_t i = 0; i < 6 * 256; ++i) {
    const double scale = kernels::F16ToFloat(scales[i / 256]);
    const double want = scale * static_cast<int8_t>(i % 256);
    ASSERT_EQ(static_cast<double>(found[i]), want) << i;
  }
}

TEST(GgufBlocksTest, Mxfp4IsTheLowNibblesThenTheHighOnes) {
  Blocks blocks(DType::kMxfp4Blocks, 1, 32);
  blocks.Block(0)[0] = 128;  // 2
  for (int i = 0; i < 16; ++i) {
    blocks.Block(0)[1 + i] = static_cast<uint8_t>(i | (15 - i) << 4);
  }
  float found[32];
  ExpandBlocks(blocks.tensor, 0, 32, found);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(found[i], 2 * kE2m1[i]) << i;
    EXPECT_EQ(found[16 + i], 2 * kE2m1[15 - i]) << i;
  }
}

TEST(GgufBlocksTest, RowsWithinTheWindowShareARowScale) {
  for (const int top : {15, 127, 252}) {
    Blocks blocks(DType::kMxfp4Blocks, 5, 96);
    FillRandom(blocks, 1, std::max(0, top - 14), top);
    // Every row reaches the top; the first has both ends of the window.
    for (int64_t row = 0; row < 5; ++row) {
      blocks.Block(row * 3)[0] = static_cast<uint8_t>(top);
    }
    blocks.Block(1)[0] = static_cast<uint8_t>(top - 14);
    ExpectRelaidEqualsExpanded(blocks, WeightFormat::kE2m1Shift);
  }
}

TEST(GgufBlocksTest, ARowBeyondTheWindowTakesFreeScales) {
  Blocks blocks(DType::kMxfp4Blocks, 5, 96);
  FillRandom(blocks, 2, 120, 127);
  blocks.Block(3)[0] = 127;
  blocks.Block(4)[0] = 127 - 15;
  ExpectRelaidEqualsExpanded(blocks, WeightFormat::kE2m1Free);
}

TEST(GgufBlocksTest, ScalesBelowNormalNumbersAreFree) {
  Blocks blocks(DType::kMxfp4Blocks, 2, 64);
  FillRandom(blocks, 3, 0, 14);
  ExpectRelaidEqualsExpanded(blocks, WeightFormat::kE2m1Free);
}

TEST(GgufBlocksTest, BlocksOfZerosFitAnywhere) {
  Blocks blocks(DType::kMxfp4Blocks, 3, 64);
  FillRandom(blocks, 4, 125, 127);
  for (const int64_t zero : {1, 4, 5}) {  // the last row is of zeros only
    memset(blocks.Block(zero), zero == 4 ? 0x88 : 0x08, 17);
    blocks.Block(zero)[0] = zero == 4 ? 254 : 0;
  }
  EXPECT_TRUE(CheckBlocks(blocks.tensor, Pool()).ok());
  ExpectRelaidEqualsExpanded(blocks, WeightFormat::kE2m1Shift);
}

TEST(GgufBlocksTest, RefusedScalesAreNamed) {
  Blocks q8(DType::kQ8Blocks, 4, 64);
  for (const uint16_t code : {0x7c00, 0xfc00, 0x7e00}) {  // inf, -inf, NaN
    q8.SetScale(5, code);
    const absl::Status status = CheckBlocks(q8.tensor, Pool());
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(status.message(), HasSubstr("x.gguf: w: "));
    EXPECT_THAT(status.message(), HasSubstr("element 160"));
  }
  q8.SetScale(5, 0x7bff);
  EXPECT_TRUE(CheckBlocks(q8.tensor, Pool()).ok());
  Blocks mxfp4(DType::kMxfp4Blocks, 4, 64);
  FillRandom(mxfp4, 5, 0, 252);
  EXPECT_TRUE(CheckBlocks(mxfp4.tensor, Pool()).ok());
  mxfp4.Block(7)[1] = 7;
  for (const uint8_t exponent : {253, 254, 255}) {
    mxfp4.Block(7)[0] = exponent;
    EXPECT_EQ(CheckBlocks(mxfp4.tensor, Pool()).code(),
              absl::StatusCode::kDataLoss)
        << int{exponent};
  }
  memset(mxfp4.Block(7) + 1, 0, 16);  // NaN stays NaN, whatever it scales
  EXPECT_FALSE(CheckBlocks(mxfp4.tensor, Pool()).ok());
}

}  // namespace
}  // namespace zqfp
