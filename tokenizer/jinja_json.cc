// SPDX-License-Identifier: Apache-2.0
// JSON both ways: json.dumps as Python writes it, and a checked reader.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

// Python escapes control characters, quotes and backslashes only, unless
// ensure_ascii asks for more.
std::string JsonString(std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t escape =
        c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (escape != kEscaped.npos) {
      out.push_back('\\');
      out.push_back(kLetters[escape]);
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
      out.append(fmt::format("\\u{:04x}", static_cast<uint32_t>(c)));
    } else if (ensure_ascii && c >= 0x10000) {
      const uint32_t offset = static_cast<uint32_t>(c) - 0x10000;
      out.append(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10),
                             0xDC00 + (offset & 0x3FF)));
    } else {
      AppendUtf8(c, &out);
    }
  }
  out.push_back('"');
  return out;
}

// JSON has no name for these; json.dumps writes JavaScript's.
std::string JsonFloat(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return FormatFloat(number);
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style)
      : budget_(budget),
        style_(style),
        item_separator_(style.item_separator.value_or(
            style.indent.has_value() ? "," : ", ")) {}

  // One value at a level of indentation. The kinds that JSON lacks are errors,
  // as in Python: undefined, ranges, views, iterators.
  absl::Status Write(const Value& value, int level) {
    if (!budget_.Step()) return budget_.status();
    switch (value.kind) {
      case Kind::kNone:
        Append("null");
        return budget_.status();
      case Kind::kBool:
        Append(value.boolean ? "true" : "false");
        return budget_.status();
      case Kind::kInt:
        Append(fmt::format("{}", value.integer));
        return budget_.status();
      case Kind::kFloat:
        Append(JsonFloat(value.number));
        return budget_.status();
      case Kind::kString:
        Append(JsonString(value.text(), style_.ensure_ascii));
        return budget_.status();
      case Kind::kList:
      case Kind::kTuple:
        return WriteList(value.items(), level);
      case Kind::kDict:
        return WriteDict(AsDict(value), level);
      default:
        return Error("Object of type {} is not JSON serializable",
                     TypeName(value));
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  void Append(std::string_view text) {
    if (budget_.Bytes(static_cast<int64_t>(text.size()))) out_.append(text);
  }

  // Does nothing where all goes on one line.
  void NewLine(int level) {
    if (!style_.indent.has_value()) return;
    Append("\n");
    for (int i = 0; i < level; ++i) Append(*style_.indent);
  }

  // Empty ones stay on one line, [], also with an indent.
  absl::Status WriteList(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      Append("[]");
      return budget_.status();
    }
    Append("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) Append(item_separator_);
      NewLine(level + 1);
      ZQFP_RETURN_IF_ERROR(Write(items[i], level + 1));
    }
    NewLine(level);
    Append("]");
    return budget_.status();
  }

  // Keys become strings; Python converts just these types.
  absl::Status Key(const Value& key, std::string* out) {
    switch (key.kind) {
      case Kind::kString:
        *out = key.text();
        return absl::OkStatus();
      case Kind::kNone:
        *out = "null";
        return absl::OkStatus();
      case Kind::kBool:
        *out = key.boolean ? "true" : "false";
        return absl::OkStatus();
      case Kind::kInt:
        *out = fmt::format("{}", key.integer);
        return absl::OkStatus();
      case Kind::kFloat:
        *out = JsonFloat(key.number);
        return absl::OkStatus();
      default:
        return Error("keys must be str, int, float, bool or None, not {}",
                     TypeName(key));
    }
  }

  // Keys without an order are the error that comparing two of them is.
  absl::Status SortByKey(std::vector<const std::pair<Value, Value>*>& entries) {
    absl::Status status;
    std::stable_sort(entries.begin(), entries.end(),
                     [&](const auto* a, const auto* b) {
                       if (!status.ok()) return false;
                       const absl::StatusOr<bool> less =
                           Less(budget_, a->first, b->first, "<");
                       if (!less.ok()) status = less.status();
                       return less.value_or(false);
                     });
    return status;
  }

  // sort_keys sorts the keys as they are, before they become strings.
  absl::Status WriteDict(const Dict& dict, int level) {
    if (dict.entries.empty()) {
      Append("{}");
      return budget_.status();
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) {
      if (!budget_.Step() || !budget_.Bytes(sizeof(void*))) break;
      entries.push_back(&entry);
    }
    if (style_.sort_keys) ZQFP_RETURN_IF_ERROR(SortByKey(entries));
    Append("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) Append(item_separator_);
      NewLine(level + 1);
      std::string name;
      ZQFP_RETURN_IF_ERROR(Key(entries[i]->first, &name));
      Append(JsonString(name, style_.ensure_ascii));
      Append(style_.key_separator);
      ZQFP_RETURN_IF_ERROR(Write(entries[i]->second, level + 1));
    }
    NewLine(level);
    Append("}");
    return budget_.status();
  }

  Budget& budget_;
  const JsonStyle& style_;
  const std::string item_separator_;
  std::string out_;
};

// Receives nlohmann's events and builds values bottom-up on an explicit
// stack, so that the depth of the file is checked before it costs anything.
class ValueSax {
 public:
  explicit ValueSax(Budget& budget) : budget_(budget) {}

  bool null() { return Add(None()); }
  bool boolean(bool value) { return Add(Bool(value)); }
  bool number_integer(int64_t value) { return Add(Int(value)); }
  // nlohmann calls this for what is positive.
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) {
      return Fail(fmt::format("the integer {} exceeds 64 bits", value));
    }
    return Add(Int(static_cast<int64_t>(value)));
  }
  bool number_float(double value, const std::string& digits) {
    // nlohmann turns integers beyond 64 bits into floats; Python would not.
    if (digits.find_first_of(".eE") == std::string::npos) {
      return Fail(fmt::format("the integer {} exceeds 64 bits", digits));
    }
    return Add(Float(value));
  }
  bool string(std::string& value) {
    return Add(MakeString(budget_, std::move(value)));
  }
  bool binary(std::vector<uint8_t>&) { return Fail("binary data"); }
  bool start_object(size_t) { return Open(true); }
  bool start_array(size_t) { return Open(false); }
  // The value that follows is added under it.
  bool key(std::string& key) {
    stack_.back().key = std::move(key);
    return true;
  }
  // A container is a value of the container around it.
  bool end_object() {
    Value value = stack_.back().dict.Build();
    stack_.pop_back();
    return Add(std::move(value));
  }
  bool end_array() {
    Value value =
        MakeSequence(budget_, Kind::kList, std::move(stack_.back().items));
    stack_.pop_back();
    return Add(std::move(value));
  }
  // Called once, at the first byte that cannot be.
  template <typename Exception>
  bool parse_error(size_t position, const std::string&, const Exception&) {
    return Fail(fmt::format("not valid JSON at byte {}", position));
  }

  const std::string& problem() const { return problem_; }
  Value Take() { return std::move(root_); }

 private:
  struct Level {
    bool is_object;
    std::string key;
    std::vector<Value> items;
    DictBuilder dict;
  };

  // The first problem is the one to report; false ends the parse.
  bool Fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }

  // Two levels are left for the message and the list the value goes into.
  bool Open(bool is_object) {
    if (stack_.size() + 2 > kMaxValueDepth) {
      return Fail(fmt::format("nested deeper than {}", kMaxValueDepth - 2));
    }
    stack_.push_back({is_object, {}, {}, DictBuilder(budget_)});
    return true;
  }

  // A value is complete: it belongs to the innermost open container.
  bool Add(Value value) {
    if (!budget_.ok()) return Fail(std::string(budget_.status().message()));
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_object) {
      stack_.back().dict.Set(stack_.back().key, std::move(value));
    } else {
      stack_.back().items.push_back(std::move(value));
    }
    return true;
  }

  Budget& budget_;
  std::vector<Level> stack_;
  Value root_;
  std::string problem_;
};

}  // namespace

absl::StatusOr<std::string> ToJson(Budget& budget, const Value& value,
                                   const JsonStyle& style) {
  JsonWriter writer(budget, style);
  ZQFP_RETURN_IF_ERROR(writer.Write(value, 0));
  return writer.Take();
}

absl::StatusOr<Value> FromJson(Budget& budget, const std::string& json,
                               std::string_view subject) {
  ValueSax sax(budget);
  if (!nlohmann::json::sax_parse(json, &sax)) {
    return Error("{}: {}", subject, sax.problem());
  }
  return sax.Take();
}

}  // namespace zqfp::jinja
