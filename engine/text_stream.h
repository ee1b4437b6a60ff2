// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_TEXT_STREAM_H_
#define ZQFP_ENGINE_TEXT_STREAM_H_

// Finds stop strings in text that arrives in pieces, and holds back what may
// still become one.

#include <string>
#include <string_view>
#include <vector>

namespace zqfp {

class StopMatcher {
 public:
  // Empty stop strings are ignored.
  explicit StopMatcher(std::vector<std::string> stop);

  // Takes the next piece and returns what is now certain to be outside of any
  // stop string. Once a stop string is complete, stopped() holds, the text in
  // front of it has been returned, and all that follows is dropped.
  std::string Push(std::string_view piece);
  // The text is over: returns what was held back.
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;  // a tail that may begin a stop string
  bool stopped_ = false;
};

}  // namespace zqfp

#endif  // ZQFP_ENGINE_TEXT_STREAM_H_
