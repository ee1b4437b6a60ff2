// SPDX-License-Identifier: Apache-2.0
#include "engine/corpus.h"

#include <fmt/format.h>

#include "absl/strings/escaping.h"
#include "kernels/core/status_macros.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1);
}

std::vector<std::string> Split(std::string_view text,
                               std::string_view separator) {
  std::vector<std::string> documents;
  while (true) {
    const size_t end = text.find(separator);
    const std::string_view part = Trim(text.substr(0, end));
    if (!part.empty()) documents.emplace_back(part);
    if (end == std::string_view::npos) return documents;
    text.remove_prefix(end + separator.size());
  }
}

absl::StatusOr<std::vector<std::string>> ReadLines(std::string_view text,
                                                   const std::string& path) {
  std::vector<std::string> documents;
  ZQFP_RETURN_IF_ERROR(ForEachJsonLine(text, path, [&](const JsonReader& line) {
    std::string document;
    ZQFP_RETURN_IF_ERROR(line.Require("text", &document));
    if (!document.empty()) documents.push_back(std::move(document));
    return absl::OkStatus();
  }));
  return documents;
}

// White space as Python's str sees it.
bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 ||
         c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// The code point at the front of `text`, which is taken off. A byte that is
// not part of UTF-8 is taken alone.
uint32_t TakeCodePoint(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint32_t first = byte(0);
  const size_t size = first < 0xc0   ? 1
                      : first < 0xe0 ? 2
                      : first < 0xf0 ? 3
                                     : 4;
  uint32_t code = size == 1 ? first : first & (0x7fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i >= text.size() || (byte(i) & 0xc0u) != 0x80u) {
      text.remove_prefix(1);
      return 0xfffd;
    }
    code = code << 6 | (byte(i) & 0x3fu);
  }
  text.remove_prefix(size);
  return size == 1 && first >= 0x80 ? 0xfffd : code;
}

}  // namespace

absl::Status ForEachJsonLine(
    std::string_view text, const std::string& path,
    const std::function<absl::Status(const JsonReader& line)>& read) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    const std::string name = fmt::format("{}:{}", path, number);
    ZQFP_ASSIGN_OR_RETURN(
        const nlohmann::json object,
        ParseJson(line.data(), line.data() + line.size(), name));
    if (!object.is_object()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: want one JSON object, found {}", name, Excerpt(object)));
    }
    ZQFP_RETURN_IF_ERROR(read(JsonReader(object, name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Corpus> ReadCorpus(const std::string& path,
                                  const std::string& separator) {
  std::string unescaped, error;
  if (!absl::CUnescape(separator, &unescaped, &error)) {
    return absl::InvalidArgumentError(
        fmt::format("separator: want C escapes, found {}", error));
  }
  ZQFP_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string_view text(
      reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  Corpus corpus;
  if (path.ends_with(".jsonl")) {
    corpus.is_documents = true;
    ZQFP_ASSIGN_OR_RETURN(corpus.texts, ReadLines(text, path));
  } else if (!unescaped.empty()) {
    corpus.is_documents = true;
    corpus.texts = Split(text, unescaped);
  } else if (!text.empty()) {
    corpus.texts.emplace_back(text);
  }
  if (corpus.texts.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want some text, found none", path));
  }
  return corpus;
}

int64_t CountWords(std::string_view text) {
  int64_t words = 1;
  bool in_space = false;
  while (!text.empty()) {
    const bool space = IsSpace(TakeCodePoint(text));
    if (space && !in_space) ++words;
    in_space = space;
  }
  return words;
}

size_t TrailingSpaceBegin(std::string_view text) {
  size_t begin = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const bool space = IsSpace(TakeCodePoint(rest));
    if (!space) begin = text.size() - rest.size();
  }
  return begin;
}

int64_t CountCharacters(std::string_view text) {
  int64_t count = 0;
  for (; !text.empty(); ++count) TakeCodePoint(text);
  return count;
}

}  // namespace zqfp
