// SPDX-License-Identifier: Apache-2.0
#include "tools/progress_bar.h"

#include <fmt/format.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "tools/print.h"

namespace zqfp::tools {
namespace {

constexpr int kBarWidth = 30;
constexpr size_t kDefaultColumns = 80;
constexpr double kMinElapsed = 1.0;  // before that an estimate is a guess

size_t TerminalColumns() {
  struct winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return kDefaultColumns;
  }
  return size.ws_col;
}

}  // namespace

std::string TimeText(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  return fmt::format("{:02}:{:02}", whole / 60, whole % 60);
}

std::string ProgressLine(double share, double elapsed_s,
                         const std::string& note, size_t width) {
  share = std::clamp(share, 0.0, 1.0);
  const int filled = static_cast<int>(share * kBarWidth);
  std::string line = fmt::format("[{:#<{}}{:{}}] {:3.0f}%", "", filled, "",
                                 kBarWidth - filled, share * 100);
  if (share > 0 && elapsed_s >= kMinElapsed) {
    line += fmt::format("  {} left", TimeText(elapsed_s / share - elapsed_s));
  }
  line += "  " + note;
  return line.substr(0, width);
}

ProgressBar::ProgressBar()
    : start_(std::chrono::steady_clock::now()),
      is_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() { Clear(); }

void ProgressBar::Clear() {
  if (is_visible_) fputs("\r\033[K", stderr);
  is_visible_ = false;
}

void ProgressBar::Update(int64_t done, int64_t total, const std::string& note) {
  if (!is_terminal_ || total <= 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (is_visible_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  is_visible_ = true;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double share = static_cast<double>(done) / static_cast<double>(total);
  Print(stderr, "\r\033[K{}",
        ProgressLine(share, elapsed, note, TerminalColumns() - 1));
  fflush(stderr);
}

}  // namespace zqfp::tools
