// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_QUANTIZE_COMMAND_H_
#define ZQFP_TOOLS_QUANTIZE_COMMAND_H_

// What zqfp-quantize does: from flags to a quantized model directory.

namespace zqfp::tools {

int RunQuantize(int argc, char** argv);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_QUANTIZE_COMMAND_H_
