// SPDX-License-Identifier: Apache-2.0
// Logits and greedy ids against Hugging Face's transformers, recorded by
// tests/golden/model_golden.py, on every backend of this machine.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "kernels/backend.h"
#include "models/model.h"
#include "nlohmann/json.hpp"
#include "tests/assets.h"
#include "tests/backends.h"
#include "tests/models/logit_bound.h"
#include "tests/models/sequence_runner.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using nlohmann::json;
using ::zqfp::testing::AssetPath;
using ::zqfp::testing::LogitBound;
using ::zqfp::testing::SequenceRunner;
using ::zqfp::testing::SourcePath;

json ReadJson(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

std::vector<std::string> Variants() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(SourcePath("tests/golden/models"))) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LogitsAndGreedyIdsOfEveryBackend) {
  const std::string directory = SourcePath("tests/golden/models/" + GetParam());
  const json golden = ReadJson(directory + "/golden.json");
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();
  for (const std::string& backend : testing::Backends()) {
    const auto model =
        Model::Load(directory, {.num_threads = 2, .backend = backend});
    ASSERT_TRUE(model.ok()) << model.status();
    const size_t vocab_size =
        static_cast<size_t>((*model)->config().vocab_size);
    for (const size_t chunk : {prompt.size(), size_t{7}}) {
      SequenceRunner runner(model->get(), ValueFormat::kF32);
      const auto logits = runner.RunChunks(prompt, chunk);
      ASSERT_TRUE(logits.ok()) << logits.status();
      const size_t first = golden["first_row"].get<size_t>();
      double largest = 0, difference = 0;
      for (size_t row = 0; row < golden["logits"].size(); ++row) {
        for (size_t i = 0; i < vocab_size; ++i) {
          const double want = golden["logits"][row][i].get<double>();
          const double found = (*logits)[(first + row) * vocab_size + i];
          largest = std::max(largest, std::fabs(want));
          difference = std::max(difference, std::fabs(want - found));
        }
      }
      EXPECT_LE(difference, LogitBound((*model)->config(), largest))
          << backend << ", chunks of " << chunk;
      EXPECT_EQ(runner.Greedy(*logits, 20),
                golden["greedy"].get<std::vector<int32_t>>())
          << backend << ", chunks of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param; });

// The ids that model_golden.py makes too.
std::vector<int32_t> PseudoRandomIds(size_t count, int64_t vocab_size) {
  std::vector<int32_t> ids = {1};
  uint64_t state = 12345;
  while (ids.size() < count) {
    state = (state * 1103515245 + 12345) % (uint64_t{1} << 31);
    ids.push_back(static_cast<int32_t>(
        3 + (state >> 8) % static_cast<uint64_t>(vocab_size - 3)));
  }
  return ids;
}

double MeanLoss(const std::vector<float>& logits,
                const std::vector<int32_t>& ids, size_t vocab_size) {
  double total = 0;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const float* row = logits.data() + t * vocab_size;
    const double largest = *std::max_element(row, row + vocab_size);
    double sum = 0;
    for (size_t i = 0; i < vocab_size; ++i) sum += std::exp(row[i] - largest);
    total += largest + std::log(sum) - row[ids[t + 1]];
  }
  return total / static_cast<double>(ids.size() - 1);
}

TEST(RealModelsTest, LossAndGreedyIdsEqualHuggingFace) {
  const json golden =
      ReadJson(SourcePath("tests/golden/models/real_models.json"));
  for (const auto& [name, want] : golden.items()) {
    const std::string directory = AssetPath("models/" + name);
    if (directory.empty()) GTEST_SKIP() << "NOT RUN: no " << name;
    for (const std::string& backend : testing::Backends()) {
      const auto model =
          Model::Load(directory, {.num_threads = 2, .backend = backend});
      ASSERT_TRUE(model.ok()) << model.status();
      const Config& config = (*model)->config();
      const auto ids = PseudoRandomIds(want["num_ids"], config.vocab_size);
      SequenceRunner runner((*model).get(), ValueFormat::kF32);
      const auto logits = runner.RunChunks(ids, 64);
      ASSERT_TRUE(logits.ok()) << logits.status();
      const double loss =
          MeanLoss(*logits, ids, static_cast<size_t>(config.vocab_size));
      EXPECT_NEAR(loss / want["loss"].get<double>(), 1.0, 1e-5)
          << name << " " << backend;
      SequenceRunner start((*model).get(), ValueFormat::kF32);
      const std::vector<int32_t> prompt(ids.begin(), ids.begin() + 20);
      EXPECT_EQ(start.Greedy(*start.RunChunks(prompt, 20), 20),
                want["greedy"].get<std::vector<int32_t>>())
          << name << " " << backend;
    }
  }
}

}  // namespace
}  // namespace zqfp
