// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_ACTIVATION_FORMAT_H_
#define ZQFP_MODELS_ACTIVATION_FORMAT_H_

#include <stdint.h>

#include <string_view>

namespace zqfp {

// What the input of a linear becomes. A model runs with none (f32), e4m3 (one
// dynamic scale per token), e4m3 static (one scale from the file) or e4m3
// groups (a dynamic scale per token and group of columns); the others are
// simulated for comparison (ModelOptions::simulated_activations).
enum class ActivationFormat : uint8_t {
  kNone,
  kE4m3,
  kE5m2,
  kInt8,
  kBf16,
  kE4m3Static,
  kE4m3Groups
};

std::string_view ToString(ActivationFormat format);

}  // namespace zqfp

#endif  // ZQFP_MODELS_ACTIVATION_FORMAT_H_
