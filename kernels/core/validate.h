// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_VALIDATE_H_
#define ZQFP_KERNELS_CORE_VALIDATE_H_

// Validate(args): what every op's card promises its backends; the message names
// the field, what is wanted and what was found. Of what files and requests
// bring, the model asks before it runs: weights when it binds them, batches at
// every step. The rest follows from its own sizes: debug builds, and so all
// tests under sanitizers, ask before every op of the host (backend.cc).

#include "absl/status/status.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels {

absl::Status Validate(const WeightView& weight);
absl::Status Validate(const KvPagesView& pages);
// Page ids and lengths are compared with num_pages and page_size.
absl::Status Validate(const RaggedBatchView& batch, const KvPagesView& pages);

absl::Status Validate(const EmbedArgs& args);
absl::Status Validate(const GatherRowsArgs& args);
absl::Status Validate(const AddPositionsArgs& args);
absl::Status Validate(const RmsNormArgs& args);
absl::Status Validate(const LayerNormArgs& args);
absl::Status Validate(const QuantizeTokensArgs& args);
absl::Status Validate(const MatmulArgs& args);
absl::Status Validate(const MatmulA8Args& args);
absl::Status Validate(const RopeArgs& args);
absl::Status Validate(const StoreKvArgs& args);
absl::Status Validate(const AttentionArgs& args);
absl::Status Validate(const ActivateArgs& args);
absl::Status Validate(const SoftcapArgs& args);

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_VALIDATE_H_
