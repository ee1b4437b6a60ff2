// SPDX-License-Identifier: Apache-2.0
#include "tools/kv_flag.h"

#include <fmt/format.h>

#include "tools/command_line.h"

namespace zqfp::tools {

const char* ToString(KvFormat format) {
  switch (format) {
    case KvFormat::kAuto:
      return "auto";
    case KvFormat::kF32:
      return "f32";
    case KvFormat::kBf16:
      return "bf16";
    case KvFormat::kE4m3:
      return "e4m3";
  }
  return "auto";
}

absl::StatusOr<KvFormat> ParseKvFormat(const std::string& name) {
  for (const KvFormat format :
       {KvFormat::kAuto, KvFormat::kF32, KvFormat::kBf16, KvFormat::kE4m3}) {
    if (name == ToString(format)) return format;
  }
  return UsageError(
      fmt::format("--kv: want auto, f32, bf16 or e4m3, found '{}'", name));
}

}  // namespace zqfp::tools
