// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_blocks.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <atomic>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"

namespace zqfp {
namespace {

using kernels::WeightFormat;

constexpr int64_t kBlock = 32;
constexpr int64_t kQ8Bytes = 34;
constexpr int64_t kMxfp4Bytes = 17;
// 6 * 2^(b - 127) is the largest value of a block: finite in f32 up to here.
constexpr int kMaxExponent = 252;
// Below, the smallest scale of a window is not a normal f32: such rows (nobody
// has them) take free scales, which need one multiplication only.
constexpr int kMinShiftExponent = kernels::kMaxShift + 1;

// Code of element `index` of a block.
uint8_t CodeOf(const uint8_t* block, int64_t index) {
  const uint8_t byte = block[1 + index % 16];
  return index < 16 ? byte & 15 : byte >> 4;
}

// Only +0 and -0: whatever the exponent, the block stands for zeros.
bool IsZero(const uint8_t* block) {
  uint8_t any = 0;
  for (int64_t i = 1; i < kMxfp4Bytes; ++i) any |= block[i];
  return (any & 0x77) == 0;
}

void ExpandQ8(const uint8_t* block, float* out) {
  uint16_t code;
  memcpy(&code, block, 2);
  const float scale = kernels::F16ToFloat(code);
  for (int64_t i = 0; i < kBlock; ++i) {
    out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

void ExpandMxfp4(const uint8_t* block, float* out) {
  const float scale = kernels::Ue8m0ToFloat(block[0]);
  for (int64_t i = 0; i < kBlock; ++i) {
    out[i] = scale * kernels::E2m1ToFloat(CodeOf(block, i));
  }
}

bool IsBad(DType dtype, const uint8_t* block) {
  if (dtype == DType::kMxfp4Blocks) {
    return block[0] > kMaxExponent && !(block[0] < 255 && IsZero(block));
  }
  uint16_t code;
  memcpy(&code, block, 2);
  return (code & 0x7c00) == 0x7c00;
}

// Largest exponent of a row's blocks that are not zeros only, -1 without one.
int LargestExponent(const uint8_t* row, int64_t groups) {
  int largest = -1;
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* block = row + g * kMxfp4Bytes;
    if (!IsZero(block)) largest = std::max<int>(largest, block[0]);
  }
  return largest;
}

bool FitsWindow(const uint8_t* row, int64_t groups) {
  const int largest = LargestExponent(row, groups);
  if (largest < 0) return true;
  if (largest < kMinShiftExponent) return false;
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* block = row + g * kMxfp4Bytes;
    if (!IsZero(block) && largest - block[0] > kernels::kMaxShift) return false;
  }
  return true;
}

// Where the parts of a re-laid weight lie in its memory.
struct Layout {
  int64_t n = 0, groups = 0;
  bool shifts = true;

  int64_t packed_bytes() const { return n * groups * kBlock / 2; }
  int64_t scale_bytes() const { return 4 * (shifts ? n : n * groups); }
  int64_t total() const {
    return packed_bytes() + scale_bytes() + (shifts ? n * groups : 0);
  }
};

void RelayRow(const uint8_t* row, int64_t n, const Layout& layout,
              uint8_t* memory) {
  const int64_t groups = layout.groups;
  auto* scales = reinterpret_cast<float*>(memory + layout.packed_bytes());
  uint8_t* shifts = memory + layout.packed_bytes() + layout.scale_bytes();
  const int largest = LargestExponent(row, groups);
  if (layout.shifts)
    scales[n] = largest < 0
                    ? 1.0f
                    : kernels::Ue8m0ToFloat(static_cast<uint8_t>(largest));
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* block = row + g * kMxfp4Bytes;
    uint8_t* packed = memory + (n * groups + g) * kBlock / 2;
    for (int64_t i = 0; i < kBlock; i += 2) {
      packed[i / 2] = kernels::PackE2m1(CodeOf(block, i), CodeOf(block, i + 1));
    }
    const bool zero = IsZero(block);
    if (layout.shifts) {
      shifts[n * groups + g] =
          zero ? 0 : static_cast<uint8_t>(largest - block[0]);
    } else {
      scales[n * groups + g] = zero ? 1.0f : kernels::Ue8m0ToFloat(block[0]);
    }
  }
}

}  // namespace

void ExpandBlocks(const Tensor& tensor, int64_t begin, int64_t end,
                  float* out) {
  const bool q8 = tensor.dtype == DType::kQ8Blocks;
  for (int64_t at = begin; at < end; at += kBlock, out += kBlock) {
    const int64_t block = at / kBlock;
    if (q8) {
      ExpandQ8(tensor.data + block * kQ8Bytes, out);
    } else {
      ExpandMxfp4(tensor.data + block * kMxfp4Bytes, out);
    }
  }
}

absl::StatusOr<MappedFile> ExpandTensor(const Tensor& tensor,
                                        kernels::ThreadPool& pool) {
  const int64_t blocks = NumElements(tensor) / kBlock;
  const kernels::Exec exec = {.parallel = pool.parallel()};
  return MappedFile::Filled(blocks * kBlock * 4, [&](uint8_t* memory) {
    auto* out = reinterpret_cast<float*>(memory);
    kernels::ParallelFor(exec, blocks, 256,
                         [&](int64_t begin, int64_t end, int) {
                           ExpandBlocks(tensor, begin * kBlock, end * kBlock,
                                        out + begin * kBlock);
                         });
  });
}

absl::Status CheckBlocks(const Tensor& tensor, kernels::ThreadPool& pool) {
  const int64_t bytes = ByteSize(tensor.dtype);
  const int64_t blocks = tensor.num_bytes / bytes;
  std::atomic<int64_t> first = blocks;
  const kernels::Exec exec = {.parallel = pool.parallel()};
  kernels::ParallelFor(
      exec, blocks, 1024, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          if (!IsBad(tensor.dtype, tensor.data + i * bytes)) continue;
          int64_t known = first.load();
          while (i < known && !first.compare_exchange_weak(known, i)) {
          }
          return;
        }
      });
  if (first == blocks) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "{}: {}: want finite numbers, found a scale that is none or leads beyond "
      "f32 at element {}",
      tensor.file, tensor.name, first.load() * kBlock));
}

absl::StatusOr<RelaidWeight> RelayMxfp4(const Tensor& tensor,
                                        kernels::ThreadPool& pool) {
  Layout layout = {.n = tensor.shape[0], .groups = tensor.shape[1] / kBlock};
  const int64_t row_bytes = layout.groups * kMxfp4Bytes;
  const kernels::Exec exec = {.parallel = pool.parallel()};
  std::atomic<bool> fits = true;
  kernels::ParallelFor(
      exec, layout.n, 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t n = begin; n < end; ++n) {
          if (!FitsWindow(tensor.data + n * row_bytes, layout.groups))
            fits = false;
        }
      });
  layout.shifts = fits;
  auto memory = MappedFile::Filled(layout.total(), [&](uint8_t* bytes) {
    kernels::ParallelFor(
        exec, layout.n, 16, [&](int64_t begin, int64_t end, int) {
          for (int64_t n = begin; n < end; ++n) {
            RelayRow(tensor.data + n * row_bytes, n, layout, bytes);
          }
        });
  });
  if (!memory.ok()) return memory.status();
  const uint8_t* bytes = memory->bytes().data();
  const auto* scales =
      reinterpret_cast<const float*>(bytes + layout.packed_bytes());
  kernels::WeightView view = {.group_size = kBlock, .data = bytes};
  if (layout.shifts) {
    view.format = WeightFormat::kE2m1Shift;
    view.row_scale = scales;
    view.shift = bytes + layout.packed_bytes() + layout.scale_bytes();
  } else {
    view.format = WeightFormat::kE2m1Free;
    view.group_scale = scales;
  }
  return RelaidWeight{*std::move(memory), view};
}

}  // namespace zqfp
