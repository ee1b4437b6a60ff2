// SPDX-License-Identifier: Apache-2.0
#include "models/finite_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "kernels/core/parallel.h"
#include "models/gguf_blocks.h"

namespace zqfp {
namespace {

constexpr int64_t kBlock = 4096;  // elements looked at between two checks

// Index of the first element in [begin, end) whose exponent bits are all ones,
// or `end`. Blocks are judged by one branch-free loop, which vectorises.
template <typename Word>
int64_t FirstBad(const Word* data, int64_t begin, int64_t end, Word mask) {
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t stop = std::min(end, at + kBlock);
    Word bad = 0;
    for (int64_t i = at; i < stop; ++i) {
      bad |= static_cast<Word>((data[i] & mask) == mask);
    }
    if (bad == 0) continue;
    for (int64_t i = at; i < stop; ++i) {
      if ((data[i] & mask) == mask) return i;
    }
  }
  return end;
}

template <typename Word>
int64_t FirstBadOf(const Tensor& tensor, Word mask, kernels::ThreadPool& pool) {
  const Word* data = reinterpret_cast<const Word*>(tensor.data);
  const int64_t count = tensor.num_bytes / static_cast<int64_t>(sizeof(Word));
  std::atomic<int64_t> first = count;
  kernels::Exec exec = {.parallel = pool.parallel()};
  kernels::ParallelFor(
      exec, count, kBlock, [&](int64_t begin, int64_t end, int) {
        const int64_t bad = FirstBad(data, begin, end, mask);
        if (bad == end) return;
        int64_t known = first.load();
        while (bad < known && !first.compare_exchange_weak(known, bad)) {
        }
      });
  return first == count ? -1 : first.load();
}

}  // namespace

absl::Status CheckFinite(const Tensor& tensor, kernels::ThreadPool& pool) {
  int64_t bad = -1;
  switch (tensor.dtype) {
    case DType::kF32:
      bad = FirstBadOf<uint32_t>(tensor, 0x7f800000u, pool);
      break;
    case DType::kBf16:
      bad = FirstBadOf<uint16_t>(tensor, 0x7f80, pool);
      break;
    case DType::kF16:
      bad = FirstBadOf<uint16_t>(tensor, 0x7c00, pool);
      break;
    case DType::kE4m3:
      bad = FirstBadOf<uint8_t>(tensor, 0x7f, pool);
      break;
    case DType::kQ8Blocks:
    case DType::kMxfp4Blocks:
      return CheckBlocks(tensor, pool);
    default:
      break;
  }
  if (bad < 0) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("{}: {}: want finite numbers, found a NaN or an infinity at "
                  "element {}",
                  tensor.file, tensor.name, bad));
}

}  // namespace zqfp
