// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_ROPE_H_
#define ZQFP_MODELS_ROPE_H_

// Rotary position embedding: the frequencies of every scaling kind, and the
// cosines and sines of a step.                          [arXiv:2104.09864]

#include <stdint.h>

#include <vector>

#include "models/config.h"

namespace zqfp {

// Angles per position of each pair, and the factor on cos and sin (yarn's
// and longrope's attention temperature; 1 otherwise).
struct RopeFrequencies {
  std::vector<double> inverse;  // [rotary_dim / 2], radians per position
  double attention_factor = 1.0;
};

// As transformers' modeling_rope_utils computes them. `length` is what dynamic
// scaling and longrope see of the sequence; others ignore it.
RopeFrequencies ComputeRopeFrequencies(const Config& config, int64_t length);
// Of one rope over heads of rotary_dim.
RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope,
                                       int64_t rotary_dim, int64_t length);

// Fills cos and sin [rotary_dim / 2] for one position. The angle is formed in
// f32 as position * inverse, as Hugging Face does, so that long contexts agree
// with the models' own training code.
void RopeRow(const RopeFrequencies& frequencies, int64_t position, float* cos,
             float* sin);

}  // namespace zqfp

#endif  // ZQFP_MODELS_ROPE_H_
