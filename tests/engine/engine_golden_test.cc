// SPDX-License-Identifier: Apache-2.0
// Answers of the engine against those of Hugging Face's generate().
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "tests/assets.h"
#include "tests/engine/tiny.h"

namespace zqfp {
namespace {

using nlohmann::json;
using testing::SourcePath;

TEST(EngineGolden, LongropeTurnsAllKeysAnewBeyondItsShortFactors) {
  const json golden =
      json::parse(std::ifstream(SourcePath("tests/golden/engine_golden.json")));
  const auto model = Model::Load(
      SourcePath("tests/golden/models/" + golden["model"].get<std::string>()),
      {.num_threads = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  const testing::ByteTokenizer tokenizer;  // the ids are what counts
  for (const int64_t page_size : {4, 32}) {
    const auto engine =
        Engine::Create(model->get(), &tokenizer,
                       {.kv_format = KvFormat::kF32, .page_size = page_size});
    ASSERT_TRUE(engine.ok()) << engine.status();
    for (const json& text : golden["longrope"]) {
      const auto wanted = text["greedy"].get<std::vector<int32_t>>();
      const auto generation = (*engine)->Run(
          {text["prompt"].get<std::vector<int32_t>>(),
           {.max_tokens = std::ssize(wanted), .ignore_end_tokens = true}});
      ASSERT_TRUE(generation.ok()) << generation.status();
      EXPECT_EQ(generation->ids, wanted);
    }
  }
}

}  // namespace
}  // namespace zqfp
