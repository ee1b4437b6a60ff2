// SPDX-License-Identifier: Apache-2.0
#include "models/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxExcerpt = 80;
constexpr size_t kMaxParserMessage = 200;

// Cuts at a character border, so that messages stay valid UTF-8.
std::string Shorten(std::string text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<uint8_t>(text[limit]) & 0xc0) == 0x80) {
    --limit;
  }
  return text.substr(0, limit) + "...";
}

// Builds the tree and refuses what the library's own builder lets pass.
class StrictBuilder : public nlohmann::json_sax<json> {
 public:
  json TakeRoot() { return std::move(root_); }
  const std::string& problem() const { return problem_; }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override {
    return Add(value) != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(value) != nullptr;
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override {
    return Add(std::move(value)) != nullptr;
  }
  bool binary(binary_t&) override { return Fail("binary data"); }
  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  // The library would let the last of two equal keys win.
  bool key(string_t& value) override {
    auto* members = open_.back()->get_ptr<json::object_t*>();
    const auto [place, is_new] = members->emplace(value, nullptr);
    if (!is_new) {
      return Fail(fmt::format("duplicate key \"{}\"",
                              Shorten(std::move(value), kMaxExcerpt)));
    }
    slot_ = &place->second;
    return true;
  }

  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    std::string message = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, ..."
    const size_t close = message.find("] ");
    if (close != std::string::npos) message.erase(0, close + 2);
    return Fail(Shorten(std::move(message), kMaxParserMessage));
  }

 private:
  // Puts the value where the parser stands; pointers to open containers stay
  // valid, because nothing is added to a container while a child is open.
  json* Add(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (auto* items = open_.back()->get_ptr<json::array_t*>()) {
      items->push_back(std::move(value));
      return &items->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool Open(json value) {
    if (open_.size() >= kMaxDepth) {
      return Fail(fmt::format("nested deeper than {}", kMaxDepth));
    }
    open_.push_back(Add(std::move(value)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  bool Fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  json root_;
  std::vector<json*> open_;  // containers around the current place
  json* slot_ = nullptr;     // value of the last key read
  std::string problem_;
};

// Shortest form, for the range in a message.
std::string Show(double value) { return fmt::format("{:g}", value); }

}  // namespace

absl::StatusOr<json> ParseJson(const char* begin, const char* end,
                               const std::string& name) {
  StrictBuilder builder;
  if (!json::sax_parse(begin, end, &builder)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not valid JSON: {}", name, builder.problem()));
  }
  return builder.TakeRoot();
}

std::string Excerpt(const json& value) {
  return Shorten(value.dump(-1, ' ', false, json::error_handler_t::replace),
                 kMaxExcerpt);
}

absl::StatusOr<int64_t> ToInt(const json& value, IntRange range,
                              const std::string& what) {
  constexpr auto kLargest =
      static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  // A number beyond 64 bits was parsed as a float, which is no integer here.
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() &&
                      *value.get_ptr<const uint64_t*>() > kLargest);
  if (fits) {
    const auto number = value.get<int64_t>();
    if (number >= range.min && number <= range.max) return number;
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: want an integer in {}..{}, found {}", what, range.min,
                  range.max, Excerpt(value)));
}

JsonReader::JsonReader(const json& object, std::string where)
    : object_(&object), where_(std::move(where)) {}

const json* JsonReader::Find(const char* key) const {
  const auto place = object_->find(key);
  return place == object_->end() || place->is_null() ? nullptr : &*place;
}

bool JsonReader::Has(const char* key) const { return Find(key) != nullptr; }

bool JsonReader::IsNull(const char* key) const {
  const auto place = object_->find(key);
  return place != object_->end() && place->is_null();
}

absl::Status JsonReader::RefuseUnknownKeys(
    const std::vector<std::string>& known) const {
  for (const auto& item : object_->items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      return absl::UnimplementedError(
          fmt::format("{}: {}: this key is not supported", where_, item.key()));
    }
  }
  return absl::OkStatus();
}

absl::Status JsonReader::Wrong(const char* key,
                               const std::string& wanted) const {
  const json* value = Find(key);
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: want {}, found {}", where_, key, wanted,
                  value == nullptr ? "nothing" : Excerpt(*value)));
}

absl::Status JsonReader::Require(const char* key, IntRange range,
                                 int64_t* out) const {
  if (!Has(key)) {
    return Wrong(key,
                 fmt::format("an integer in {}..{}", range.min, range.max));
  }
  return Read(key, range, out);
}

absl::Status JsonReader::Require(const char* key, std::string* out) const {
  if (!Has(key)) return Wrong(key, "a string");
  return Read(key, out);
}

absl::Status JsonReader::Read(const char* key, IntRange range,
                              int64_t* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(
      *out, ToInt(*value, range, fmt::format("{}: {}", where_, key)));
  return absl::OkStatus();
}

absl::Status JsonReader::Read(const char* key, RealRange range,
                              double* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (std::isfinite(number) && number >= range.min && number <= range.max) {
      *out = number;
      return absl::OkStatus();
    }
  }
  return Wrong(
      key, fmt::format("a number in {}..{}", Show(range.min), Show(range.max)));
}

absl::Status JsonReader::Read(const char* key, bool* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return Wrong(key, "true or false");
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status JsonReader::Read(const char* key, std::string* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_string()) return Wrong(key, "a string");
  *out = *value->get_ptr<const std::string*>();
  return absl::OkStatus();
}

absl::StatusOr<JsonReader> JsonReader::Object(const char* key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_object()) return Wrong(key, "an object");
  return JsonReader(*value, fmt::format("{}: {}", where_, key));
}

}  // namespace zqfp
