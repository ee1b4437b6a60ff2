// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CERTIFICATION_FLAGS_H_
#define ZQFP_TOOLS_CERTIFICATION_FLAGS_H_

// The flags that ask for a certificate: --certify, --certify_split,
// --certify_window, --certify_tokens.

#include <optional>

#include "absl/status/statusor.h"
#include "models/quantize/quantize_checkpoint.h"
#include "tools/certification.h"

namespace zqfp::tools {

// The certification of the model that `options` makes: nothing without
// --certify. A usage error for what cannot be certified and for flags without
// effect; else Certification::Create's errors.
absl::StatusOr<std::optional<Certification>> CertificationFromFlags(
    const QuantizeOptions& options);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CERTIFICATION_FLAGS_H_
