// SPDX-License-Identifier: Apache-2.0
#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SafetensorsFile;
using testing::ScratchDirectory;

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

absl::StatusOr<std::vector<Tensor>> Parse(const std::string& file) {
  return ParseSafetensors(Bytes(file), "model.safetensors");
}

// One entry of a header.
std::string Entry(const std::string& name, const std::string& dtype,
                  const std::string& shape, int64_t begin, int64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}

std::string Zeros(size_t count) { return std::string(count, '\0'); }

// A sound file of the tensor "t", 16 bytes of F32 [2, 2].
std::string SmallFile() {
  return SafetensorsFile("{" + Entry("t", "F32", "[2,2]", 0, 16) + "}",
                         Zeros(16));
}

TEST(SafetensorsTest, ReadsASoundFile) {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                             Entry("b", "U8", "[3]", 18, 21) + "," +
                             Entry("a", "F32", "[2,2]", 0, 16) + "," +
                             Entry("scalar", "BF16", "[]", 16, 18) + "}  ";
  const std::string file = SafetensorsFile(header, "0123456789abcdefghijk");
  const absl::StatusOr<std::vector<Tensor>> tensors = Parse(file);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 3u);
  const Tensor& first = (*tensors)[0];
  EXPECT_EQ(first.name, "a");
  EXPECT_EQ(first.dtype, DType::kF32);
  EXPECT_THAT(first.shape, ElementsAre(2, 2));
  EXPECT_EQ(first.num_bytes, 16);
  EXPECT_EQ(memcmp(first.data, "0123456789abcdef", 16), 0);
  EXPECT_EQ(Describe(first), "F32 [2, 2]");
  EXPECT_EQ((*tensors)[1].name, "scalar");
  EXPECT_TRUE((*tensors)[1].shape.empty());
  EXPECT_EQ((*tensors)[2].data[2], 'k');
}

TEST(SafetensorsTest, EveryDTypeHasItsNameAndSize) {
  const std::vector<std::pair<const char*, int>> dtypes = {
      {"F64", 8},     {"F32", 4},     {"F16", 2}, {"BF16", 2},
      {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4},
      {"I16", 2},     {"I8", 1},      {"U8", 1},  {"BOOL", 1}};
  for (const auto& [name, size] : dtypes) {
    const std::string file =
        SafetensorsFile("{" + Entry("t", name, "[3]", 0, 3 * size) + "}",
                        Zeros(static_cast<size_t>(3 * size)));
    const absl::StatusOr<std::vector<Tensor>> tensors = Parse(file);
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    EXPECT_EQ(ToString((*tensors)[0].dtype), name);
    EXPECT_EQ(ByteSize((*tensors)[0].dtype), size);
  }
}

struct Hostile {
  const char* kind;
  std::string file;
  const char* message;
};

// A header for 16 bytes of data.
Hostile WithHeader(const char* kind, const std::string& header,
                   const char* message) {
  return {kind, SafetensorsFile(header, Zeros(16)), message};
}

std::string Length(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(length >> (8 * i) & 0xff));
  }
  return bytes;
}

std::vector<Hostile> BrokenFrames() {
  const std::string small = SmallFile();
  return {
      {"empty", "", "want a safetensors file, found 0 bytes"},
      {"seven_bytes", Zeros(7), "want a safetensors file, found 7 bytes"},
      {"only_length", Length(0), "want a safetensors file, found 8 bytes"},
      {"zero_header", Length(0) + Zeros(8), "a header that starts with '{'"},
      {"huge_header", Length(uint64_t{1} << 40) + Zeros(8),
       "want a header of at most 100000000 bytes, found 1099511627776"},
      {"negative_header", std::string(8, '\xff') + Zeros(8),
       "found 18446744073709551615"},
      {"header_beyond_file", Length(5000) + "{}",
       "want a header of 5000 bytes, found 2 bytes left"},
      {"text_file", "#!/bin/sh -e and more", "want a header of at most"},
      {"space_first", SafetensorsFile(" {}", ""), "starts with '{'"},
      {"array_header", SafetensorsFile("[]", ""), "starts with '{'"},
      {"truncated_data", small.substr(0, small.size() - 1),
       "t: data_offsets: want an integer in 0..15, found 16"},
      {"trailing_data", small + "x",
       "want 16 bytes of data, as the header says, found 17"},
      {"truncated_header", small.substr(0, 30), "found 22 bytes left"},
      {"not_json", SafetensorsFile("{nonsense}", ""), "not valid JSON"},
      {"garbage_after", SafetensorsFile("{} {}", ""), "not valid JSON"},
      {"deep", SafetensorsFile("{\"a\":" + std::string(50000, '['), ""),
       "nested deeper than 64"},
      {"bad_utf8_name",
       SafetensorsFile("{" + Entry("t\xff", "F32", "[4]", 0, 16) + "}",
                       Zeros(16)),
       "not valid JSON"},
      {"surrogate_name",
       SafetensorsFile("{" + Entry("\\ud800", "F32", "[4]", 0, 16) + "}",
                       Zeros(16)),
       "not valid JSON"},
  };
}

std::vector<Hostile> BrokenEntries() {
  const std::string sound = Entry("t", "F32", "[4]", 0, 16);
  return {
      WithHeader("duplicate_name", "{" + sound + "," + sound + "}",
                 "duplicate key \"t\""),
      WithHeader("duplicate_dtype",
                 "{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[4],"
                 "\"data_offsets\":[0,16]}}",
                 "duplicate key \"dtype\""),
      WithHeader("metadata_not_map", "{\"__metadata__\":[]," + sound + "}",
                 "__metadata__: want a map of strings, found []"),
      WithHeader("metadata_number",
                 "{\"__metadata__\":{\"a\":1}," + sound + "}",
                 "__metadata__: want a map of strings"),
      WithHeader("entry_not_object", "{\"t\":5}",
                 "t: want an object with dtype, shape and data_offsets"),
      WithHeader("no_dtype", "{\"t\":{\"shape\":[4],\"data_offsets\":[0,16]}}",
                 "t: dtype: want a string, found nothing"),
      WithHeader("no_shape",
                 "{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}",
                 "t: shape: want a list of dimensions, found nothing"),
      WithHeader("no_offsets", "{\"t\":{\"dtype\":\"F32\",\"shape\":[4]}}",
                 "t: data_offsets: want [begin, end], found nothing"),
      WithHeader("extra_key",
                 "{\"t\":{\"dtype\":\"F32\",\"shape\":[4],"
                 "\"data_offsets\":[0,16],\"stride\":1}}",
                 "t: unknown key \"stride\""),
      WithHeader("unknown_dtype", "{" + Entry("t", "F4", "[4]", 0, 16) + "}",
                 "t: dtype: want one of F64, F32"),
      WithHeader("dtype_number",
                 "{\"t\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}",
                 "t: dtype: want a string, found 4"),
      WithHeader("zero_dim", "{" + Entry("t", "F32", "[4,0]", 0, 0) + "}",
                 "t: a dimension of shape: want an integer in 1.."),
      WithHeader("negative_dim", "{" + Entry("t", "F32", "[-4]", 0, 16) + "}",
                 "found -4"),
      WithHeader("float_dim", "{" + Entry("t", "F32", "[4.0]", 0, 16) + "}",
                 "found 4.0"),
      WithHeader("string_dim", "{" + Entry("t", "F32", "[\"4\"]", 0, 16) + "}",
                 "found \"4\""),
      WithHeader("huge_dim",
                 "{" + Entry("t", "F32", "[18446744073709551615]", 0, 16) + "}",
                 "found 18446744073709551615"),
      WithHeader(
          "overflowing_shape",
          "{" + Entry("t", "F32", "[4294967296,4294967296]", 0, 16) + "}",
          "t: shape: want a size that fits in 63 bits"),
      WithHeader("wrapping_shape",
                 "{" + Entry("t", "F32", "[2305843009213693952,8]", 0, 0) + "}",
                 "t: shape: want a size that fits in 63 bits"),
      WithHeader(
          "many_dims",
          "{" +
              Entry("t", "F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]", 0, 16) +
              "}",
          "t: shape: want at most 16 dimensions"),
      WithHeader("shape_not_list", "{" + Entry("t", "F32", "4", 0, 16) + "}",
                 "t: shape: want a list of dimensions, found 4"),
      WithHeader("too_few_bytes", "{" + Entry("t", "F32", "[4]", 0, 12) + "}",
                 "t: want 16 bytes for F32 [4], found 12"),
      WithHeader("too_many_bytes", "{" + Entry("t", "F16", "[4]", 0, 16) + "}",
                 "t: want 8 bytes for F16 [4], found 16"),
      WithHeader("end_before_begin", "{" + Entry("t", "F32", "[1]", 8, 4) + "}",
                 "t: data_offsets: want an integer in 8..16, found 4"),
      WithHeader("offset_beyond", "{" + Entry("t", "F32", "[4]", 16, 32) + "}",
                 "want an integer in 16..16, found 32"),
      WithHeader("negative_offset",
                 "{" + Entry("t", "F32", "[4]", -16, 0) + "}", "found -16"),
      WithHeader("huge_offset",
                 "{\"t\":{\"dtype\":\"F32\",\"shape\":[4],"
                 "\"data_offsets\":[0,36893488147419103248]}}",
                 "t: data_offsets: want an integer in 0..16"),
      WithHeader("three_offsets",
                 "{\"t\":{\"dtype\":\"F32\",\"shape\":[4],"
                 "\"data_offsets\":[0,8,16]}}",
                 "t: data_offsets: want [begin, end]"),
      WithHeader("overlap",
                 "{" + Entry("a", "F32", "[3]", 0, 12) + "," +
                     Entry("b", "F32", "[2]", 8, 16) + "}",
                 "b: want data at offset 12, found 8: tensors overlap"),
      WithHeader("same_place",
                 "{" + Entry("a", "F32", "[4]", 0, 16) + "," +
                     Entry("b", "F32", "[4]", 0, 16) + "}",
                 "found 0: tensors overlap"),
      WithHeader("hole",
                 "{" + Entry("a", "F32", "[1]", 0, 4) + "," +
                     Entry("b", "F32", "[2]", 8, 16) + "}",
                 "b: want data at offset 4, found 8: a hole before it"),
      WithHeader("hole_at_start", "{" + Entry("t", "F32", "[3]", 4, 16) + "}",
                 "t: want data at offset 0, found 4: a hole before it"),
      WithHeader("nothing_indexed", "{}",
                 "want 0 bytes of data, as the header says, found 16"),
      WithHeader("misaligned",
                 "{" + Entry("a", "U8", "[4]", 12, 16) + "," +
                     Entry("b", "U8", "[1]", 0, 1) + "," +
                     Entry("c", "F32", "[2]", 1, 9) + "," +
                     Entry("d", "U8", "[3]", 9, 12) + "}",
                 "c: want data aligned to 4 bytes"),
  };
}

std::vector<Hostile> AllHostile() {
  std::vector<Hostile> all = BrokenFrames();
  const std::vector<Hostile> entries = BrokenEntries();
  all.insert(all.end(), entries.begin(), entries.end());
  return all;
}

class HostileTest : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileTest, IsOneClearError) {
  const absl::StatusOr<std::vector<Tensor>> tensors = Parse(GetParam().file);
  ASSERT_FALSE(tensors.ok());
  EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(tensors.status().message());
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("model.safetensors: "));
  EXPECT_LT(message.size(), 400u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, HostileTest, ::testing::ValuesIn(AllHostile()),
                         [](const auto& info) { return info.param.kind; });

TEST(SafetensorsTest, HeaderOffOneByteMisalignsTheData) {
  const std::string header = "{" + Entry("t", "F32", "[4]", 0, 16) + "}";
  const std::string odd = Length(header.size() | 1) + header +
                          (header.size() % 2 ? "" : " ") + Zeros(16);
  const absl::StatusOr<std::vector<Tensor>> tensors = Parse(odd);
  ASSERT_FALSE(tensors.ok());
  EXPECT_THAT(std::string(tensors.status().message()),
              HasSubstr("want data aligned to 4 bytes, found it at byte"));
}

// Every truncation and every single changed byte of the header gives an answer,
// not a crash (the sanitizer builds see any stray read).
TEST(SafetensorsTest, SurvivesEveryTruncationAndFlip) {
  const std::string file = SmallFile();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(Parse(file.substr(0, size)).ok()) << size;
  }
  for (size_t i = 0; i < file.size() - 16; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = file;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      const absl::StatusOr<std::vector<Tensor>> tensors = Parse(changed);
      if (!tensors.ok()) continue;
      for (const Tensor& tensor : *tensors) EXPECT_EQ(tensor.num_bytes, 16);
    }
  }
}

std::string OneTensor(const std::string& name) {
  return SafetensorsFile("{" + Entry(name, "F32", "[4]", 0, 16) + "}",
                         Zeros(16));
}

std::string Index(const std::string& weight_map) {
  return "{\"metadata\":{\"total_size\":32},\"weight_map\":{" + weight_map +
         "}}";
}

TEST(CheckpointTest, OpensShards) {
  const ScratchDirectory directory;
  directory.Write("one.safetensors", OneTensor("a"));
  directory.Write("two.safetensors", OneTensor("b"));
  directory.Write("model.safetensors.index.json",
                  Index("\"a\":\"one.safetensors\",\"b\":\"two.safetensors\""));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->total_bytes(), 32);
  ASSERT_NE(checkpoint->Find("b"), nullptr);
  EXPECT_EQ(checkpoint->Find("b")->file, "two.safetensors");
  // The mapping moves along with the Checkpoint.
  const Checkpoint moved = *std::move(checkpoint);
  EXPECT_EQ(moved.Find("a")->data[15], 0);
  EXPECT_EQ(moved.Find("c"), nullptr);
  EXPECT_THAT(std::string(moved.Get("c").status().message()),
              HasSubstr("want tensor c, found no such name among 2"));
}

TEST(CheckpointTest, FollowsLinksAndOnlyFiles) {
  const ScratchDirectory directory;
  directory.Write("blob", OneTensor("a"));
  std::filesystem::create_symlink("blob", directory / "odd.safetensors");
  const absl::StatusOr<Checkpoint> checkpoint =
      Checkpoint::Open(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_NE(checkpoint->Find("a"), nullptr);
}

struct BadIndex {
  const char* text;
  const char* message;
};

TEST(CheckpointTest, RefusesBadIndexes) {
  const BadIndex cases[] = {
      {"\"a\":\"../one.safetensors\"", "a: want the name of a file in"},
      {"\"a\":\"/etc/passwd\"", "want the name of a file in the model's"},
      {"\"a\":\"sub/one.safetensors\"", "want the name of a file"},
      {"\"a\":\"sub\\\\one.safetensors\"", "want the name of a file"},
      {"\"a\":\"..\"", "want the name of a file"},
      {"\"a\":\"\"", "want the name of a file"},
      {"\"a\":\"one.safetensors\\u0000x\"", "want the name of a file"},
      {"\"a\":7", "want the name of a file in the model's directory, found 7"},
      {"", "weight_map: *: want at least one tensor"},
      {"\"a\":\"three.safetensors\"", "three.safetensors: cannot open"},
      {"\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"",
       "duplicate key \"a\""},
      {"\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"",
       "b: want it in one.safetensors, found it nowhere"},
      {"\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"",
       "a: want it in two.safetensors, found it in one.safetensors"},
      {"\"a\":\"one.safetensors\",\"b\":\"two.safetensors\","
       "\"c\":\"two.safetensors\"",
       "c: want it in two.safetensors, found it nowhere"},
      {"\"a\":\"one.safetensors\",\"x\":\"more.safetensors\"",
       "more.safetensors: y: want it in the index too"},
      {"\"a\":\"one.safetensors\",\"b\":\"again.safetensors\"",
       "a: want it in one shard, found it in again.safetensors too"},
      {"\"b\":\"pipe\"", "pipe: want a regular file, found a special file"},
      {"\"b\":\"folder\"", "folder: want a regular file, found a directory"},
  };
  const ScratchDirectory directory;
  directory.Write("one.safetensors", OneTensor("a"));
  directory.Write("two.safetensors", OneTensor("b"));
  directory.Write("again.safetensors", OneTensor("a"));
  directory.Write("more.safetensors",
                  SafetensorsFile("{" + Entry("x", "F32", "[2]", 0, 8) + "," +
                                      Entry("y", "F32", "[2]", 8, 16) + "}",
                                  Zeros(16)));
  ASSERT_EQ(mkfifo((directory / "pipe").c_str(), 0600), 0);
  std::filesystem::create_directory(directory / "folder");
  for (const BadIndex& bad : cases) {
    directory.Write("model.safetensors.index.json", Index(bad.text));
    const absl::StatusOr<Checkpoint> checkpoint =
        Checkpoint::Open(directory.path());
    ASSERT_FALSE(checkpoint.ok()) << bad.text;
    EXPECT_THAT(std::string(checkpoint.status().message()),
                HasSubstr(bad.message));
  }
  for (const char* text : {"[]", "{}", "{\"weight_map\":[]}", "{"}) {
    directory.Write("model.safetensors.index.json", text);
    EXPECT_FALSE(Checkpoint::Open(directory.path()).ok()) << text;
  }
}

TEST(CheckpointTest, SaysWhatIsMissing) {
  const ScratchDirectory directory;
  const auto message = [&] {
    return std::string(Checkpoint::Open(directory.path()).status().message());
  };
  EXPECT_THAT(message(), HasSubstr("want model.safetensors"));
  directory.Write("pytorch_model.bin", "x");
  EXPECT_THAT(message(), HasSubstr("convert them to safetensors first"));
  directory.Write("a.safetensors", OneTensor("a"));
  directory.Write("b.safetensors", OneTensor("b"));
  EXPECT_THAT(message(), HasSubstr("found 2 of the latter"));
  EXPECT_EQ(Checkpoint::Open("no/such/place").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(CheckpointTest, RealCheckpoint) {
  const std::string directory = testing::AssetPath("models/stories-260k");
  if (directory.empty()) GTEST_SKIP() << "NOT RUN: no shared assets";
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const Tensor* tensor =
      checkpoint->Find("model.layers.4.mlp.down_proj.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(Describe(*tensor), "F32 [64, 172]");
}

}  // namespace
}  // namespace zqfp
