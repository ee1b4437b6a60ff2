// SPDX-License-Identifier: Apache-2.0
// Comparisons of tiny models against transformers and numpy in f64, recorded
// by tests/golden/comparison_golden.py.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/comparison.h"
#include "tests/assets.h"
#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using nlohmann::json;
using testing::SourcePath;

// f32 forward passes of such models differ from f64 by some 1e-6 of a logit;
// a divergence moves by that times its slope.
constexpr double kTolerance = 1e-4;
// A rounding to bf16 that falls the other way, of a few in a hundred thousand.
constexpr double kFloorTolerance = 2e-2;

// The ids of the script: byte % 47 + 1, after a 0.
class FoldingTokenizer : public testing::ByteTokenizer {
 public:
  FoldingTokenizer() { bos_id_ = 0; }
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override {
    std::vector<int32_t> ids;
    if (options.add_special_tokens) ids.push_back(0);
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c) % 47 + 1);
    return ids;
  }
};

std::unique_ptr<Model> Load(const std::string& name,
                            const ModelOptions& options = {}) {
  auto model = Model::Load(SourcePath("tests/golden/models/" + name), options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

void ExpectNear(const std::vector<double>& found, const json& wanted,
                double tolerance, const std::string& what) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const double want = wanted[i];
    EXPECT_NEAR(found[i], want, tolerance * std::max(0.01, std::abs(want)))
        << what << " " << i;
  }
}

void ExpectBuckets(const std::vector<DivergenceBucket>& found,
                   const json& wanted, const std::string& what) {
  ASSERT_EQ(found.size(), wanted.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    ExpectNear({static_cast<double>(found[i].num_tokens), found[i].mean,
                found[i].median, found[i].p99},
               wanted[i], kTolerance, what + " bucket " + std::to_string(i));
  }
}

void ExpectCase(const ComparisonResult& r, const json& c,
                const std::string& what) {
  EXPECT_EQ(r.model.num_tokens, c["num_tokens"].get<int64_t>()) << what;
  const Spread& kld = r.divergence;
  ExpectNear({kld.mean, kld.standard_error, kld.median, kld.p95, kld.p99,
              kld.p999, kld.max},
             c["kld"], kTolerance, what + " kld");
  ExpectNear({r.top1_agreement, r.top1_agreement_standard_error},
             c["top1_agreement"], kTolerance, what + " agreement");
  const Spread& d = r.delta_p;
  ExpectNear({d.mean, d.standard_error, d.rms, d.min, d.p01, d.p05, d.p25,
              d.median, d.p75, d.p95, d.p99, d.max},
             c["delta_p"], kTolerance, what + " delta p");
  ExpectNear({r.model.loss, r.model.standard_error}, c["loss"], kTolerance,
             what + " loss");
  ExpectNear({r.original.loss, r.original.standard_error}, c["original_loss"],
             kTolerance, what + " loss of the original");
  ExpectNear({r.ln_perplexity_ratio, r.ln_perplexity_ratio_standard_error},
             c["ln_ratio"], kTolerance, what + " ratio");
  const Spread& floor = r.noise_floor->divergence;
  const json& noise = c["noise_floor"];
  EXPECT_NEAR(floor.mean / noise[0].get<double>(), 1, kFloorTolerance) << what;
  EXPECT_NEAR(floor.median / noise[2].get<double>(), 1, kFloorTolerance)
      << what;
  EXPECT_NEAR(r.noise_floor->top1_agreement, noise[4].get<double>(), 0.009)
      << what << ": at most one token of 124";
  ExpectBuckets(r.by_position, c["by_position"], what + " by position");
  ExpectBuckets(r.by_confidence, c["by_confidence"], what + " by confidence");
}

TEST(ComparisonGolden, EqualsTransformersAndNumpy) {
  std::ifstream file(SourcePath("tests/golden/comparison.json"));
  const json golden = json::parse(file);
  const FoldingTokenizer tokenizer;
  ASSERT_FALSE(golden["cases"].empty());
  for (const json& c : golden["cases"]) {
    const std::string name = c["original"];
    const auto original = Load(name), model = Load(c["model"]);
    const auto rounded =
        Load(name, {.simulated_activations = ActivationFormat::kBf16});
    ASSERT_TRUE(original && model && rounded);
    const auto protocol = ParseProtocol(c["protocol"].get<std::string>());
    ASSERT_TRUE(protocol.ok());
    const Corpus corpus = {.texts = c["texts"].get<std::vector<std::string>>(),
                           .is_documents = *protocol == Protocol::kLmEval};
    const auto result = Compare({.original = {original.get(), &tokenizer},
                                 .model = {model.get(), &tokenizer},
                                 .rounded_original = rounded.get(),
                                 .noise_floor_stride = 1},
                                corpus,
                                {.protocol = *protocol,
                                 .window = golden["window"],
                                 .stride = *protocol == Protocol::kSliding
                                               ? golden["stride"].get<int64_t>()
                                               : 0});
    ASSERT_TRUE(result.ok()) << result.status();
    ExpectCase(*result, c, name + " " + std::string(ToString(*protocol)));
  }
}

}  // namespace
}  // namespace zqfp
