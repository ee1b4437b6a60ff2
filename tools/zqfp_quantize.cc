// SPDX-License-Identifier: Apache-2.0
#include "tools/quantize_command.h"

int main(int argc, char** argv) { return zqfp::tools::RunQuantize(argc, argv); }
