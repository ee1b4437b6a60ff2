// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace zqfp::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }
float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

// Everything is usable in constant expressions.
static_assert(E2m1ToFloat(FloatToE2m1(2.4f)) == 2.0f);
static_assert(FloatToE4m3(448.0f) == 0x7e);
static_assert(FloatToE5m2(57344.0f) == 0x7b);
static_assert(Bf16ToFloat(FloatToBf16(1.0f)) == 1.0f);
static_assert(F16ToFloat(FloatToF16(0.5f)) == 0.5f);
static_assert(UnpackE2m1(std::vector<uint8_t>{PackE2m1(3, 9)}.data(), 1) == 9);

// One format of the exhaustive tests: decode, encode, and the bit fields for a
// second opinion by ldexp.
struct SmallFormat {
  std::string name;
  int num_codes;
  int exponent_bits;
  int mantissa_bits;
  float max;
  float (*decode)(uint8_t);
  uint8_t (*encode)(float);
};

const std::vector<SmallFormat>& SmallFormats() {
  static const auto& formats = *new std::vector<SmallFormat>{
      {"e2m1", 16, 2, 1, 6, E2m1ToFloat, FloatToE2m1},
      {"e4m3", 256, 4, 3, 448, E4m3ToFloat, FloatToE4m3},
      {"e5m2", 256, 5, 2, 57344, E5m2ToFloat, FloatToE5m2},
  };
  return formats;
}

// The definition, by ldexp.
double ByFields(const SmallFormat& format, int code) {
  const int mantissa = code % (1 << format.mantissa_bits);
  const int exponent =
      (code >> format.mantissa_bits) % (1 << format.exponent_bits);
  const int sign_at = format.exponent_bits + format.mantissa_bits;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const double fraction = std::ldexp(mantissa, -format.mantissa_bits);
  const double magnitude = exponent == 0
                               ? std::ldexp(fraction, 1 - bias)
                               : std::ldexp(1 + fraction, exponent - bias);
  return code >> sign_at ? -magnitude : magnitude;
}

class SmallFormatTest : public ::testing::TestWithParam<SmallFormat> {
 protected:
  // Non-negative finite codes in ascending order of value.
  std::vector<uint8_t> Magnitudes() const {
    std::vector<uint8_t> codes;
    for (int code = 0; code < GetParam().num_codes / 2; ++code) {
      const float value = GetParam().decode(static_cast<uint8_t>(code));
      if (std::isfinite(value)) codes.push_back(static_cast<uint8_t>(code));
    }
    return codes;
  }
  uint8_t SignCode() const {
    return static_cast<uint8_t>(GetParam().num_codes / 2);
  }
};

TEST_P(SmallFormatTest, DecodesByItsBitFields) {
  for (int code = 0; code < GetParam().num_codes; ++code) {
    const float value = GetParam().decode(static_cast<uint8_t>(code));
    if (!std::isfinite(value)) continue;  // SpecialCodes, Golden
    EXPECT_EQ(value, ByFields(GetParam(), code)) << code;
    EXPECT_EQ(std::signbit(value), code >= GetParam().num_codes / 2) << code;
  }
}

TEST_P(SmallFormatTest, EveryFiniteCodeComesBack) {
  for (const uint8_t code : Magnitudes()) {
    const float value = GetParam().decode(code);
    EXPECT_EQ(GetParam().encode(value), code);
    EXPECT_EQ(GetParam().encode(-value), code | SignCode());
  }
}

TEST_P(SmallFormatTest, MidpointsGoToTheEvenCode) {
  const std::vector<uint8_t> codes = Magnitudes();
  for (size_t i = 0; i + 1 < codes.size(); ++i) {
    const float low = GetParam().decode(codes[i]);
    const float high = GetParam().decode(codes[i + 1]);
    const float middle = (low + high) / 2;  // exact: few bits
    const uint8_t even = codes[i] % 2 == 0 ? codes[i] : codes[i + 1];
    const float below = std::nextafterf(middle, -kInfinity);
    const float above = std::nextafterf(middle, kInfinity);
    EXPECT_EQ(GetParam().encode(middle), even) << middle;
    EXPECT_EQ(GetParam().encode(-middle), even | SignCode()) << middle;
    EXPECT_EQ(GetParam().encode(below), codes[i]) << below;
    EXPECT_EQ(GetParam().encode(above), codes[i + 1]) << above;
  }
}

TEST_P(SmallFormatTest, SaturatesInsteadOfOverflowing) {
  const uint8_t largest = Magnitudes().back();
  EXPECT_EQ(GetParam().decode(largest), GetParam().max);
  const std::vector<float> beyond = {
      std::nextafterf(GetParam().max, kInfinity), GetParam().max * 1.25f,
      GetParam().max * 2, std::numeric_limits<float>::max(), kInfinity};
  for (const float x : beyond) {
    EXPECT_EQ(GetParam().encode(x), largest) << x;
    EXPECT_EQ(GetParam().encode(-x), largest | SignCode()) << x;
  }
}

TEST_P(SmallFormatTest, TinyNumbersBecomeZeroWithTheirSign) {
  const float smallest = GetParam().decode(1);
  for (const float x : {0.0f, FromBits(1), FromBits(0x7fffff),
                        FromBits(0x800000), smallest / 4, smallest / 2}) {
    EXPECT_EQ(GetParam().encode(x), 0) << x;
    EXPECT_EQ(GetParam().encode(-x), SignCode()) << x;
  }
}

// Nearest, by searching all codes in f64: an encoder written differently.
TEST_P(SmallFormatTest, AgreesWithASearchOverAllCodes) {
  const std::vector<uint8_t> codes = Magnitudes();
  uint32_t bits = 12345;
  for (int i = 0; i < 4000; ++i) {
    bits = bits * 1664525u + 1013904223u;
    // Exponents -18 .. 17 around the formats' ranges.
    const float x =
        FromBits(((109 + bits % 36) << 23) | ((bits >> 7) & 0x7fffff));
    uint8_t best = codes[0];
    for (const uint8_t code : codes) {
      const double distance = std::fabs(double{x} - GetParam().decode(code));
      const double least = std::fabs(double{x} - GetParam().decode(best));
      if (distance < least || (distance == least && code % 2 == 0)) best = code;
    }
    EXPECT_EQ(GetParam().encode(x), best) << x;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, SmallFormatTest,
                         ::testing::ValuesIn(SmallFormats()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(FloatFormatsTest, E2m1IsTheTableOfThePaper) {
  const std::vector<float> expected = {0,   .5,  1,  1.5,  2,  3,  4,  6,
                                       -0., -.5, -1, -1.5, -2, -3, -4, -6};
  for (int code = 0; code < 16; ++code) {
    EXPECT_EQ(Bits(E2m1ToFloat(code)), Bits(expected[code])) << code;
  }
}

TEST(FloatFormatsTest, SpecialCodes) {
  EXPECT_TRUE(std::isnan(E4m3ToFloat(0x7f)));
  EXPECT_TRUE(std::isnan(E4m3ToFloat(0xff)));
  EXPECT_EQ(E5m2ToFloat(0x7c), kInfinity);
  EXPECT_EQ(E5m2ToFloat(0xfc), -kInfinity);
  for (const int code : {0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff}) {
    EXPECT_TRUE(std::isnan(E5m2ToFloat(static_cast<uint8_t>(code)))) << code;
  }
  EXPECT_EQ(FloatToE4m3(kNan), 0x7f);
  EXPECT_EQ(FloatToE4m3(FromBits(0xffc00001)), 0x7f);
  EXPECT_EQ(FloatToE5m2(kNan), 0x7f);
  EXPECT_EQ(E4m3ToFloat(1), std::ldexp(1.0, -9));
  EXPECT_EQ(E4m3ToFloat(8), std::ldexp(1.0, -6));
}

// FORMAT.md: value * 2^(6 - shift) is an e4m3 value for shifts 0 to 14 and for
// no more.
TEST(FloatFormatsTest, ShiftsZeroToFourteenAreExact) {
  for (int shift = 0; shift <= 14; ++shift) {
    for (uint8_t code = 0; code < 16; ++code) {
      const double exact = std::ldexp(E2m1ToFloat(code), 6 - shift);
      EXPECT_EQ(E4m3ToFloat(ShiftedE2m1ToE4m3(code, shift)), exact)
          << int{code} << " shift " << shift;
    }
  }
}

TEST(FloatFormatsTest, ShiftsMinusOneAndFifteenAreNotExact) {
  for (const int shift : {-1, 15}) {
    int inexact = 0;
    for (uint8_t code = 0; code < 16; ++code) {
      const double exact = std::ldexp(E2m1ToFloat(code), 6 - shift);
      if (E4m3ToFloat(ShiftedE2m1ToE4m3(code, shift)) != exact) ++inexact;
    }
    EXPECT_GT(inexact, 0) << shift;
  }
}

TEST(FloatFormatsTest, TheEvenIndexIsTheLowNibble) {
  const uint8_t row[] = {PackE2m1(0x1, 0xa), PackE2m1(0xf, 0x0)};
  EXPECT_EQ(row[0], 0xa1);
  EXPECT_EQ(row[1], 0x0f);
  const int expected[] = {0x1, 0xa, 0xf, 0x0};
  for (int k = 0; k < 4; ++k) EXPECT_EQ(UnpackE2m1(row, k), expected[k]);
}

TEST(FloatFormatsTest, PowerOfTwoOverItsWholeRange) {
  for (int exponent = -149; exponent <= 127; ++exponent) {
    EXPECT_EQ(PowerOfTwo(exponent), std::ldexp(1.0, exponent)) << exponent;
  }
}

TEST(FloatFormatsTest, Ue8m0IsAPowerOfTwo) {
  for (int code = 0; code < 255; ++code) {
    const float value = Ue8m0ToFloat(static_cast<uint8_t>(code));
    EXPECT_EQ(value, std::ldexp(1.0, code - 127)) << code;
    EXPECT_EQ(FloatToUe8m0Ceil(value), code);
    if (code == 254) continue;
    EXPECT_EQ(FloatToUe8m0Ceil(std::nextafterf(value, kInfinity)), code + 1);
    EXPECT_EQ(FloatToUe8m0Ceil(value * 1.5f), code + 1);
  }
  EXPECT_TRUE(std::isnan(Ue8m0ToFloat(0xff)));
  EXPECT_EQ(FloatToUe8m0Ceil(kInfinity), 254);
  EXPECT_EQ(FloatToUe8m0Ceil(FromBits(1)), 0);
  for (const float x : {0.0f, -1.0f, kNan}) {
    EXPECT_EQ(FloatToUe8m0Ceil(x), 0xff);
  }
}

TEST(FloatFormatsTest, AllBf16CodesComeBack) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const float value = Bf16ToFloat(static_cast<uint16_t>(code));
    EXPECT_EQ(Bits(value), code << 16);
    const uint16_t back = FloatToBf16(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(Bf16ToFloat(back))) << code;
    } else {
      EXPECT_EQ(back, code);
    }
  }
}

// Midpoints of all neighbours of one sign, and one f32 step to both sides.
TEST(FloatFormatsTest, Bf16RoundsToNearestEven) {
  for (uint32_t code = 0; code < 0x7f80; ++code) {
    const uint32_t middle = code << 16 | 0x8000;
    EXPECT_EQ(FloatToBf16(FromBits(middle)), code + code % 2);
    EXPECT_EQ(FloatToBf16(FromBits(middle - 1)), code);
    EXPECT_EQ(FloatToBf16(FromBits(middle + 1)), code + 1);
    EXPECT_EQ(FloatToBf16(-FromBits(middle)), (code + code % 2) | 0x8000);
  }
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7f80);
  // A NaN whose upper bits are all zero must not turn into an infinity.
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(FromBits(0x7f800001)))));
}

TEST(FloatFormatsTest, AllF16CodesByTheirBitFields) {
  const SmallFormat f16 = {"f16", 65536, 5, 10, 65504, nullptr, nullptr};
  for (uint32_t code = 0; code < 65536; ++code) {
    const float value = F16ToFloat(static_cast<uint16_t>(code));
    if ((code & 0x7c00) != 0x7c00) {
      EXPECT_EQ(value, ByFields(f16, static_cast<int>(code))) << code;
      EXPECT_EQ(FloatToF16(value), code);
    } else if ((code & 0x3ff) == 0) {
      EXPECT_EQ(value, code & 0x8000 ? -kInfinity : kInfinity);
      EXPECT_EQ(FloatToF16(value), code);
    } else {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value)))) << code;
    }
  }
}

TEST(FloatFormatsTest, F16RoundsToNearestEven) {
  for (uint32_t code = 0; code < 0x7bff; ++code) {
    const float low = F16ToFloat(static_cast<uint16_t>(code));
    const float high = F16ToFloat(static_cast<uint16_t>(code + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(FloatToF16(middle), code + code % 2) << code;
    EXPECT_EQ(FloatToF16(std::nextafterf(middle, 0)), code);
    EXPECT_EQ(FloatToF16(std::nextafterf(middle, kInfinity)), code + 1);
  }
  EXPECT_EQ(FloatToF16(65519.99f), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToF16(-1e30f), 0xfc00);
}

// --- against ml_dtypes and numpy --------------------------------------------

uint32_t Encode(const std::string& format, float x) {
  if (format == "bf16") return FloatToBf16(x);
  if (format == "f16") return FloatToF16(x);
  for (const SmallFormat& small : SmallFormats()) {
    if (small.name == format) return small.encode(x);
  }
  ADD_FAILURE() << "unknown format " << format;
  return 0;
}

float Decode(const std::string& format, uint8_t code) {
  if (format == "ue8m0") return Ue8m0ToFloat(code);
  for (const SmallFormat& small : SmallFormats()) {
    if (small.name == format) return small.decode(code);
  }
  ADD_FAILURE() << "unknown format " << format;
  return 0;
}

void CheckGoldenValue(const std::string& format, uint32_t code,
                      const std::string& bits) {
  const float value = Decode(format, static_cast<uint8_t>(code));
  if (bits == "nan") {
    EXPECT_TRUE(std::isnan(value)) << format << " " << code;
  } else {
    EXPECT_EQ(Bits(value), std::stoul(bits, nullptr, 16)) << format << code;
  }
}

TEST(FloatFormatsTest, AgreesWithMlDtypesAndNumpy) {
  std::ifstream golden(std::string(ZQFP_SOURCE_DIR) +
                       "/tests/golden/float_formats.txt");
  std::map<std::string, int> num_values, num_rounded;
  std::string format, kind, left, right;
  while (golden >> format >> kind >> left >> right) {
    const uint32_t number = std::stoul(left, nullptr, 16);
    if (kind == "value") {
      CheckGoldenValue(format, number, right);
      ++num_values[format];
    } else {
      EXPECT_EQ(Encode(format, FromBits(number)),
                std::stoul(right, nullptr, 16))
          << format << " " << FromBits(number);
      ++num_rounded[format];
    }
  }
  EXPECT_EQ(num_values,
            (std::map<std::string, int>{
                {"e2m1", 16}, {"e4m3", 256}, {"e5m2", 256}, {"ue8m0", 256}}));
  for (const std::string name : {"e2m1", "e4m3", "e5m2", "bf16", "f16"}) {
    EXPECT_GT(num_rounded[name], 100) << name;
  }
}

}  // namespace
}  // namespace zqfp::kernels
