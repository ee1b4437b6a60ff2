// SPDX-License-Identifier: Apache-2.0
#include "engine/text_stream.h"

#include <algorithm>

namespace zqfp {
namespace {

// Length of the longest tail of `text` that begins `stop` without being all
// of it.
size_t OverlapWithStart(std::string_view text, std::string_view stop) {
  size_t length = std::min(text.size(), stop.size() - 1);
  while (length > 0 &&
         text.substr(text.size() - length) != stop.substr(0, length)) {
    --length;
  }
  return length;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stop)
    : stop_(std::move(stop)) {
  std::erase_if(stop_, [](const std::string& text) { return text.empty(); });
}

std::string StopMatcher::Push(std::string_view piece) {
  if (stopped_) return "";
  held_ += piece;
  size_t first = std::string::npos;
  for (const std::string& stop : stop_) {
    first = std::min(first, held_.find(stop));
  }
  if (first != std::string::npos) {
    stopped_ = true;
    std::string certain = held_.substr(0, first);
    held_.clear();
    return certain;
  }
  size_t keep = 0;
  for (const std::string& stop : stop_) {
    keep = std::max(keep, OverlapWithStart(held_, stop));
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::Finish() {
  std::string rest = std::move(held_);
  held_.clear();
  return rest;
}

}  // namespace zqfp
