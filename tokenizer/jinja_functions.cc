// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/jinja_functions.h"

#include <time.h>

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_compare.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// range(stop), range(start, stop) and range(start, stop, step), as a list that
// prints like a range. The limit is that of Jinja's sandbox.
Result Range(Runtime& runtime, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(BoundArguments bound, Bind("range", "start stop step",
                                                   1, std::move(arguments)));
  if (!bound[1].has_value()) std::swap(bound[0], bound[1]);
  ZQFP_ASSIGN_OR_RETURN(const int64_t start, IntegerArgument(bound[0], 0));
  ZQFP_ASSIGN_OR_RETURN(const int64_t stop, IntegerArgument(bound[1], 0));
  ZQFP_ASSIGN_OR_RETURN(const int64_t step, IntegerArgument(bound[2], 1));
  if (step == 0) return Error("range() arg 3 must not be zero");
  std::vector<Value> items;
  int64_t value = start;
  while (step > 0 ? value < stop : value > stop) {
    if (items.size() == static_cast<size_t>(kMaxRange)) {
      return absl::ResourceExhaustedError(
          fmt::format("range() has more than {} items", kMaxRange));
    }
    items.push_back(Int(value));
    if (__builtin_add_overflow(value, step, &value)) break;
  }
  std::string label = step == 1
                          ? fmt::format("range({}, {})", start, stop)
                          : fmt::format("range({}, {}, {})", start, stop, step);
  return MakeSequence(runtime.budget, Kind::kRange, std::move(items),
                      std::move(label));
}

// dict(pairs or dict, name=value, ...).
Result MakeDict(Runtime& runtime, CallArguments arguments) {
  Budget& budget = runtime.budget;
  DictBuilder dict(budget);
  if (arguments.positional.size() > 1) {
    return Error("dict expected at most 1 argument, got {}",
                 arguments.positional.size());
  }
  for (const Value& source : arguments.positional) {
    if (source.Is(Kind::kDict)) {
      for (const auto& [key, value] : AsDict(source).entries) {
        if (!budget.Step()) return budget.status();
        ZQFP_RETURN_IF_ERROR(dict.Set(key, value));
      }
      continue;
    }
    ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> pairs,
                          Iterate(budget, source));
    for (const Value& item : pairs) {
      ZQFP_ASSIGN_OR_RETURN(const std::vector<Value> pair,
                            Iterate(budget, item));
      if (pair.size() != 2) {
        return Error("a dict is made of pairs, found {} items", pair.size());
      }
      ZQFP_RETURN_IF_ERROR(dict.Set(pair[0], pair[1]));
    }
  }
  for (auto& [name, value] : arguments.keyword) {
    dict.Set(name, std::move(value));
  }
  return dict.Build();
}

// namespace(name=value, ...); takes what dict() takes, but names only.
Result MakeNamespace(Runtime& runtime, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(const Value dict,
                        MakeDict(runtime, std::move(arguments)));
  if (!runtime.budget.Bytes(sizeof(Namespace))) {
    return runtime.budget.status();
  }
  Namespace& space = runtime.namespaces.emplace_back();
  for (const auto& [key, value] : AsDict(dict).entries) {
    if (!key.IsString()) return Error("a namespace's names are strings");
    if (key.text().starts_with('_')) {
      return Error("the attribute '{}' starts with an underscore", key.text());
    }
    space.attributes.emplace_back(key.text(), value);
  }
  Value value;
  value.kind = Kind::kNamespace;
  value.space = &space;
  return value;
}

// How a template refuses a conversation: the message is for the user.
Result RaiseException(Runtime& runtime, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      Bind("raise_exception", "message", 1, std::move(arguments)));
  ZQFP_ASSIGN_OR_RETURN(const std::string message,
                        ToStr(runtime.budget, *bound[0]));
  return Error("{}", message);
}

// The conversions of strftime, each maybe with one of the flags - _ 0 ^ #.
absl::Status CheckTimeFormat(const std::string& format) {
  constexpr std::string_view kLetters =
      "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";
  constexpr size_t kMaxFormat = 256;
  if (format.size() > kMaxFormat) {
    return Error("a time format of {} bytes, at most {} are accepted",
                 format.size(), kMaxFormat);
  }
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] == '\0') return Error("a time format with a NUL character");
    if (format[i] != '%') continue;
    ++i;
    if (i < format.size() &&
        std::string_view("-_0^#").find(format[i]) != std::string_view::npos) {
      ++i;
    }
    if (i == format.size() || kLetters.find(format[i]) == kLetters.npos) {
      return Unsupported("the time format {}", Repr(format));
    }
  }
  return absl::OkStatus();
}

// strftime_now(format) in local time, as in transformers; the clock is an
// argument of the rendering, so that tests and logs can fix it.
Result StrftimeNow(Runtime& runtime, CallArguments arguments) {
  ZQFP_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      Bind("strftime_now", "format", 1, std::move(arguments)));
  ZQFP_ASSIGN_OR_RETURN(const std::string format, TextArgument(bound[0], ""));
  ZQFP_RETURN_IF_ERROR(CheckTimeFormat(format));
  const time_t now = static_cast<time_t>(runtime.now_unix_seconds);
  struct tm local = {};
  if (localtime_r(&now, &local) == nullptr) {
    return Error("{} is not a time", runtime.now_unix_seconds);
  }
  char buffer[16384];
  const size_t size = strftime(buffer, sizeof(buffer), format.c_str(), &local);
  return MakeString(runtime.budget, std::string(buffer, size));
}

struct Function {
  std::string_view name;
  Result (*function)(Runtime&, CallArguments);
};

constexpr Function kFunctions[] = {
    {"range", Range},
    {"dict", MakeDict},
    {"namespace", MakeNamespace},
    {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow},
};

}  // namespace

// True for the names below.
bool IsFunction(std::string_view name) {
  return std::any_of(
      std::begin(kFunctions), std::end(kFunctions),
      [name](const Function& function) { return function.name == name; });
}

// Jinja defines these too; as undefined names they would print as nothing.
bool IsUnsupportedGlobal(std::string_view name) {
  return name == "lipsum" || name == "cycler" || name == "joiner" ||
         name == "self" || name == "super";
}

// The evaluator has looked the name up already.
absl::StatusOr<Value> CallFunction(Runtime& runtime, std::string_view name,
                                   CallArguments arguments) {
  for (const Function& function : kFunctions) {
    if (function.name == name) {
      return function.function(runtime, std::move(arguments));
    }
  }
  return Unsupported("no function named '{}'", name);
}

}  // namespace zqfp::jinja
