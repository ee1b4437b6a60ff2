// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CHAT_LOOP_H_
#define ZQFP_TOOLS_CHAT_LOOP_H_

// The interactive chat: reads lines, runs /commands, streams answers.

#include "absl/status/status.h"
#include "tools/conversation.h"

namespace zqfp::tools {

// Until /exit, Ctrl-D or Ctrl-C twice (CancelledError). Answers go to stdout,
// everything else to stderr.
absl::Status RunChat(LanguageModel& model, Conversation& conversation);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CHAT_LOOP_H_
