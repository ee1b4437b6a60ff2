// SPDX-License-Identifier: Apache-2.0
#include "models/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Pair;
using testing::SafetensorsFile;
using testing::ScratchDirectory;
using testing::SourcePath;

// Two tensors, a config and a tokenizer.
void WriteModel(const ScratchDirectory& directory, const std::string& data) {
  directory.Write(
      "model.safetensors",
      SafetensorsFile(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                      R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                      data));
  directory.Write("config.json", "{}");
  directory.Write("tokenizer.json", "[1]");
}

// As it is written, with the fingerprint of what is there.
void Certify(const ScratchDirectory& directory) {
  auto fingerprint = TakeFingerprint(directory.path());
  ASSERT_TRUE(fingerprint.ok()) << fingerprint.status();
  directory.Write(kCertificateName,
                  ToText({{{"loss", 0.5}}, *std::move(fingerprint)}));
}

TEST(CertificateTest, HashesAreThoseOfXxhash) {
  const ScratchDirectory directory;
  WriteModel(directory, "abcdefgh");
  const auto fingerprint = TakeFingerprint(directory.path());
  ASSERT_TRUE(fingerprint.ok()) << fingerprint.status();
  // xxhsum -H2 of "abcd" and of "efgh".
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits("abcd", 4));
  std::string digits;
  for (const unsigned char byte : canonical.digest) {
    char two[3];
    snprintf(two, sizeof(two), "%02x", byte);
    digits += two;
  }
  EXPECT_EQ(fingerprint->tensors.at("a"), "U8 [4] " + digits);
  EXPECT_NE(fingerprint->tensors.at("b"), fingerprint->tensors.at("a"));
  EXPECT_THAT(fingerprint->files,
              ElementsAre(Key("config.json"), Key("tokenizer.json")));
}

TEST(CertificateTest, ComesBackAsItWasWritten) {
  const ScratchDirectory directory;
  WriteModel(directory, "abcdefgh");
  Certify(directory);
  const auto read = ReadCertificate(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->measurement, nlohmann::ordered_json({{"loss", 0.5}}));
  EXPECT_EQ(read->fingerprint.tensors.size(), 2u);
  EXPECT_TRUE(VerifyCertificate(directory.path()).ok());
}

TEST(CertificateTest, EveryChangeIsNamed) {
  const struct {
    const char* what;
    std::function<void(const ScratchDirectory&)> change;
    std::vector<const char*> messages;
  } cases[] = {
      {"a byte of a tensor",
       [](const ScratchDirectory& d) { WriteModel(d, "abcdefgX"); },
       {"b: want U8 [4] ", "found U8 [4] "}},
      {"two tensors",
       [](const ScratchDirectory& d) { WriteModel(d, "XbcdefgX"); },
       {"a: want", "(and 1 more differ)"}},
      {"the config",
       [](const ScratchDirectory& d) { d.Write("config.json", "{ }"); },
       {"config.json: want "}},
      {"a file more",
       [](const ScratchDirectory& d) { d.Write("chat_template.jinja", "x"); },
       {"chat_template.jinja: want nothing, found "}},
      {"a file less",
       [](const ScratchDirectory& d) {
         std::filesystem::remove(d / "tokenizer.json");
       },
       {"tokenizer.json: want ", "found nothing"}},
      {"the same bytes in another shape",
       [](const ScratchDirectory& d) {
         d.Write("model.safetensors",
                 SafetensorsFile(
                     R"({"a":{"dtype":"U8","shape":[2,2],)"
                     R"("data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],)"
                     R"("data_offsets":[4,8]}})",
                     "abcdefgh"));
       },
       {"a: want U8 [4] ", "found U8 [2, 2]"}},
      {"a tensor more",
       [](const ScratchDirectory& d) {
         d.Write("model.safetensors",
                 SafetensorsFile(
                     R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                     R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},)"
                     R"("c":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})",
                     "abcdefghi"));
       },
       {"c: want nothing, found U8 [1]"}}};
  for (const auto& test : cases) {
    const ScratchDirectory directory;
    WriteModel(directory, "abcdefgh");
    Certify(directory);
    test.change(directory);
    const absl::Status status = VerifyCertificate(directory.path());
    EXPECT_TRUE(absl::IsDataLoss(status)) << test.what << ": " << status;
    for (const char* message : test.messages) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(message))
          << test.what;
    }
  }
}

TEST(CertificateTest, WhatIsNotReadMayChange) {
  const ScratchDirectory directory;
  WriteModel(directory, "abcdefgh");
  Certify(directory);
  directory.Write("README.md", "a card");
  directory.Write("LICENSE", "a licence");
  directory.Write(".hidden.json", "{}");
  EXPECT_TRUE(VerifyCertificate(directory.path()).ok());
}

TEST(CertificateTest, ModelTextsByName) {
  for (const char* name : {"config.json", "tokenizer.json", "merges.txt",
                           "tokenizer.model", "a.tiktoken", "b.jinja"}) {
    EXPECT_TRUE(IsModelText(name)) << name;
  }
  for (const char* name :
       {"certificate.json", "model.safetensors.index.json", "README.md",
        "model.safetensors", ".x.json", "notes.txt", ""}) {
    EXPECT_FALSE(IsModelText(name)) << name;
  }
}

TEST(CertificateTest, NoCertificateIsAnError) {
  const ScratchDirectory directory;
  WriteModel(directory, "abcdefgh");
  EXPECT_TRUE(absl::IsNotFound(ReadCertificate(directory.path()).status()));
  const absl::Status status = VerifyCertificate(directory.path());
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("want a certificate.json"), HasSubstr("none")));
}

TEST(CertificateTest, OtherShapesAreRefused) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"", "certificate.json"},
      {"[]", "want an object, found []"},
      {"{}", "zqfp_certificate"},
      {R"({"zqfp_certificate":2})", "zqfp_certificate: want"},
      {R"({"zqfp_certificate":1,"x":1})", "x"},
      {R"({"zqfp_certificate":1})", "measurement"},
      {R"({"zqfp_certificate":1,"measurement":[]})", "measurement: want"},
      {R"({"zqfp_certificate":1,"measurement":{}})", "files"},
      {R"({"zqfp_certificate":1,"measurement":{},"files":{}})", "tensors"},
      {R"({"zqfp_certificate":1,"measurement":{},"files":{},"tensors":{"a":1}})",
       "tensors: a: want a hash, found 1"}};
  for (const auto& test : cases) {
    const ScratchDirectory directory;
    WriteModel(directory, "abcdefgh");
    directory.Write(kCertificateName, test.text);
    const absl::Status status = VerifyCertificate(directory.path());
    EXPECT_TRUE(absl::IsInvalidArgument(status) ||
                absl::IsUnimplemented(status))
        << test.text << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.message));
  }
}

TEST(CertificateTest, AnEmptyCertificateCoversNothing) {
  const ScratchDirectory directory;
  WriteModel(directory, "abcdefgh");
  directory.Write(kCertificateName, ToText({}));
  EXPECT_FALSE(VerifyCertificate(directory.path()).ok());
}

TEST(CertificateTest, AGgufFileIsRefusedByName) {
  const std::string file = SourcePath("tests/golden/gguf/llama_f16.gguf");
  EXPECT_THAT(std::string(TakeFingerprint(file).status().message()),
              HasSubstr("found a GGUF file"));
}

}  // namespace
}  // namespace zqfp
