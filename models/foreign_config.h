// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_FOREIGN_CONFIG_H_
#define ZQFP_MODELS_FOREIGN_CONFIG_H_

// "quantization_config" as other quantizers write it. A key, scheme or value
// that is not known is named in an error: it may change what weights mean.
// What the inputs or the cache would need and no kernel has becomes
// ForeignScheme::refused, since a model can run without it.

#include <optional>

#include "absl/status/statusor.h"
#include "models/foreign_quantization.h"
#include "models/json_reader.h"

namespace zqfp {

// `root` is config.json. Nothing where the model is not quantized, or not by a
// tool that is known here.
absl::StatusOr<std::optional<ForeignQuantization>> ReadForeignQuantization(
    const JsonReader& root);

// The whole of ModelOpt's hf_quant_config.json.
absl::StatusOr<ForeignQuantization> ReadModelOptFile(const JsonReader& root);

// The parts of one tool each: `own` is the object with the "quant_method".
absl::StatusOr<ForeignQuantization> ReadCompressedTensors(
    const JsonReader& own);
absl::StatusOr<ForeignQuantization> ReadModelOpt(const JsonReader& own);
absl::StatusOr<ForeignQuantization> ReadFp8(const JsonReader& own);
absl::StatusOr<ForeignQuantization> ReadMxfp4(const JsonReader& own);

// The strings of a list, none where the key is absent or null.
absl::StatusOr<std::vector<std::string>> ReadStrings(const JsonReader& reader,
                                                     const char* key);
// The same as patterns.
absl::Status ReadPatterns(const JsonReader& reader, const char* key,
                          ModulePatterns* patterns);

}  // namespace zqfp

#endif  // ZQFP_MODELS_FOREIGN_CONFIG_H_
