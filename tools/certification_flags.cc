// SPDX-License-Identifier: Apache-2.0
#include "tools/certification_flags.h"

#include <fmt/format.h>

#include <string>

#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tools/command_line.h"

ABSL_FLAG(std::string, certify, "",
          "text on which to compare the result with the original; the figures "
          "go into its certificate.json, with hashes of all its tensors");
ABSL_FLAG(std::string, certify_split, "",
          "text between its documents, with C escapes");
ABSL_FLAG(int64_t, certify_window, 0,
          "tokens the models see at once (2048, at most their context)");
ABSL_FLAG(int64_t, certify_tokens, 0, "stop after about so many tokens (all)");

namespace zqfp::tools {

absl::StatusOr<std::optional<Certification>> CertificationFromFlags(
    const QuantizeOptions& options) {
  const CertificationOptions wanted = {
      .text = absl::GetFlag(FLAGS_certify),
      .split = absl::GetFlag(FLAGS_certify_split),
      .window = absl::GetFlag(FLAGS_certify_window),
      .max_tokens = absl::GetFlag(FLAGS_certify_tokens),
      .num_threads = options.num_threads};
  if (wanted.text.empty()) {
    if (wanted.split.empty() && wanted.window == 0 && wanted.max_tokens == 0) {
      return std::nullopt;
    }
    return UsageError(
        "--certify_split, --certify_window, --certify_tokens: want them with "
        "--certify, found none");
  }
  if (options.linears.is_dense()) {
    return UsageError(fmt::format(
        "--certify: want weights e2m1 or e4m3, which are executed as they are, "
        "found {}, which are simulated",
        std::string(ToString(options.linears.grid.format))));
  }
  ZQFP_ASSIGN_OR_RETURN(Certification certification,
                        Certification::Create(options.input, wanted));
  return certification;
}

}  // namespace zqfp::tools
