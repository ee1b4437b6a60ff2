// SPDX-License-Identifier: Apache-2.0
// Any options and any logits: either a named error or an id of the vocabulary
// that was not forbidden, and the same one again.
//
// Input: 6 doubles, 2 numbers of 8 bytes, a byte with the number of biases,
// the biases (4 bytes id, 4 bytes value), then logits, 4 bytes each.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <vector>

#include "engine/sampler.h"
#include "kernels/core/check.h"

namespace {

struct Reader {
  const uint8_t* data;
  size_t left;

  template <typename T>
  T Take() {
    T value = {};
    const size_t size = left < sizeof(T) ? left : sizeof(T);
    if (size > 0) memcpy(&value, data, size);
    data += size;
    left -= size;
    return value;
  }
};

zqfp::SamplingOptions TakeOptions(Reader& in) {
  zqfp::SamplingOptions options;
  options.temperature = in.Take<double>();
  options.typical_p = in.Take<double>();
  options.top_p = in.Take<double>();
  options.min_p = in.Take<double>();
  options.repetition_penalty = in.Take<double>();
  options.presence_penalty = in.Take<double>();
  options.frequency_penalty = options.presence_penalty / 2;
  options.top_k = in.Take<int64_t>();
  options.seed = in.Take<uint64_t>();
  const uint8_t num_biases = in.Take<uint8_t>() % 16;
  for (uint8_t i = 0; i < num_biases; ++i) {
    const int32_t id = in.Take<int32_t>();
    options.logit_bias.emplace_back(id, in.Take<float>());
  }
  return options;
}

absl::StatusOr<int32_t> Sample(const zqfp::SamplingOptions& options,
                               std::vector<float> logits) {
  zqfp::Sampler sampler(options);
  const std::vector<int32_t> prompt = {0, 1, 1, -7, 2147483647};
  sampler.AddPrompt(prompt);
  sampler.AddOutput(1);
  sampler.AddOutput(2);
  return sampler.Sample(absl::MakeSpan(logits), 3);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Reader in = {data, size};
  const zqfp::SamplingOptions options = TakeOptions(in);
  std::vector<float> logits;
  while (in.left > 0 && logits.size() < 2000)
    logits.push_back(in.Take<float>());
  const int64_t vocab_size = static_cast<int64_t>(logits.size());
  if (const auto valid = zqfp::ValidateSampling(options, vocab_size);
      !valid.ok()) {
    ZQFP_CHECK(!valid.message().empty());
    return 0;
  }
  const auto id = Sample(options, logits);
  if (!id.ok()) {
    ZQFP_CHECK(!id.status().message().empty());
    return 0;
  }
  ZQFP_CHECK(*id >= 0 && *id < vocab_size);
  ZQFP_CHECK(logits[static_cast<size_t>(*id)] > -HUGE_VALF);
  const auto again = Sample(options, logits);
  ZQFP_CHECK(again.ok() && *again == *id);
  return 0;
}
