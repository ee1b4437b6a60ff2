// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "kernels/core/status_macros.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_fields.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr size_t kMaxSteps = 64;

std::string EscapeRegex(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x80 && !isalnum(c) && c != ' ') {
      pattern += '\\';
    }
    pattern += c;
  }
  return pattern;
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const json& value) {
  PreTokenizer pre_tokenizer;
  if (value.is_null()) return pre_tokenizer;
  ZQFP_RETURN_IF_ERROR(pre_tokenizer.Add(value));
  return pre_tokenizer;
}

absl::StatusOr<PreTokenizer> PreTokenizer::ByteLevel(const std::string& regex) {
  PreTokenizer pre_tokenizer;
  ZQFP_RETURN_IF_ERROR(pre_tokenizer.AddRegex(regex, Behavior::kIsolated));
  ZQFP_RETURN_IF_ERROR(pre_tokenizer.Push({.kind = Kind::kBytes}));
  return pre_tokenizer;
}

absl::Status PreTokenizer::Push(Step step) {
  if (steps_.size() >= kMaxSteps) {
    return absl::InvalidArgumentError("pre_tokenizer: want at most 64 steps");
  }
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddRegex(const std::string& pattern,
                                    Behavior behavior) {
  ZQFP_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
  return Push({.regex = std::make_shared<Regex>(std::move(regex)),
               .behavior = behavior});
}

absl::StatusOr<PreTokenizer::Behavior> PreTokenizer::ParseBehavior(
    const json& value, const std::string& where) {
  ZQFP_ASSIGN_OR_RETURN(const std::string name,
                        StringField(value, "behavior", where));
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return absl::UnimplementedError(
      fmt::format("{}: behavior '{}' is not supported", where, name));
}

absl::Status PreTokenizer::AddSplit(const json& value) {
  const std::string where = "pre_tokenizer Split";
  ZQFP_RETURN_IF_ERROR(
      OnlyFields(value, {"type", "pattern", "behavior", "invert"}, where));
  Step step;
  ZQFP_ASSIGN_OR_RETURN(step.behavior, ParseBehavior(value, where));
  ZQFP_ASSIGN_OR_RETURN(step.invert, BoolField(value, "invert", false, where));
  const json pattern = value.value("pattern", json());
  std::string source;
  if (pattern.is_object() && pattern.contains("Regex")) {
    ZQFP_ASSIGN_OR_RETURN(source, StringField(pattern, "Regex", where));
  } else {
    ZQFP_ASSIGN_OR_RETURN(source, StringField(pattern, "String", where));
    source = EscapeRegex(source);
  }
  ZQFP_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(source));
  step.regex = std::make_shared<Regex>(std::move(regex));
  return Push(std::move(step));
}

absl::Status PreTokenizer::AddByteLevel(const json& value) {
  const std::string where = "pre_tokenizer ByteLevel";
  ZQFP_RETURN_IF_ERROR(OnlyFields(
      value, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, where));
  ZQFP_ASSIGN_OR_RETURN(const bool prefix,
                        BoolField(value, "add_prefix_space", true, where));
  ZQFP_ASSIGN_OR_RETURN(const bool regex,
                        BoolField(value, "use_regex", true, where));
  if (prefix) ZQFP_RETURN_IF_ERROR(Push({.kind = Kind::kPrefixSpace}));
  if (regex) ZQFP_RETURN_IF_ERROR(AddRegex(kGpt2Regex, Behavior::kIsolated));
  return Push({.kind = Kind::kBytes});
}

absl::Status PreTokenizer::AddMetaspace(const json& value) {
  const std::string where = "pre_tokenizer Metaspace";
  ZQFP_RETURN_IF_ERROR(OnlyFields(value,
                                  {"type", "replacement", "prepend_scheme",
                                   "split", "add_prefix_space", "str_rep"},
                                  where));
  Step step = {.kind = Kind::kMetaspace};
  ZQFP_ASSIGN_OR_RETURN(step.replacement,
                        CharacterField(value, "replacement", where));
  ZQFP_ASSIGN_OR_RETURN(step.split, BoolField(value, "split", true, where));
  ZQFP_ASSIGN_OR_RETURN(const bool prefix,
                        BoolField(value, "add_prefix_space", true, where));
  step.prepend = prefix ? Prepend::kAlways : Prepend::kNever;
  if (value.contains("prepend_scheme")) {
    ZQFP_ASSIGN_OR_RETURN(const std::string scheme,
                          StringField(value, "prepend_scheme", where));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return absl::UnimplementedError(fmt::format(
          "{}: prepend_scheme '{}' is not supported", where, scheme));
    }
    step.prepend = scheme == "always"  ? Prepend::kAlways
                   : scheme == "first" ? Prepend::kFirst
                                       : Prepend::kNever;
  }
  return Push(std::move(step));
}

absl::Status PreTokenizer::Add(const json& value) {
  ZQFP_ASSIGN_OR_RETURN(const std::string type,
                        TypeField(value, "pre_tokenizer"));
  const std::string where = "pre_tokenizer " + type;
  if (type == "Sequence") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type", "pretokenizers"}, where));
    const auto list = value.find("pretokenizers");
    if (list == value.end() || !list->is_array()) {
      return absl::InvalidArgumentError(where + ": want a list");
    }
    for (const json& item : *list) ZQFP_RETURN_IF_ERROR(Add(item));
    return absl::OkStatus();
  }
  if (type == "Split") return AddSplit(value);
  if (type == "ByteLevel") return AddByteLevel(value);
  if (type == "Metaspace") return AddMetaspace(value);
  if (type == "Digits") {
    ZQFP_RETURN_IF_ERROR(
        OnlyFields(value, {"type", "individual_digits"}, where));
    ZQFP_ASSIGN_OR_RETURN(const bool single,
                          BoolField(value, "individual_digits", false, where));
    return AddRegex(single ? R"(\p{N})" : R"(\p{N}+)", Behavior::kIsolated);
  }
  if (type == "Punctuation") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type", "behavior"}, where));
    Behavior behavior = Behavior::kIsolated;
    if (value.contains("behavior")) {
      ZQFP_ASSIGN_OR_RETURN(behavior, ParseBehavior(value, where));
    }
    return AddRegex(R"([\p{P}$+<=>^`|~])", behavior);
  }
  if (type == "Whitespace" || type == "WhitespaceSplit") {
    ZQFP_RETURN_IF_ERROR(OnlyFields(value, {"type"}, where));
    if (type == "WhitespaceSplit") return AddRegex(R"(\s)", Behavior::kRemoved);
    ZQFP_RETURN_IF_ERROR(AddRegex(R"(\w+|[^\w\s]+)", Behavior::kRemoved));
    steps_.back().invert = true;
    return absl::OkStatus();
  }
  return absl::UnimplementedError(where + ": not supported");
}

void PreTokenizer::Cut(const Step& step, const std::string& text,
                       std::vector<std::pair<size_t, size_t>> matches,
                       Words* words) {
  // Matches and what lies between them, in order.
  struct Part {
    size_t begin, end;
    bool match;
  };
  std::vector<Part> parts;
  size_t at = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > at) parts.push_back({at, begin, step.invert});
    parts.push_back({begin, end, !step.invert});
    at = end;
  }
  if (at < text.size()) parts.push_back({at, text.size(), step.invert});
  bool glue = false;  // the next part belongs to the word before
  bool last_was_match = false;
  for (const Part& part : parts) {
    const std::string word = text.substr(part.begin, part.end - part.begin);
    bool append = glue;
    glue = false;
    if (step.behavior == Behavior::kRemoved && part.match) continue;
    if (step.behavior == Behavior::kMergedWithPrevious) {
      append = part.match && !last_was_match && !words->empty();
    } else if (step.behavior == Behavior::kMergedWithNext) {
      glue = part.match;
      append = append && !part.match;
    } else if (step.behavior == Behavior::kContiguous) {
      append = last_was_match == part.match && &part != &parts.front();
    }
    last_was_match = part.match;
    if (append && !words->empty()) {
      words->back() += word;
    } else {
      words->push_back(word);
    }
  }
}

// Spaces become `replacement`; with `split`, a word begins at each.
void PreTokenizer::Mark(const Step& step, std::string text, bool is_first,
                        Words* words) {
  std::string marked;
  for (const char c : text) {
    if (c == ' ') {
      marked += step.replacement;
    } else {
      marked += c;
    }
  }
  const bool prepend = step.prepend == Prepend::kAlways ||
                       (step.prepend == Prepend::kFirst && is_first);
  if (prepend && marked.rfind(step.replacement, 0) != 0) {
    marked = step.replacement + marked;
  }
  if (!step.split) return words->push_back(std::move(marked));
  size_t begin = 0;
  while (begin < marked.size()) {
    size_t end = marked.find(step.replacement, begin + 1);
    end = std::min(end, marked.size());
    words->push_back(marked.substr(begin, end - begin));
    begin = end;
  }
}

absl::Status PreTokenizer::ApplyStep(const Step& step, std::string text,
                                     bool is_first, Words* words) {
  switch (step.kind) {
    case Kind::kSplit: {
      // An empty match, such as one of (?=x), cuts as well.
      ZQFP_ASSIGN_OR_RETURN(
          auto matches, step.regex->FindAll(text, Regex::EmptyMatches::kKept));
      Words own;  // Cut looks at the words of this text only
      Cut(step, text, std::move(matches), &own);
      std::copy_if(std::make_move_iterator(own.begin()),
                   std::make_move_iterator(own.end()),
                   std::back_inserter(*words),
                   [](const std::string& word) { return !word.empty(); });
      break;
    }
    case Kind::kBytes:
      words->push_back(BytesToVisible(text));
      break;
    case Kind::kPrefixSpace:
      words->push_back(!text.empty() && text[0] != ' ' ? " " + text : text);
      break;
    case Kind::kMetaspace:
      Mark(step, std::move(text), is_first, words);
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> PreTokenizer::Apply(
    std::string text, InputPlace place) const {
  Words words;
  if (!text.empty()) words.push_back(std::move(text));
  for (const Step& step : steps_) {
    Words next;
    for (size_t i = 0; i < words.size(); ++i) {
      const bool is_first = i == 0 && place == InputPlace::kStart;
      ZQFP_RETURN_IF_ERROR(
          ApplyStep(step, std::move(words[i]), is_first, &next));
    }
    words = std::move(next);
  }
  return words;
}

}  // namespace zqfp
