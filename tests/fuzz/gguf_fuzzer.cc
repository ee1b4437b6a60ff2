// SPDX-License-Identifier: Apache-2.0
// Any bytes as a GGUF file: either a named error, or tensors that lie inside
// the bytes and apart from each other; its config and its tokenizer are then
// sound or named errors, too.

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "engine/model_tokenizer.h"
#include "kernels/core/check.h"
#include "models/config.h"
#include "models/finite_scan.h"
#include "models/gguf.h"
#include "models/gguf_blocks.h"
#include "models/gguf_config.h"

namespace zqfp {
namespace {

void UseTensors(const Gguf& gguf, absl::Span<const uint8_t> file) {
  static kernels::ThreadPool& pool = *new kernels::ThreadPool(1);
  const uint8_t* next = file.data();
  for (const Tensor& tensor : gguf.tensors()) {
    ZQFP_CHECK(tensor.data >= next && tensor.num_bytes > 0);
    next = tensor.data + tensor.num_bytes;
    ZQFP_CHECK(next <= file.data() + file.size());
    ZQFP_CHECK(!Describe(tensor).empty());
    if (BlockElements(tensor.dtype) == 1) {
      // Reads the end, so that the sanitizer sees a span that is too long.
      volatile uint8_t sink = tensor.data[tensor.num_bytes - 1];
      (void)sink;
      continue;
    }
    if (!CheckBlocks(tensor, pool).ok()) continue;
    std::vector<float> floats(static_cast<size_t>(NumElements(tensor)));
    ExpandBlocks(tensor, 0, NumElements(tensor), floats.data());
    if (tensor.dtype == DType::kMxfp4Blocks && tensor.shape.size() == 2) {
      ZQFP_CHECK(RelayMxfp4(tensor, pool).ok());
    }
  }
}

void UseTokenizer(const Gguf& gguf) {
  const auto vocabulary = ReadGgufVocabulary(gguf);
  if (!vocabulary.ok()) return;
  const auto tokenizer = MakeGgufTokenizer(*vocabulary);
  if (!tokenizer.ok()) {
    ZQFP_CHECK(!tokenizer.status().message().empty());
    return;
  }
  const auto ids = (*tokenizer)->Encode("a <s>abc 12\n", {});
  if (ids.ok()) (*tokenizer)->Decode(*ids);
}

}  // namespace
}  // namespace zqfp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> file(data, size);
  const auto gguf = zqfp::Gguf::Parse(file, "fuzz.gguf");
  if (!gguf.ok()) {
    ZQFP_CHECK(!gguf.status().message().empty());
    return 0;
  }
  zqfp::UseTensors(*gguf, file);
  const auto config = zqfp::GgufConfigText(*gguf);
  if (config.ok()) (void)zqfp::ParseConfig(*config, "fuzz.gguf");
  zqfp::UseTokenizer(*gguf);
  return 0;
}
