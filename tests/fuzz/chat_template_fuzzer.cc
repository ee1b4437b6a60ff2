// SPDX-License-Identifier: Apache-2.0
// Any bytes as a chat template: it renders or fails, within the limits.
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<zqfp::ChatTemplate> parsed = zqfp::ChatTemplate::Parse(
      std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  zqfp::ChatTemplateArgs args;
  args.messages = {
      {"system", "Be kind.", ""},
      {"user", "Grüße \"x\" <y>\n", ""},
      {"assistant", "", R"({"content": null, "tool_calls": [{"id": "abcdefghi",
        "function": {"name": "f", "arguments": {"a": 1, "b": [2.5]}}}]})"},
      {"tool", "21", R"({"tool_call_id": "abcdefghi"})"},
      {"user", " and? ", ""}};
  args.bos_token = "<s>";
  args.eos_token = "</s>";
  args.tools_json = R"([{"type": "function", "function": {"name": "f",
    "description": "d", "parameters": {"type": "object", "properties":
    {"a": {"type": "string", "enum": ["x", "y"]}}}}}])";
  args.extra_json = R"({"n": 3, "l": [1, "b", 2.5, null, true], "s": "text",
    "d": {"a": {"b": [1]}}})";
  args.now_unix_seconds = 1721995200;
  (void)parsed->Render(args);
  return 0;
}
