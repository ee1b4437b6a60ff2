// SPDX-License-Identifier: Apache-2.0
// The container: what it reads, and every way in which a file can lie.
#include "models/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <cmath>
#include <limits>

#include "tests/models/gguf_file.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using testing::GgufArray;
using testing::GgufBytes;
using testing::GgufInt;
using testing::GgufKey;
using testing::GgufReal;
using testing::GgufString;
using testing::GgufTensor;
using testing::GgufText;
using testing::GgufTexts;
using ::testing::HasSubstr;
using testing::Raw;

absl::Span<const uint8_t> Span(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

absl::StatusOr<Gguf> Parse(const std::string& bytes) {
  return Gguf::Parse(Span(bytes), "x.gguf");
}

TEST(GgufTest, ReadsEveryTypeOfValue) {
  const GgufBytes file = {
      .keys = {
          GgufKey("u8", 0, Raw(uint8_t{200})),
          GgufKey("i8", 1, Raw(int8_t{-3})),
          GgufKey("u16", 2, Raw(uint16_t{60000})),
          GgufKey("i16", 3, Raw(int16_t{-30000})), GgufInt("u32", 4000000000u),
          GgufKey("i32", 5, Raw(-7)), GgufReal("f32", 0.5f),
          GgufKey("yes", 7, Raw(uint8_t{1})), GgufText("text", "h\xc3\xa9"),
          GgufKey("u64", 10, Raw(uint64_t{1} << 40)),
          GgufKey("i64", 11, Raw(int64_t{-5})), GgufKey("f64", 12, Raw(0.1)),
          GgufTexts("texts", {"a", "", "bc"}),
          GgufArray("ints", 5, 3, Raw(1) + Raw(-2) + Raw(3)),
          GgufArray("floats", 6, 2, Raw(1.5f) + Raw(-2.0f)),
          GgufArray("bytes", 0, 3, "xyz"), GgufTexts("none", {})}};
  const std::string bytes = file.Build();
  const auto gguf = Parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const IntRange any = {std::numeric_limits<int64_t>::min(),
                        std::numeric_limits<int64_t>::max()};
  for (const auto& [key, want] :
       std::vector<std::pair<const char*, int64_t>>{{"u8", 200},
                                                    {"i8", -3},
                                                    {"u16", 60000},
                                                    {"i16", -30000},
                                                    {"u32", 4000000000},
                                                    {"i32", -7},
                                                    {"u64", int64_t{1} << 40},
                                                    {"i64", -5}}) {
    int64_t found = 0;
    EXPECT_TRUE(gguf->Read(key, any, &found).ok()) << key;
    EXPECT_EQ(found, want) << key;
  }
  double number = 0;
  EXPECT_TRUE(gguf->Read("f32", {0, 1}, &number).ok());
  EXPECT_EQ(number, 0.5);
  EXPECT_TRUE(gguf->Read("f64", {0, 1}, &number).ok());
  EXPECT_EQ(number, 0.1);
  bool flag = false;
  EXPECT_TRUE(gguf->Read("yes", &flag).ok());
  EXPECT_TRUE(flag);
  std::string text;
  EXPECT_TRUE(gguf->Read("text", &text).ok());
  EXPECT_EQ(text, "h\xc3\xa9");
  EXPECT_THAT(*gguf->Strings("texts"), ElementsAre("a", "", "bc"));
  EXPECT_THAT(*gguf->Ints("ints", {-2, 3}), ElementsAre(1, -2, 3));
  EXPECT_THAT(*gguf->Floats("floats"), ElementsAre(1.5f, -2.0f));
  EXPECT_EQ(*gguf->Blob("bytes"), "xyz");
  EXPECT_TRUE(gguf->Strings("none")->empty());
  EXPECT_TRUE(gguf->Strings("absent")->empty());
}

TEST(GgufTest, WrongTypesAndRangesNameKeyWantedAndFound) {
  const GgufBytes file = {
      .keys = {GgufText("text", "hello"), GgufInt("number", 7),
               GgufReal("nan", std::nanf("")), GgufTexts("texts", {"a"}),
               GgufArray("floats", 6, 1, Raw(std::nanf(""))),
               GgufKey("huge", 10, Raw(~uint64_t{0}))}};
  const std::string bytes = file.Build();
  const auto gguf = Parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  int64_t integer = -1;
  double real = -1;
  bool flag = false;
  std::string text = "kept";
  EXPECT_EQ(gguf->Read("text", IntRange{0, 9}, &integer).message(),
            "x.gguf: text: want an integer of 0..9, found \"hello\"");
  EXPECT_EQ(gguf->Read("number", IntRange{0, 6}, &integer).message(),
            "x.gguf: number: want an integer of 0..6, found 7");
  EXPECT_THAT(gguf->Read("huge", IntRange{0, 6}, &integer).message(),
              HasSubstr("a number above 2^63"));
  EXPECT_FALSE(gguf->Read("nan", RealRange{-1e30, 1e30}, &real).ok());
  EXPECT_FALSE(gguf->Read("texts", RealRange{-1e30, 1e30}, &real).ok());
  EXPECT_FALSE(gguf->Read("number", &flag).ok());
  EXPECT_FALSE(gguf->Read("number", &text).ok());
  EXPECT_FALSE(gguf->Strings("number").ok());
  EXPECT_FALSE(gguf->Ints("texts", {0, 9}).ok());
  EXPECT_FALSE(gguf->Ints("number", {0, 9}).ok());
  EXPECT_FALSE(gguf->Floats("floats").ok());
  EXPECT_FALSE(gguf->Blob("texts").ok());
  EXPECT_EQ(integer, -1);
  EXPECT_EQ(text, "kept");
}

TEST(GgufTest, TensorsLieInTheFileOutermostDimensionFirst) {
  const GgufBytes file = {
      .keys = {},
      .tensors = {GgufTensor("m", {3, 2}, 0, 0), GgufTensor("v", {5}, 1, 32),
                  GgufTensor("q", {64, 1}, 8, 64)},
      .data = std::string(64 + 68, 'x')};
  const std::string bytes = file.Build();
  const auto gguf = Parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  ASSERT_EQ(gguf->tensors().size(), 3u);
  EXPECT_EQ(Describe(gguf->tensors()[0]), "F32 [2, 3]");
  EXPECT_EQ(Describe(gguf->tensors()[1]), "F16 [5]");
  EXPECT_EQ(Describe(gguf->tensors()[2]), "Q8_0 [1, 64]");
  EXPECT_EQ(gguf->tensors()[2].num_bytes, 68);
  EXPECT_EQ(gguf->tensors()[2].source, "GGUF Q8_0");
  const uint8_t* begin = Span(bytes).data();
  EXPECT_EQ((gguf->tensors()[0].data - begin) % 32, 0);
  EXPECT_EQ(gguf->tensors()[1].data - gguf->tensors()[0].data, 32);
  EXPECT_EQ(gguf->Find("v"), &gguf->tensors()[1]);
  EXPECT_EQ(gguf->Find("w"), nullptr);
}

// Version 1 has 32 bits for every count.
TEST(GgufTest, VersionOne) {
  std::string bytes = "GGUF" + Raw(1u) + Raw(1u) + Raw(2u);
  bytes += GgufString("a.text", 1) + Raw(8u) + GgufString("hello", 1);
  bytes += GgufString("a.list", 1) + Raw(9u) + Raw(8u) + Raw(2u) +
           GgufString("x", 1) + GgufString("yz", 1);
  bytes += GgufString("t", 1) + Raw(2u) + Raw(2u) + Raw(1u) + Raw(0u) +
           Raw(uint64_t{0});
  bytes.append(32 - bytes.size() % 32, '\0');
  bytes += Raw(1.0f) + Raw(2.0f);
  const auto gguf = Parse(bytes);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  EXPECT_EQ(gguf->version(), 1);
  std::string text;
  EXPECT_TRUE(gguf->Read("a.text", &text).ok());
  EXPECT_EQ(text, "hello");
  EXPECT_THAT(*gguf->Strings("a.list"), ElementsAre("x", "yz"));
  EXPECT_EQ(Describe(gguf->tensors()[0]), "F32 [1, 2]");
}

// A key's name is not copied for each of its strings: 130 GB.
TEST(GgufTest, LongNamesOfLongArraysCostNothing) {
  constexpr uint64_t kCount = 2'000'000;
  const GgufBytes file = {
      .keys = {GgufArray(std::string(65'535, 'k'), 8, kCount,
                         std::string(8 * kCount, '\0'))}};
  const std::string bytes = file.Build();
  const clock_t before = clock();
  EXPECT_TRUE(Parse(bytes).ok());
  EXPECT_LT(static_cast<double>(clock() - before) / CLOCKS_PER_SEC, 2.0);
}

TEST(GgufTest, EveryPrefixOfAFileIsAnErrorOrTheWholeOfIt) {
  const GgufBytes file = {
      .keys = {GgufText("a", "b"), GgufTexts("c", {"d", "e"}),
               GgufArray("f", 5, 2, Raw(1) + Raw(2))},
      .tensors = {GgufTensor("t", {8}, 0, 0)},
      .data = std::string(32, 'x')};
  const std::string bytes = file.Build();
  ASSERT_TRUE(Parse(bytes).ok());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto gguf = Parse(bytes.substr(0, length));
    ASSERT_FALSE(gguf.ok()) << length;
    EXPECT_THAT(gguf.status().message(), HasSubstr("x.gguf: ")) << length;
  }
}

struct Broken {
  const char* name;
  std::string bytes;
  absl::StatusCode code;
  const char* message;
};

constexpr auto kBad = absl::StatusCode::kInvalidArgument;
constexpr auto kUnknown = absl::StatusCode::kUnimplemented;
constexpr uint64_t kHuge = ~uint64_t{0};

std::string Keys(std::vector<std::string> keys) {
  return GgufBytes{.keys = std::move(keys)}.Build();
}
// One tensor of 32 bytes of data, unless told otherwise.
std::string OneTensor(const std::string& entry, size_t data_bytes = 32,
                      std::vector<std::string> keys = {}) {
  return GgufBytes{.keys = std::move(keys),
                   .tensors = {entry},
                   .data = std::string(data_bytes, '\0')}
      .Build();
}
std::string TwoTensors(const std::string& a, const std::string& b,
                       size_t data_bytes) {
  return GgufBytes{.tensors = {a, b}, .data = std::string(data_bytes, '\0')}
      .Build();
}

std::vector<Broken> HeadersAndKeys() {
  const auto head = [](uint32_t version, uint64_t tensors, uint64_t keys) {
    return "GGUF" + Raw(version) + Raw(tensors) + Raw(keys);
  };
  return {
      {"empty", "", kBad, "magic: want 4 bytes"},
      {"other_magic", "GGML" + std::string(40, '\0'), kBad, "GGUF"},
      {"no_version", "GGUF", kBad, "version: want 4 bytes"},
      {"version_0", head(0, 0, 0), kUnknown, "found 0"},
      {"version_4", head(4, 0, 0), kUnknown, "found 4"},
      {"big_endian", head(0x03000000, 0, 0), kUnknown, "big-endian"},
      {"no_counts", "GGUF" + Raw(3u), kBad, "number of tensors"},
      {"huge_tensor_count", head(3, kHuge, 0), kBad, "number of tensors"},
      {"huge_key_count", head(3, 0, kHuge), kBad, "number of keys"},
      {"negative_key_count", head(3, 0, uint64_t{1} << 63), kBad, "keys"},
      {"more_keys_than_there_are",
       GgufBytes{.keys = {GgufInt("a", 1)}, .num_keys = 2}.Build(), kBad,
       "key 1"},
      {"more_tensors_than_there_are",
       GgufBytes{.keys = {GgufInt("a", 1)}, .num_tensors = 1}.Build(), kBad,
       "tensor 0"},
      {"key_length_overflows", head(3, 0, 1) + Raw(kHuge) + "abcdefgh", kBad,
       "key 0: length"},
      {"key_longer_than_the_file", head(3, 0, 1) + Raw(uint64_t{100}) + "abc",
       kBad, "key 0: length"},
      {"key_too_long", Keys({GgufInt(std::string(70000, 'k'), 1)}), kBad,
       "at most 65535"},
      {"empty_key", Keys({GgufInt("", 1)}), kBad, "printable ASCII"},
      {"key_with_space", Keys({GgufInt("a b", 1)}), kBad, "printable ASCII"},
      {"key_with_newline", Keys({GgufInt("a\nb", 1)}), kBad, "printable ASCII"},
      {"key_not_ascii", Keys({GgufInt("\xc3\xa9", 1)}), kBad,
       "printable ASCII"},
      {"key_with_zero", Keys({GgufInt(std::string("a\0b", 3), 1)}), kBad,
       "printable ASCII"},
      {"duplicate_key", Keys({GgufInt("a", 1), GgufReal("a", 1)}), kBad,
       "a: want each key once"},
      {"unknown_type", Keys({GgufKey("a", 13, Raw(uint64_t{0}))}), kBad,
       "found 13"},
      {"type_all_ones", Keys({GgufKey("a", ~0u, Raw(uint64_t{0}))}), kBad,
       "want a type"},
      {"bool_of_two", Keys({GgufKey("a", 7, Raw(uint8_t{2}))}), kBad,
       "a: want a bool of 0 or 1"},
      {"bools_of_two", Keys({GgufArray("a", 7, 2, std::string("\1\2", 2))}),
       kBad, "a: want a bool"},
      {"string_length_overflows", Keys({GgufKey("a", 8, Raw(kHuge))}), kBad,
       "a: length"},
      {"string_beyond_the_end",
       Keys({GgufKey("a", 8, Raw(uint64_t{9}) + "12345678")}), kBad,
       "a: length"},
      {"array_of_arrays",
       Keys({GgufArray("a", 9, 1, Raw(4u) + Raw(uint64_t{0}))}), kUnknown,
       "a: an array of arrays"},
      {"array_of_unknown_type", Keys({GgufArray("a", 77, 1, "x")}), kBad,
       "found 77"},
      {"array_count_overflows", Keys({GgufArray("a", 12, kHuge / 8 + 2, "x")}),
       kBad, "a: elements"},
      {"array_beyond_the_end", Keys({GgufArray("a", 10, 2, Raw(kHuge))}), kBad,
       "a: want 16 bytes"},
      {"strings_beyond_the_end",
       Keys({GgufArray("a", 8, 3, GgufString("x") + GgufString("y"))}), kBad,
       "a: length"},
      {"string_in_array_overflows",
       Keys({GgufArray("a", 8, 1, Raw(kHuge) + "x")}), kBad, "a: length"},
      {"part_of_several", Keys({GgufInt("split.count", 3)}), kUnknown,
       "3 parts"},
      {"split_count_is_text", Keys({GgufText("split.count", "3")}), kBad,
       "split.count"},
  };
}

std::vector<Broken> Tensors() {
  const auto sound = GgufTensor("t", {8}, 0, 0);
  const auto aligned = [](uint32_t alignment) {
    return std::vector<std::string>{GgufInt("general.alignment", alignment)};
  };
  return {
      {"no_dimensions", OneTensor(GgufTensor("t", {}, 0, 0)), kBad,
       "t: dimensions: want 1..4, found 0"},
      {"five_dimensions", OneTensor(GgufTensor("t", {1, 1, 1, 1, 8}, 0, 0)),
       kBad, "want 1..4, found 5"},
      {"dimensions_all_ones",
       OneTensor(GgufString("t") + Raw(~0u) + Raw(uint64_t{8})), kBad,
       "want 1..4"},
      {"zero_dimension", OneTensor(GgufTensor("t", {8, 0}, 0, 0)), kBad,
       "found 0"},
      {"negative_dimension",
       OneTensor(GgufTensor("t", {uint64_t{1} << 63}, 0, 0)), kBad,
       "t: dimensions"},
      {"product_overflows",
       OneTensor(GgufTensor("t", {1u << 31, 1u << 31, 1u << 31}, 0, 0)), kBad,
       "t: dimensions"},
      {"product_wraps_to_small",
       OneTensor(GgufTensor("t", {uint64_t{1} << 62, 4, 8}, 0, 0)), kBad,
       "t: dimensions"},
      {"larger_than_the_file", OneTensor(GgufTensor("t", {16}, 0, 0)), kBad,
       "t: want 64 bytes of data for F32 [16], found 32"},
      {"unsupported_type", OneTensor(GgufTensor("t", {8}, 12, 0)), kUnknown,
       "t: Q4_K is not supported; supported are F32, F16, BF16, Q8_0, MXFP4"},
      {"unknown_tensor_type", OneTensor(GgufTensor("t", {8}, 4242, 0)),
       kUnknown, "t: type 4242 is not supported"},
      {"removed_type", OneTensor(GgufTensor("t", {8}, 4, 0)), kUnknown,
       "t: type 4 "},
      {"broken_blocks", OneTensor(GgufTensor("t", {31}, 8, 0), 64), kBad,
       "t: want rows of whole blocks of 32, found Q8_0 [31]"},
      {"blocks_across_rows", OneTensor(GgufTensor("t", {16, 2}, 39, 0)), kBad,
       "whole blocks"},
      {"offset_overflows", OneTensor(GgufTensor("t", {8}, 0, kHuge)), kBad,
       "t: want an offset inside the file"},
      {"offset_negative", OneTensor(GgufTensor("t", {8}, 0, uint64_t{1} << 63)),
       kBad, "t: want an offset"},
      {"hole_in_front", OneTensor(GgufTensor("t", {8}, 0, 32), 64), kBad,
       "t: want data at offset 0, found 32: a hole"},
      {"not_aligned", OneTensor(GgufTensor("t", {4}, 0, 4)), kBad,
       "want data at offset 0, found 4"},
      {"overlap",
       TwoTensors(GgufTensor("t", {8}, 0, 0), GgufTensor("u", {8}, 0, 0), 64),
       kBad, "overlap"},
      {"hole_between",
       TwoTensors(GgufTensor("t", {8}, 0, 0), GgufTensor("u", {8}, 0, 64), 96),
       kBad, "u: want data at offset 32, found 64: a hole"},
      {"duplicate_tensor", TwoTensors(sound, GgufTensor("t", {8}, 0, 32), 64),
       kBad, "t: want each tensor once"},
      {"bytes_behind", OneTensor(sound, 65), kBad, "want at most"},
      {"no_data", GgufBytes{.tensors = {sound}}.Build(), kBad,
       "t: want 32 bytes of data"},
      {"empty_name", OneTensor(GgufTensor("", {8}, 0, 0)), kBad,
       "tensor 0: want printable"},
      {"name_with_escape", OneTensor(GgufTensor("a\x1b[2J", {8}, 0, 0)), kBad,
       "tensor 0: want printable"},
      {"alignment_0", OneTensor(sound, 32, aligned(0)), kBad,
       "general.alignment"},
      {"alignment_7", OneTensor(sound, 32, aligned(7)), kBad,
       "general.alignment"},
      {"alignment_24", OneTensor(sound, 32, aligned(24)), kBad,
       "general.alignment: want a power of two, found 24"},
      {"alignment_huge", OneTensor(sound, 32, aligned(1u << 31)), kBad,
       "general.alignment"},
      {"alignment_is_text",
       OneTensor(sound, 32, {GgufText("general.alignment", "32")}), kBad,
       "general.alignment"},
      {"tensor_cut_in_its_entry",
       GgufBytes{.tensors = {sound.substr(0, sound.size() - 3)}}.Build(), kBad,
       "t: offset"},
  };
}

class BrokenTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenTest, IsNamed) {
  const auto gguf = Parse(GetParam().bytes);
  ASSERT_FALSE(gguf.ok());
  EXPECT_EQ(gguf.status().code(), GetParam().code) << gguf.status();
  EXPECT_THAT(gguf.status().message(), HasSubstr(GetParam().message));
  EXPECT_THAT(gguf.status().message(), HasSubstr("x.gguf: "));
}

std::string NameOf(const ::testing::TestParamInfo<Broken>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(HeadersAndKeys, BrokenTest,
                         ::testing::ValuesIn(HeadersAndKeys()), NameOf);
INSTANTIATE_TEST_SUITE_P(Tensors, BrokenTest, ::testing::ValuesIn(Tensors()),
                         NameOf);

TEST(GgufTest, OtherAlignmentsThanTheDefault) {
  for (const uint32_t alignment : {8u, 64u, 4096u}) {
    const GgufBytes file = {.keys = {GgufInt("general.alignment", alignment)},
                            .tensors = {GgufTensor("t", {2}, 0, 0),
                                        GgufTensor("u", {2}, 0, alignment)},
                            .data = std::string(alignment + 8, 'x'),
                            .alignment = alignment};
    const auto gguf = Parse(file.Build());
    EXPECT_TRUE(gguf.ok()) << alignment << ": " << gguf.status();
  }
}

TEST(GgufTest, FindsTheFileThatAPathNames) {
  const testing::ScratchDirectory scratch;
  EXPECT_EQ(*FindGguf(scratch.path()), "");
  EXPECT_EQ(*FindGguf(scratch / "absent"), "");
  scratch.Write("a.gguf", "x");
  EXPECT_EQ(*FindGguf(scratch.path()), scratch / "a.gguf");
  EXPECT_EQ(*FindGguf(scratch / "a.gguf"), scratch / "a.gguf");
  scratch.Write("b.gguf", "x");
  EXPECT_THAT(FindGguf(scratch.path()).status().message(),
              HasSubstr("want one *.gguf file, found 2"));
  // Where there are both, the checkpoint is meant.
  scratch.Write("model.safetensors", "x");
  EXPECT_EQ(*FindGguf(scratch.path()), "");
  EXPECT_EQ(*FindGguf(scratch / "b.gguf"), scratch / "b.gguf");
}

}  // namespace
}  // namespace zqfp
