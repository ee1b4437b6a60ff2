// SPDX-License-Identifier: Apache-2.0
// Any bytes as the questions of a task: either an error that names the line, or
// examples within what the runner relies on.

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>

#include "engine/corpus.h"
#include "engine/tasks.h"
#include "kernels/core/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ZQFP_CHECK(zqfp::TrailingSpaceBegin(text) <= size);
  ZQFP_CHECK(zqfp::CountCharacters(text) <= static_cast<int64_t>(size));
  for (const zqfp::Task task :
       {zqfp::Task::kLambada, zqfp::Task::kMultipleChoice}) {
    const auto examples = zqfp::ParseExamples(task, text, "f.jsonl");
    if (!examples.ok()) {
      ZQFP_CHECK(
          std::string(examples.status().message()).starts_with("f.jsonl:"));
      continue;
    }
    for (const zqfp::Example& example : *examples) {
      ZQFP_CHECK(!example.choices.empty() && example.answer >= 0);
      ZQFP_CHECK(example.answer < static_cast<int64_t>(example.choices.size()));
      for (const std::string& choice : example.choices) {
        ZQFP_CHECK(!choice.empty() && zqfp::CountCharacters(choice) > 0);
      }
    }
  }
  return 0;
}
