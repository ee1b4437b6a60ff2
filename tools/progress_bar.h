// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_PROGRESS_BAR_H_
#define ZQFP_TOOLS_PROGRESS_BAR_H_

// One line on stderr that shows how far a long job is; silent where stderr is
// not a terminal.

#include <stdint.h>

#include <chrono>
#include <string>

namespace zqfp::tools {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();  // clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Draws at most ten times a second. `note` says what is at work.
  void Update(int64_t done, int64_t total, const std::string& note);
  // Makes room for other output; the next update draws again.
  void Clear();

 private:
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
  bool is_terminal_;
  bool is_visible_ = false;
};

// Minutes and seconds, "01:30".
std::string TimeText(double seconds);

// "[#####     ]  42%  00:12 left  note", cut to `width` columns.
std::string ProgressLine(double share, double elapsed_s,
                         const std::string& note, size_t width);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_PROGRESS_BAR_H_
