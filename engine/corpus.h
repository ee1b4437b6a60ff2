// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_CORPUS_H_
#define ZQFP_ENGINE_CORPUS_H_

// Reads the text that an evaluation runs on, whole or as documents.

#include <stdint.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/json_reader.h"

namespace zqfp {

// What an evaluation runs on.
struct Corpus {
  std::vector<std::string> texts;
  bool is_documents = false;  // else one running text
};

// The text of a file as it is; or, with a separator, one document for
// each part between separators, without white space at its ends and without
// the parts that are empty then. The separator is written with C escapes
// ("\n\n"). A file named *.jsonl has one JSON object with a string "text" in
// every line, each a document.
// Errors: NotFound; InvalidArgument for a bad escape, JSON line or empty text.
absl::StatusOr<Corpus> ReadCorpus(const std::string& path,
                                  const std::string& separator);

// How many words a text has to lm-eval: the parts that its regular expression
// \s+ (Unicode white space) splits it into, empty ones at the ends included.
int64_t CountWords(std::string_view text);

// Where the (Unicode) white space at the end of a text begins; its size where
// there is none.
size_t TrailingSpaceBegin(std::string_view text);

// Unicode code points.
int64_t CountCharacters(std::string_view text);

// Calls `read` with the JSON object of every line of a .jsonl text that is not
// blank. Errors name the line: "PATH:7: ...".
absl::Status ForEachJsonLine(
    std::string_view text, const std::string& path,
    const std::function<absl::Status(const JsonReader& line)>& read);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_CORPUS_H_
