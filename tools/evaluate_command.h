// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_EVALUATE_COMMAND_H_
#define ZQFP_TOOLS_EVALUATE_COMMAND_H_

// What zqfp-evaluate does: one row of the table after the other, each stored
// as soon as it is measured.

namespace zqfp::tools {

int RunEvaluate(int argc, char** argv);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_EVALUATE_COMMAND_H_
