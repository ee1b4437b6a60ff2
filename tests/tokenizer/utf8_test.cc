// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "tokenizer/byte_level.h"

namespace zqfp {
namespace {

bool IsSurrogate(uint32_t c) { return c >= 0xd800 && c < 0xe000; }

TEST(Utf8, EveryCodePointComesBack) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (IsSurrogate(c)) continue;
    std::string text;
    AppendUtf8(c, &text);
    ASSERT_EQ(text.size(),
              static_cast<size_t>(Utf8Length(static_cast<uint8_t>(text[0]))));
    ASSERT_EQ(ValidUtf8Prefix(text, nullptr), static_cast<int>(text.size()));
    ASSERT_EQ(DecodeUtf8(text), c);
  }
}

TEST(Utf8, EveryPairOfBytesIsValidOrNotAsTheTableOfUnicodeSays) {
  // Of two bytes only 00..7F twice and C2..DF 80..BF are whole text.
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      const bool valid = (a < 0x80 && b < 0x80) ||
                         (a >= 0xc2 && a <= 0xdf && (b & 0xc0) == 0x80);
      EXPECT_EQ(FirstInvalidUtf8(text) == std::string_view::npos, valid)
          << a << " " << b;
    }
  }
}

TEST(Utf8, ForbiddenFormsAreFound) {
  for (const char* bad :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\x80", "\xc3",
        "\xe4\xbd", "\xf0\x9f\x98"}) {
    EXPECT_EQ(FirstInvalidUtf8(std::string("ok") + bad), 2u);
  }
}

TEST(Utf8, IncompleteIsNotTheSameAsBroken) {
  bool incomplete = false;
  EXPECT_EQ(ValidUtf8Prefix("\xf0\x9f\x98", &incomplete), 0);
  EXPECT_TRUE(incomplete);
  EXPECT_EQ(ValidUtf8Prefix("\xf0\x9fx", &incomplete), 0);
  EXPECT_FALSE(incomplete);
  EXPECT_EQ(ValidUtf8Prefix("\xed\xa0", &incomplete), 0);
  EXPECT_FALSE(incomplete);
  EXPECT_EQ(ValidUtf8Prefix("", &incomplete), 0);
  EXPECT_TRUE(incomplete);
}

TEST(Utf8, EachMaximalBrokenPartBecomesOneMark) {
  // The examples of the Unicode Standard, table 3-8 and 3-11.
  const std::string mark = "\ufffd";
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"),
            mark + mark + mark + mark + mark + mark + mark + mark + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"),
            mark + mark + mark + mark + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("caf\u00e9"), "caf\u00e9");
  EXPECT_EQ(ReplaceInvalidUtf8(""), "");
}

TEST(ByteLevel, EveryByteHasItsOwnCharacterAndComesBack) {
  std::string bytes;
  for (int b = 0; b < 256; ++b) bytes.push_back(static_cast<char>(b));
  const std::string visible = BytesToVisible(bytes);
  EXPECT_EQ(FirstInvalidUtf8(visible), std::string_view::npos);
  EXPECT_EQ(VisibleToBytes(visible), bytes);
  // As GPT-2's encoder.json has them.
  EXPECT_EQ(BytesToVisible(" "), "\u0120");
  EXPECT_EQ(BytesToVisible("\n"), "\u010a");
  EXPECT_EQ(BytesToVisible("\t"), "\u0109");
  EXPECT_EQ(BytesToVisible("A~\xa1\xff"), "A~\u00a1\u00ff");
  EXPECT_EQ(BytesToVisible(std::string(1, '\0')), "\u0100");
  EXPECT_EQ(BytesToVisible("\x7f"), "\u0121");
  EXPECT_EQ(BytesToVisible("\xad"), "\u0143");
  for (const char c : visible) EXPECT_NE(c, ' ');
}

TEST(ByteLevel, CharactersOutsideOfTheAlphabetStay) {
  EXPECT_EQ(VisibleToBytes("\u4f60\u0120x"), "\u4f60 x");
}

}  // namespace
}  // namespace zqfp
