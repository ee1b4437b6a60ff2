// SPDX-License-Identifier: Apache-2.0
// W4A8 logits of whole models against an f64 model that was written from the
// definitions alone (exact_forward.h), on every backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/backend.h"
#include "models/model.h"
#include "tests/backends.h"
#include "tests/models/exact_forward.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using testing::EditableCheckpoint;
using testing::ExactForward;
using testing::Matrix;
using testing::ScratchDirectory;
using testing::SequenceRunner;

// As LogitBound of golden_test.cc: 7 linears and norms a layer, each rounding
// k products at 2^-24, amplified by at most 8; the f64 side rounds nothing.
double RelativeBound(int64_t num_layers, int64_t widest) {
  return 8.0 * static_cast<double>((7 * num_layers + 1) * widest) *
         std::ldexp(1.0, -24);
}

struct Case {
  const char* variant;
  ScaleConstraint constraint;
  HeadFormat head;
  int64_t group_size;
  int64_t lorc_rank = 0;
  kernels::ValueFormat lorc_format = kernels::ValueFormat::kE4m3;
  GridFormat weights = GridFormat::kE2m1;
  ActivationFormat activations = ActivationFormat::kE4m3;

  EditableCheckpoint Quantized() const {
    QuantizeOptions options;
    options.linears.grid = {weights,
                            {group_size, constraint, ScaleRounding::kSearch}};
    options.linears.lorc = {.rank = lorc_rank, .format = lorc_format};
    options.linears.activations = activations;
    options.lm_head = head;
    return EditableCheckpoint::Quantized(variant, std::move(options));
  }
};

// A prompt none of whose activations lies so near a rounding boundary that an
// f32 error could carry it over: then every backend owes the same codes.
struct SafePrompt {
  std::vector<int32_t> ids;
  Matrix logits;  // empty: none was found
};

SafePrompt FindPrompt(const EditableCheckpoint& checkpoint, double margin) {
  ExactForward exact(checkpoint, margin);
  std::mt19937 random(7);
  const uint32_t vocab_size = checkpoint.config["vocab_size"];
  for (int attempt = 0; attempt < 3000; ++attempt) {
    std::vector<int32_t> ids(3);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocab_size);
    Matrix logits = exact.Run(ids);
    if (exact.margin() >= margin) return {ids, std::move(logits)};
  }
  return {};
}

class QuantizedForward : public ::testing::TestWithParam<Case> {};

TEST_P(QuantizedForward, LogitsAreTheDefinitionsOnEveryBackend) {
  const Case& c = GetParam();
  const EditableCheckpoint checkpoint = c.Quantized();
  ASSERT_FALSE(checkpoint.tensors.empty());
  const double bound = RelativeBound(2, 40);
  const SafePrompt prompt = FindPrompt(checkpoint, bound);
  ASSERT_FALSE(prompt.logits.empty()) << "no prompt is safe: try more";
  const ScratchDirectory directory;
  checkpoint.Write(directory);
  double largest = 0;
  for (const auto& row : prompt.logits) {
    for (const double logit : row) largest = std::max(largest, fabs(logit));
  }
  for (const std::string& backend : testing::Backends()) {
    const auto model =
        Model::Load(directory.path(), {.num_threads = 2, .backend = backend});
    ASSERT_TRUE(model.ok()) << model.status();
    for (const size_t chunk : {prompt.ids.size(), size_t{1}}) {
      SequenceRunner runner(model->get(), ValueFormat::kF32);
      const auto logits = runner.RunChunks(prompt.ids, chunk);
      ASSERT_TRUE(logits.ok()) << logits.status();
      double difference = 0;
      size_t at = 0;
      for (const auto& row : prompt.logits) {
        for (const double want : row) {
          difference = std::max(difference, std::fabs(want - (*logits)[at++]));
        }
      }
      EXPECT_EQ(at, logits->size());
      EXPECT_LE(difference, bound * largest)
          << backend << ", chunks of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizedForward,
    ::testing::Values(
        Case{"llama_mha", ScaleConstraint::kFree, HeadFormat::kBf16, 32},
        Case{"llama_mha", ScaleConstraint::kM1, HeadFormat::kE2m1, 32},
        Case{"llama_mha", ScaleConstraint::kM2, HeadFormat::kE4m3, 32},
        Case{"llama_mqa_bias", ScaleConstraint::kFree, HeadFormat::kE2m1, 64},
        Case{"llama_mqa_bias", ScaleConstraint::kM2, HeadFormat::kE2m1, 32},
        Case{"llama_f32", ScaleConstraint::kM1, HeadFormat::kE4m3, 128},
        Case{"llama_wide_head", ScaleConstraint::kM2, HeadFormat::kBf16, 64},
        // Low-rank branches, W8A8, and weights alone.
        Case{"llama_mha", ScaleConstraint::kM2, HeadFormat::kE4m3, 32, 8},
        Case{"llama_mqa_bias", ScaleConstraint::kFree, HeadFormat::kBf16, 64, 3,
             ValueFormat::kBf16},
        Case{"llama_mha", ScaleConstraint::kM2, HeadFormat::kE4m3, 32, 0,
             ValueFormat::kE4m3, GridFormat::kE4m3},
        Case{"llama_mha", ScaleConstraint::kM2, HeadFormat::kE4m3, 32, 8,
             ValueFormat::kE4m3, GridFormat::kE4m3},
        Case{"llama_f32", ScaleConstraint::kFree, HeadFormat::kE2m1, 32, 8,
             ValueFormat::kE4m3, GridFormat::kE2m1, ActivationFormat::kNone},
        Case{"llama_mha", ScaleConstraint::kM1, HeadFormat::kE4m3, 32, 0,
             ValueFormat::kE4m3, GridFormat::kE4m3, ActivationFormat::kNone}));

}  // namespace
}  // namespace zqfp
