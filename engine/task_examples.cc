// SPDX-License-Identifier: Apache-2.0
// The questions of a task, from a .jsonl file.
#include <fmt/format.h>

#include <algorithm>

#include "engine/corpus.h"
#include "engine/tasks.h"
#include "kernels/core/status_macros.h"
#include "models/mapped_file.h"

namespace zqfp {
namespace {

constexpr Task kTasks[] = {Task::kLambada, Task::kMultipleChoice};

absl::StatusOr<Example> ReadLambada(const JsonReader& line) {
  std::string text;
  ZQFP_RETURN_IF_ERROR(line.Require("text", &text));
  const size_t space = text.rfind(' ');
  const size_t word = space == std::string::npos ? 0 : space + 1;
  if (word == text.size()) {
    return line.Wrong("text", "a text that ends in a word");
  }
  return Example{.where = line.where(),
                 .context = text.substr(0, word == 0 ? 0 : space),
                 .choices = {text.substr(word)}};
}

absl::Status ReadChoices(const JsonReader& line,
                         std::vector<std::string>* choices) {
  const nlohmann::json* list = line.Find("choices");
  if (list == nullptr || !list->is_array() || list->size() < 2) {
    return line.Wrong("choices", "a list of 2 or more texts");
  }
  for (const nlohmann::json& choice : *list) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      return line.Wrong("choices", "texts that are not empty");
    }
    choices->push_back(choice.get<std::string>());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ReadAnswer(const JsonReader& line,
                                   const std::vector<std::string>& choices) {
  const nlohmann::json* answer = line.Find("answer");
  if (answer != nullptr && answer->is_string()) {
    const std::string& text = answer->get_ref<const std::string&>();
    if (std::count(choices.begin(), choices.end(), text) != 1) {
      return line.Wrong("answer", "the text of exactly one of the choices");
    }
    return std::find(choices.begin(), choices.end(), text) - choices.begin();
  }
  int64_t index = 0;
  ZQFP_RETURN_IF_ERROR(line.Require(
      "answer", {.min = 0, .max = static_cast<int64_t>(choices.size()) - 1},
      &index));
  return index;
}

absl::StatusOr<Example> ReadMultipleChoice(const JsonReader& line) {
  Example example = {.where = line.where()};
  if (line.Has("context") == line.Has("question")) {
    return line.Wrong("context", "either \"context\" or \"question\"");
  }
  ZQFP_RETURN_IF_ERROR(line.Require(
      line.Has("context") ? "context" : "question", &example.context));
  ZQFP_RETURN_IF_ERROR(ReadChoices(line, &example.choices));
  ZQFP_ASSIGN_OR_RETURN(example.answer, ReadAnswer(line, example.choices));
  return example;
}

}  // namespace

std::string_view ToString(Task task) {
  switch (task) {
    case Task::kLambada:
      return "lambada";
    case Task::kMultipleChoice:
      return "multiple-choice";
  }
  return "";
}

absl::StatusOr<Task> ParseTask(std::string_view name) {
  for (const Task task : kTasks) {
    if (name == ToString(task)) return task;
  }
  return absl::InvalidArgumentError(
      fmt::format("task: want lambada or multiple-choice, found '{}'", name));
}

absl::StatusOr<std::vector<Example>> ParseExamples(Task task,
                                                   std::string_view text,
                                                   const std::string& name) {
  std::vector<Example> examples;
  ZQFP_RETURN_IF_ERROR(
      ForEachJsonLine(text, name, [&](const JsonReader& line) -> absl::Status {
        ZQFP_ASSIGN_OR_RETURN(Example example, task == Task::kLambada
                                                   ? ReadLambada(line)
                                                   : ReadMultipleChoice(line));
        examples.push_back(std::move(example));
        return absl::OkStatus();
      }));
  return examples;
}

absl::StatusOr<std::vector<Example>> ReadExamples(Task task,
                                                  const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string_view text(
      reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  ZQFP_ASSIGN_OR_RETURN(std::vector<Example> examples,
                        ParseExamples(task, text, path));
  if (examples.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want one example or more, found none", path));
  }
  return examples;
}

}  // namespace zqfp
