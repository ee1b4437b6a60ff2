// SPDX-License-Identifier: Apache-2.0
// Holds chat templates against what real Jinja2 renders, and hostile ones
// against the limits of the sandbox.
#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace zqfp {
namespace {

using Json = nlohmann::ordered_json;

const Json& Golden() {
  static const Json* const golden = [] {
    // The goldens show UTC; the templates show local time.
    setenv("TZ", "UTC", 1);
    tzset();
    std::ifstream file(ZQFP_SOURCE_DIR
                       "/tests/golden/chat_template_golden.json");
    return new Json(Json::parse(file, nullptr, false));
  }();
  return *golden;
}

absl::StatusOr<std::string> Render(const std::string& source,
                                   const ChatTemplateArgs& args) {
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(args);
}

void ExpectGolden(const absl::StatusOr<std::string>& result, const Json& want,
                  const std::string& name) {
  if (want.is_null()) {
    EXPECT_FALSE(result.ok())
        << name << "\nwants an error, renders: " << result.value();
  } else if (!result.ok()) {
    ADD_FAILURE() << name << "\nwants: " << want
                  << "\nfails: " << result.status().ToString();
  } else {
    EXPECT_EQ(*result, want.get<std::string>()) << name;
  }
}

TEST(ChatTemplate, ConversationsAreJinjas) {
  ASSERT_TRUE(Golden().is_object());
  for (const Json& golden : Golden()["rendered"]) {
    ChatTemplateArgs args;
    const std::string conversation = golden["conversation"];
    for (const Json& message : Golden()["conversations"][conversation]) {
      ChatMessage& out = args.messages.emplace_back();
      out.role = message["role"];
      if (message["content"].is_string()) out.content = message["content"];
      out.extra_json = message.dump();
    }
    args.add_generation_prompt = golden["prompt"];
    args.bos_token = "<s>";
    args.eos_token = "</s>";
    if (golden["tools"]) args.tools_json = Golden()["tools"].dump();
    args.now_unix_seconds = Golden()["now"];
    const std::string name = golden["template"];
    ExpectGolden(Render(Golden()["templates"][name], args), golden["want"],
                 name + ", " + conversation);
  }
}

TEST(ChatTemplate, FeaturesAreJinjas) {
  ASSERT_TRUE(Golden().is_object());
  ChatTemplateArgs args;
  args.extra_json = Golden()["variables"].dump();
  args.now_unix_seconds = Golden()["now"];
  ASSERT_GT(Golden()["cases"].size(), 900u);
  for (const Json& golden : Golden()["cases"]) {
    const std::string source = golden[0];
    ExpectGolden(Render(source, args), golden[1], source);
  }
}

}  // namespace
}  // namespace zqfp
