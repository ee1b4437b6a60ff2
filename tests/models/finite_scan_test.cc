// SPDX-License-Identifier: Apache-2.0
#include "models/finite_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <string>
#include <vector>

namespace zqfp {
namespace {

using ::testing::HasSubstr;

struct Format {
  DType dtype;
  std::vector<uint32_t> bad;   // NaNs and infinities
  std::vector<uint32_t> good;  // the largest and odd ones beside them
};

const Format kFormats[] = {
    {DType::kF32,
     {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff},
     {0x7f7fffff, 0xff7fffff, 0x80000000, 0x00000001, 0x007fffff}},
    {DType::kBf16,
     {0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff},
     {0x7f7f, 0xff7f, 0x8000, 0x0001, 0x407f}},
    {DType::kF16,
     {0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff},
     {0x7bff, 0xfbff, 0x8000, 0x0001, 0x03ff}},
    {DType::kE4m3, {0x7f, 0xff}, {0x7e, 0xfe, 0x80, 0x01, 0x77}},
};

// A tensor of `count` elements that lives in `bytes`.
Tensor MakeTensor(DType dtype, int64_t count, std::vector<uint8_t>& bytes) {
  bytes.assign(static_cast<size_t>(count * ByteSize(dtype)), 0);
  return {.name = "some.weight",
          .dtype = dtype,
          .shape = {count},
          .data = bytes.data(),
          .num_bytes = static_cast<int64_t>(bytes.size()),
          .file = "model.safetensors"};
}

void Set(std::vector<uint8_t>& bytes, DType dtype, int64_t index,
         uint32_t code) {
  memcpy(bytes.data() + index * ByteSize(dtype), &code,
         static_cast<size_t>(ByteSize(dtype)));
}

TEST(CheckFinite, FindsEveryBadCodeAnywhere) {
  kernels::ThreadPool pool(3);
  for (const Format& format : kFormats) {
    for (const int64_t count : {1, 63, 4096, 4097, 20000}) {
      std::vector<uint8_t> bytes;
      const Tensor tensor = MakeTensor(format.dtype, count, bytes);
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        Set(bytes, format.dtype, static_cast<int64_t>(i),
            format.good[i % format.good.size()]);
      }
      EXPECT_EQ(CheckFinite(tensor, pool), absl::OkStatus());
      for (const uint32_t code : format.bad) {
        for (const int64_t at : {int64_t{0}, count / 2, count - 1}) {
          Set(bytes, format.dtype, at, code);
          const absl::Status status = CheckFinite(tensor, pool);
          EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
          EXPECT_THAT(std::string(status.message()),
                      HasSubstr("model.safetensors: some.weight: "));
          EXPECT_THAT(std::string(status.message()),
                      ::testing::EndsWith("element " + std::to_string(at)));
          Set(bytes, format.dtype, at, format.good[0]);
        }
      }
    }
  }
}

TEST(CheckFinite, NamesTheFirstOfMany) {
  for (const int threads : {1, 4}) {
    kernels::ThreadPool pool(threads);
    std::vector<uint8_t> bytes;
    const Tensor tensor = MakeTensor(DType::kBf16, 100000, bytes);
    for (int64_t i = 31234; i < 100000; ++i)
      Set(bytes, DType::kBf16, i, 0x7fc0);
    EXPECT_THAT(std::string(CheckFinite(tensor, pool).message()),
                ::testing::EndsWith("element 31234"));
  }
}

TEST(CheckFinite, OtherDtypesHoldNoFloats) {
  kernels::ThreadPool pool(1);
  for (const DType dtype : {DType::kU8, DType::kI32, DType::kBool}) {
    std::vector<uint8_t> bytes;
    const Tensor tensor = MakeTensor(dtype, 64, bytes);
    std::fill(bytes.begin(), bytes.end(), uint8_t{0xff});
    EXPECT_EQ(CheckFinite(tensor, pool), absl::OkStatus());
  }
}

}  // namespace
}  // namespace zqfp
