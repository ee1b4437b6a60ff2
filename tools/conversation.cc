// SPDX-License-Identifier: Apache-2.0
#include "tools/conversation.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

#include "kernels/core/status_macros.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "tools/command_line.h"
#include "tools/output_file.h"

namespace zqfp::tools {
namespace {

constexpr int64_t kMaxFileBytes = 64 << 20;
constexpr char kFormatKey[] = "zqfp_chat";
constexpr int64_t kFormatVersion = 1;
constexpr std::chrono::milliseconds kPoll(20);

absl::Status ToStatus(const Error& error) {
  const absl::StatusCode code = error.code == ErrorCode::kCancelled
                                    ? absl::StatusCode::kCancelled
                                    : absl::StatusCode::kFailedPrecondition;
  return absl::Status(code, error.message);
}

// Carries Ctrl-C to a model that is at work, while it lives.
class InterruptWatch {
 public:
  explicit InterruptWatch(LanguageModel* model)
      : thread_([this, model] {
          std::unique_lock<std::mutex> lock(mutex_);
          while (!over_.wait_for(lock, kPoll, [this] { return is_over_; })) {
            if (Interrupted()) model->Cancel();
          }
        }) {}
  ~InterruptWatch() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      is_over_ = true;
    }
    over_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::thread thread_;
};

uint64_t DrawSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

absl::StatusOr<Message> ReadMessage(const nlohmann::json& value,
                                    const std::string& where) {
  if (!value.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want an object, found {}", where, Excerpt(value)));
  }
  const JsonReader reader(value, where);
  Message message;
  ZQFP_RETURN_IF_ERROR(reader.Require("role", &message.role));
  ZQFP_RETURN_IF_ERROR(reader.Require("content", &message.content));
  return message;
}

absl::StatusOr<std::vector<Message>> ReadChat(const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxFileBytes));
  ZQFP_ASSIGN_OR_RETURN(
      const nlohmann::json root,
      ParseJson(text.data(), text.data() + text.size(), path));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(path + ": want a saved chat, found " +
                                      Excerpt(root));
  }
  const JsonReader reader(root, path);
  int64_t version = 0;
  ZQFP_RETURN_IF_ERROR(
      reader.Require(kFormatKey, {kFormatVersion, kFormatVersion}, &version));
  const nlohmann::json* list = reader.Find("messages");
  if (list == nullptr || !list->is_array()) {
    return reader.Wrong("messages", "an array");
  }
  std::vector<Message> messages;
  for (const nlohmann::json& entry : *list) {
    ZQFP_ASSIGN_OR_RETURN(Message message,
                          ReadMessage(entry, fmt::format("{}: message {}", path,
                                                         messages.size())));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace

Conversation::Conversation(LanguageModel* model, PromptStyle style,
                           GenerateOptions options,
                           std::optional<uint64_t> seed)
    : model_(model), style_(style), options_(std::move(options)), seed_(seed) {}

absl::StatusOr<Generation> Conversation::Ask(
    const std::string& text,
    const std::function<void(const std::string&)>& on_text) {
  std::vector<Message> messages = messages_;
  messages.push_back({"user", text});
  const auto prompt = style_ == PromptStyle::kRaw
                          ? model_->Tokenize(text)
                          : model_->ChatPrompt(messages);
  if (!prompt.ok()) return ToStatus(prompt.error());
  GenerateOptions options = options_;
  options.sampling.seed = last_seed_ = seed_ ? *seed_ : DrawSeed();
  options.on_text = [&](const std::string& piece) {
    if (on_text) on_text(piece);
    return !Interrupted();
  };
  const auto generation = [&] {
    const InterruptWatch watch(model_);
    return model_->Generate(prompt.value(), options);
  }();
  if (!generation.ok()) return ToStatus(generation.error());
  if (generation->finish_reason == FinishReason::kError) {
    return absl::DataLossError(generation->error);
  }
  stats_ = generation->stats;
  if (style_ == PromptStyle::kChat) {
    messages.push_back({"assistant", generation->text});
    messages_ = std::move(messages);
  }
  return generation.value();
}

void Conversation::Clear() {
  const bool has_system =
      !messages_.empty() && messages_.front().role == "system";
  messages_.resize(has_system ? 1 : 0);
}

void Conversation::SetSystem(const std::string& text) {
  if (!messages_.empty() && messages_.front().role == "system") {
    messages_.erase(messages_.begin());
  }
  if (!text.empty()) messages_.insert(messages_.begin(), {"system", text});
}

absl::Status Conversation::Save(const std::string& path) const {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(path, error) && !ReadChat(path).ok()) {
    return absl::FailedPreconditionError(
        path + ": want a new file or a saved chat, found another file");
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages_) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  const nlohmann::ordered_json root = {{kFormatKey, kFormatVersion},
                                       {"messages", list}};
  return WriteOutputFile(
      path, root.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) +
                '\n');
}

absl::Status Conversation::Load(const std::string& path) {
  ZQFP_ASSIGN_OR_RETURN(messages_, ReadChat(path));
  return absl::OkStatus();
}

}  // namespace zqfp::tools
