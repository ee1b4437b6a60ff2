// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluation_flags.h"

#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tools/kv_flag.h"

ABSL_FLAG(std::string, protocol, "",
          "gptq, sliding, llama.cpp or lm-eval (gptq)");
ABSL_FLAG(int64_t, window, 0,
          "tokens the model sees at once (2048, llama.cpp 512; at most the "
          "model's context)");
ABSL_FLAG(int64_t, stride, 0, "sliding: tokens scored per window (window / 2)");
ABSL_FLAG(std::string, split, "",
          "text between documents, with C escapes; each is then scored from "
          "its own beginning");
ABSL_FLAG(int64_t, max_tokens, 0, "stop after about so many tokens (all)");
ABSL_FLAG(std::string, kv, "f32",
          "storage of keys and values: f32, bf16 or e4m3");

namespace zqfp::tools {

FlagGroup EvaluationFlagGroup() {
  return {
      "what is measured",
      {"text", "split", "protocol", "window", "stride", "max_tokens", "kv"}};
}

absl::StatusOr<EvaluationOptions> EvaluationOptionsFromFlags() {
  EvaluationOptions options;
  const std::string name = absl::GetFlag(FLAGS_protocol);
  if (!name.empty()) {
    const absl::StatusOr<Protocol> protocol = ParseProtocol(name);
    if (!protocol.ok()) {
      return UsageError("--protocol: " +
                        std::string(protocol.status().message()));
    }
    options.protocol = *protocol;
  }
  options.window = absl::GetFlag(FLAGS_window);
  options.stride = absl::GetFlag(FLAGS_stride);
  options.max_tokens = absl::GetFlag(FLAGS_max_tokens);
  ZQFP_ASSIGN_OR_RETURN(options.kv_format,
                        ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  return options;
}

std::string SplitFromFlags() { return absl::GetFlag(FLAGS_split); }

}  // namespace zqfp::tools
