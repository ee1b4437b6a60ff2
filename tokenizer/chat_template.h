// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_CHAT_TEMPLATE_H_
#define ZQFP_TOKENIZER_CHAT_TEMPLATE_H_

// Turns a list of chat messages into the prompt text a model was trained on,
// by running the model's own Jinja template in a sandbox.

#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zqfp {

namespace jinja {
struct Template;
}  // namespace jinja

struct ChatMessage {
  std::string role;
  std::string content;
  // A JSON object with further fields, in order: tool_calls, name, ... A key
  // "role" or "content" here replaces the field above, so that content can be
  // null or a list of parts. Empty: no further fields.
  std::string extra_json;
};

struct ChatTemplateArgs {
  std::vector<ChatMessage> messages;
  bool add_generation_prompt = true;
  std::string bos_token;   // empty: the tokenizer has none (undefined there)
  std::string eos_token;   // empty: the tokenizer has none (undefined there)
  std::string tools_json;  // a JSON array; empty: `tools` is None
  std::string extra_json;  // a JSON object of additional variables, or empty
  int64_t now_unix_seconds = 0;  // what strftime_now() shows, in local time
};

// A parsed template; cheap to copy, and safe to render from several threads.
//
// The environment is that of Hugging Face's apply_chat_template: Jinja2 with
// trim_blocks and lstrip_blocks, break and continue, `generation` blocks,
// tojson as json.dumps writes it, raise_exception and strftime_now.
// Limits (tokenizer/jinja_budget.h) bound source, depth, steps, memory and
// output, so that a hostile template ends with an error, soon.
class ChatTemplate {
 public:
  // What the subset does not know (a tag, filter, test or block) is an error
  // that names it with its line:column.
  static absl::StatusOr<ChatTemplate> Parse(std::string source);

  // All or nothing: the whole prompt, or the error with its line:column; the
  // message of raise_exception is part of that error.
  absl::StatusOr<std::string> Render(const ChatTemplateArgs& args) const;

  // xxhash64 of the source as 16 hexadecimal digits.
  std::string hash() const { return hash_; }

 private:
  std::shared_ptr<const jinja::Template> template_;
  std::string hash_;
};

}  // namespace zqfp

#endif  // ZQFP_TOKENIZER_CHAT_TEMPLATE_H_
