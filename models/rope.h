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

// RopeRow of one rope for any position and length. What comes again is looked
// up: of a step of many tokens the cosines would take as long as some layers.
class RopeAngles {
 public:
  RopeAngles(const RopeConfig& rope, int64_t rotary_dim);

  void Fill(int64_t length, int64_t position, float* cos, float* sin);

 private:
  // All positions so far with the frequencies of some lengths.
  struct Table {
    RopeFrequencies frequencies;
    std::vector<float> rows;  // [positions, 2, rotary_dim / 2]: cos, sin
  };
  void Look(Table& table, int64_t position, float* cos, float* sin) const;

  RopeConfig rope_;
  int64_t rotary_dim_;
  // Up to the trained length, or whatever the length; longrope's beyond.
  Table table_, beyond_;
  // Dynamic scaling has others for every length beyond.
  int64_t length_ = 0;
  RopeFrequencies of_length_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_ROPE_H_
