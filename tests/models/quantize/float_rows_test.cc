// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/float_rows.h"

#include <gtest/gtest.h>
#include <string.h>

#include <cmath>
#include <numeric>

#include "kernels/cpu/thread_pool.h"
#include "tests/models/exact_formats.h"

namespace zqfp {
namespace {

using testing::FloatValue;

struct Format {
  DType dtype;
  int exponent_bits, mantissa_bits;
};

// All 65536 codes of both, from data that lies at odd addresses, by one
// thread and by three.
TEST(FloatRowsTest, EveryCodeOfSixteenBits) {
  std::vector<uint16_t> codes(65536);
  std::iota(codes.begin(), codes.end(), uint16_t{0});
  for (const Format& format :
       {Format{DType::kBf16, 8, 7}, Format{DType::kF16, 5, 10}}) {
    for (const int num_threads : {1, 3}) {
      for (const size_t offset : {size_t{0}, size_t{1}}) {
        std::vector<uint8_t> bytes(offset + 2 * codes.size());
        memcpy(bytes.data() + offset, codes.data(), 2 * codes.size());
        kernels::ThreadPool pool(num_threads);
        std::vector<float> floats = {1, 2, 3};
        LoadFloats(format.dtype, bytes.data() + offset, 65536,
                   {.parallel = pool.parallel()}, &floats);
        ASSERT_EQ(floats.size(), codes.size());
        const uint32_t top = (1u << format.exponent_bits) - 1;
        for (uint32_t code = 0; code < 65536; ++code) {
          const uint32_t exponent = code >> format.mantissa_bits & top;
          const uint32_t mantissa = code & ((1u << format.mantissa_bits) - 1);
          const float found = floats[code];
          ASSERT_EQ(std::signbit(found), code >= 0x8000) << code;
          if (exponent == top) {
            ASSERT_EQ(std::isinf(found), mantissa == 0) << code;
            ASSERT_EQ(std::isnan(found), mantissa != 0) << code;
            continue;
          }
          ASSERT_EQ(found, FloatValue(code, format.exponent_bits,
                                      format.mantissa_bits))
              << code;
        }
      }
    }
  }
}

TEST(FloatRowsTest, F32IsCopied) {
  const std::vector<float> values = {0, -0.0f, 1.5f, -3e38f, 1e-45f, INFINITY};
  std::vector<uint8_t> bytes(1 + 4 * values.size());
  memcpy(bytes.data() + 1, values.data(), 4 * values.size());
  std::vector<float> floats;
  LoadFloats(DType::kF32, bytes.data() + 1, 6, {}, &floats);
  ASSERT_EQ(floats.size(), 6u);
  EXPECT_EQ(memcmp(floats.data(), values.data(), 4 * values.size()), 0);
}

// Buffers are used again, larger and smaller; nothing may be read of nothing.
TEST(FloatRowsTest, TheBufferGetsTheCountAskedFor) {
  std::vector<uint8_t> bytes(4 * 10000);
  std::vector<float> floats(5, 7.0f);
  for (const int64_t count : {0, 1, 10000, 3}) {
    LoadFloats(DType::kF32, count == 0 ? nullptr : bytes.data(), count, {},
               &floats);
    EXPECT_EQ(floats.size(), static_cast<size_t>(count));
    for (const float value : floats) EXPECT_EQ(value, 0);
  }
}

}  // namespace
}  // namespace zqfp
