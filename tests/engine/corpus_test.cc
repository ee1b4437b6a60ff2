// SPDX-License-Identifier: Apache-2.0
#include "engine/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace zqfp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file with this text, in the test's own folder.
std::string Write(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + "/zqfp_corpus_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(ReadCorpus, APlainTextIsTakenAsItIs) {
  const std::string text = "  one\n\n two \xc3\xa4 \n";
  const auto corpus = ReadCorpus(Write("plain.txt", text), "");
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_FALSE(corpus->is_documents);
  EXPECT_THAT(corpus->texts, ElementsAre(text));
}

TEST(ReadCorpus, SplitsAndTrimsDocuments) {
  const auto path = Write("split.txt", "\none <b\n<|end|>\n \n<|end|>two\n");
  const auto corpus = ReadCorpus(path, "<|end|>");
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_TRUE(corpus->is_documents);
  EXPECT_THAT(corpus->texts, ElementsAre("one <b", "two"));
}

TEST(ReadCorpus, SeparatorsHaveEscapes) {
  const auto corpus =
      ReadCorpus(Write("escape.txt", "a\nb\n\nc\n\nd"), "\\n\\n");
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_THAT(corpus->texts, ElementsAre("a\nb", "c", "d"));
  const auto bad = ReadCorpus(Write("escape.txt", "a"), "\\q");
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("separator"));
}

TEST(ReadCorpus, ReadsJsonLines) {
  const auto corpus = ReadCorpus(Write("ok.jsonl",
                                       "{\"text\": \"a\\nb\", \"url\": 1}\n\n"
                                       "{\"text\": \"\"}\r\n{\"text\": \"c\"}"),
                                 "");
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_TRUE(corpus->is_documents);
  EXPECT_THAT(corpus->texts, ElementsAre("a\nb", "c"));
}

TEST(ReadCorpus, NamesTheBadLine) {
  for (const std::string line :
       {"{\"text\": 5}", "[1]", "{\"text\"", "{}", "nonsense"}) {
    const auto bad =
        ReadCorpus(Write("bad.jsonl", "{\"text\": \"a\"}\n" + line), "");
    EXPECT_FALSE(bad.ok()) << line;
    EXPECT_THAT(std::string(bad.status().message()), HasSubstr("bad.jsonl:2"))
        << line;
  }
}

TEST(ReadCorpus, WantsSomeText) {
  for (const std::string name : {"empty.txt", "empty.jsonl"}) {
    EXPECT_EQ(ReadCorpus(Write(name, ""), "").status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(ReadCorpus(Write("blank.txt", " \n|\n"), "|").ok());
  EXPECT_EQ(ReadCorpus("/nonexistent/text", "").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(ReadCorpus(::testing::TempDir(), "").ok());
}

// The counts are Python's len(re.split(r"\s+", text)).
TEST(CountWords, AgreesWithPython) {
  EXPECT_EQ(CountWords(""), 1);
  EXPECT_EQ(CountWords("one"), 1);
  EXPECT_EQ(CountWords("one two"), 2);
  EXPECT_EQ(CountWords(" one \t\n two "), 4);
  EXPECT_EQ(CountWords("a\xc2\xa0"
                       "b\xe3\x80\x80"
                       "c\xe2\x80\x83"
                       "d\x1d"
                       "e"),
            5);
  EXPECT_EQ(CountWords("a\xe2\x80\x8b"
                       "b"),
            1)
      << "a zero width space is no white space";
  EXPECT_EQ(CountWords("a\xf0\x9f"), 1) << "a cut character";
  EXPECT_EQ(CountWords("\xff\xff \xff"), 2);
}

}  // namespace
}  // namespace zqfp
