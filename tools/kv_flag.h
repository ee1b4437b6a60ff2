// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_KV_FLAG_H_
#define ZQFP_TOOLS_KV_FLAG_H_

// The names of KV cache formats on the command line.

#include <string>

#include "absl/status/statusor.h"
#include "zqfp/zqfp.h"

namespace zqfp::tools {

// "auto", "f32", "bf16", "e4m3"; a usage error names the flag.
absl::StatusOr<KvFormat> ParseKvFormat(const std::string& name);
const char* ToString(KvFormat format);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_KV_FLAG_H_
