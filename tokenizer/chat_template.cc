// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/chat_template.h"

#include <xxhash.h>

#include <utility>

#include "kernels/core/status_macros.h"
#include "tokenizer/jinja_evaluator.h"
#include "tokenizer/jinja_parser.h"
#include "tokenizer/jinja_print.h"
#include "tokenizer/jinja_text.h"

namespace zqfp {
namespace {

using jinja::Budget;
using jinja::DictBuilder;
using jinja::Error;
using jinja::Kind;
using jinja::Value;

// Prompts come from users: their bytes are checked before a template sees them.
absl::StatusOr<Value> TextOf(Budget& budget, const std::string& text,
                             std::string_view subject) {
  if (!jinja::IsValidUtf8(text)) {
    return Error("chat template: {} is not valid UTF-8", subject);
  }
  return jinja::MakeString(budget, text);
}

// Adds the fields of a JSON object; nothing if `json` is empty.
absl::Status AddFields(Budget& budget, const std::string& json,
                       const std::string& subject, DictBuilder& dict) {
  if (json.empty()) return absl::OkStatus();
  const std::string named = "chat template: " + subject;
  ZQFP_ASSIGN_OR_RETURN(const Value object,
                        jinja::FromJson(budget, json, named));
  if (!object.Is(Kind::kDict)) {
    return Error("{}: want a JSON object, found {}", named,
                 jinja::TypeName(object));
  }
  for (const auto& [key, value] : jinja::AsDict(object).entries) {
    ZQFP_RETURN_IF_ERROR(dict.Set(key, value));
  }
  return absl::OkStatus();
}

// One message as the dict that templates index: role, content, further fields.
absl::StatusOr<Value> MakeMessage(Budget& budget, const ChatMessage& message,
                                  size_t index) {
  const std::string subject = fmt::format("message {}", index);
  DictBuilder dict(budget);
  ZQFP_ASSIGN_OR_RETURN(Value role,
                        TextOf(budget, message.role, subject + ": role"));
  dict.Set("role", std::move(role));
  ZQFP_ASSIGN_OR_RETURN(Value content,
                        TextOf(budget, message.content, subject + ": content"));
  dict.Set("content", std::move(content));
  ZQFP_RETURN_IF_ERROR(
      AddFields(budget, message.extra_json, subject + ": extra fields", dict));
  return dict.Build();
}

// The variables apply_chat_template gives to a template.
absl::StatusOr<Value> MakeVariables(Budget& budget,
                                    const ChatTemplateArgs& args) {
  std::vector<Value> messages;
  for (size_t i = 0; i < args.messages.size(); ++i) {
    ZQFP_ASSIGN_OR_RETURN(Value message,
                          MakeMessage(budget, args.messages[i], i));
    messages.push_back(std::move(message));
  }
  DictBuilder variables(budget);
  variables.Set("messages",
                jinja::MakeSequence(budget, Kind::kList, std::move(messages)));
  Value tools = jinja::None();
  if (!args.tools_json.empty()) {
    ZQFP_ASSIGN_OR_RETURN(tools, jinja::FromJson(budget, args.tools_json,
                                                 "chat template: tools"));
  }
  variables.Set("tools", std::move(tools));
  variables.Set("documents", jinja::None());
  variables.Set("add_generation_prompt",
                jinja::Bool(args.add_generation_prompt));
  const std::pair<std::string_view, const std::string&> tokens[] = {
      {"bos_token", args.bos_token}, {"eos_token", args.eos_token}};
  for (const auto& [name, token] : tokens) {
    if (token.empty()) continue;
    ZQFP_ASSIGN_OR_RETURN(Value text, TextOf(budget, token, name));
    variables.Set(name, std::move(text));
  }
  ZQFP_RETURN_IF_ERROR(
      AddFields(budget, args.extra_json, "variables", variables));
  return variables.Build();
}

}  // namespace

// The hash is of the bytes as they were given, newlines not normalized.
absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string source) {
  ChatTemplate result;
  result.hash_ = fmt::format("{:016x}", XXH64(source.data(), source.size(), 0));
  ZQFP_ASSIGN_OR_RETURN(result.template_,
                        jinja::ParseTemplate(std::move(source)));
  return result;
}

// A rendering owns everything it makes; the template itself is only read.
absl::StatusOr<std::string> ChatTemplate::Render(
    const ChatTemplateArgs& args) const {
  jinja::Runtime runtime;
  runtime.now_unix_seconds = args.now_unix_seconds;
  ZQFP_ASSIGN_OR_RETURN(const Value variables,
                        MakeVariables(runtime.budget, args));
  if (!runtime.budget.ok()) {
    return absl::ResourceExhaustedError(
        fmt::format("chat template: messages and variables: {}",
                    std::string(runtime.budget.status().message())));
  }
  jinja::Evaluator evaluator(template_->source, runtime);
  return evaluator.Run(template_->body, variables);
}

}  // namespace zqfp
