// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_TERMINAL_H_
#define ZQFP_TOOLS_TERMINAL_H_

// What a terminal may be sent.

#include <string>

namespace zqfp::tools {

// Whether this output is a terminal that shows colours: not with NO_COLOR set
// or TERM=dumb.
bool HasColor(int file_descriptor);

// The text without control characters other than newline and tab: what a model
// writes must not move the cursor, rename the window or answer for the user.
// `text` is valid UTF-8.
std::string WithoutControls(const std::string& text);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_TERMINAL_H_
