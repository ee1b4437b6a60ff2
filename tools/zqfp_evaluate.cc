// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluate_command.h"

int main(int argc, char** argv) { return zqfp::tools::RunEvaluate(argc, argv); }
