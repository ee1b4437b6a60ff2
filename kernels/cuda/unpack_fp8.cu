// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/launch.h"
#include "kernels/cuda/layout_b.h"
#include "kernels/cuda/layout_e.h"
#include "kernels/cuda/unpack_fp8.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// Columns of a lane: those of one step in one row, 16 bytes of e4m3.
struct StepOfRow {
  uint32_t word[4];
};

// Lane t of four has the columns 4 t .. 4 t + 3 of every step s in word[s];
// afterwards it has all columns of step t. In round r a lane sends the word of
// the step that the lane r places before it collects.
__device__ StepOfRow CollectStep(const uint32_t (&word)[4], int lane) {
  const int t = lane % 4;
  StepOfRow collected = {};
#pragma unroll
  for (int round = 0; round < 4; ++round) {
    const int step = (t - round) & 3;
    uint32_t sent = word[0];
#pragma unroll
    for (int s = 1; s < 4; ++s) sent = step == s ? word[s] : sent;
    const int from = (t + round) & 3;
    const uint32_t got = __shfl_sync(0xffffffffu, sent, (lane & ~3) | from);
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      if (from == s) collected.word[s] = got;
    }
  }
  return collected;
}

// The e4m3 of e2m1 * 2^(6 - shift) for four codes of a row: pairs p and p + 2
// of a word of layout E.
__device__ uint32_t FourOfE2m1(uint32_t word, int p, ShiftTable table) {
  uint32_t selector = 0, signs = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t code = LayoutECode(word, p + i / 2 * 2, i % 2);
    selector |= (code & 7) << (4 * i);
    signs |= (code >> 3) << (8 * i + 7);
  }
  return Prmt(table.low, table.high, selector) | signs;
}

// The table of a scale as it is packed, the e4m3 of 2^(8 - shift). Up to a
// shift of 11 every entry's exponent is one less than that of the shift before;
// beyond, entries are subnormal.
__device__ ShiftTable TableOf(uint8_t scale) {
  constexpr ShiftTable kUnshifted = MakeShiftTable(0);
  constexpr ShiftTable kSubnormal[3] = {MakeShiftTable(12), MakeShiftTable(13),
                                        MakeShiftTable(14)};
  const uint32_t shift = 15u - (scale >> 3);
  if (shift == 12) return kSubnormal[0];
  if (shift == 13) return kSubnormal[1];
  if (shift == 14) return kSubnormal[2];
  return {kUnshifted.low - shift * 0x08080800u,
          kUnshifted.high - shift * 0x08080808u};
}

// One warp: one slab and chunk.
template <CodeFormat kCodes>
__global__ void __launch_bounds__(kThreads)
    UnpackFp8Kernel(PackedWeight w, int64_t first_slab, int64_t num_slabs,
                    int64_t k, uint8_t* to) {
  AwaitInputs();
  const int64_t warp = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (warp >= num_slabs * w.num_chunks) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t slab = first_slab + warp / w.num_chunks;
  const int64_t chunk = warp % w.num_chunks;
  const uint8_t* from =
      w.codes + (slab * w.num_chunks + chunk) * ChunkBytes(kCodes) + lane * 16;
#pragma unroll
  for (int half = 0; half < 2; ++half) {  // rows g and g + 8
    const int row = lane / 4 + half * 8;
    uint32_t word[4];
    if constexpr (kCodes == CodeFormat::kE2m1) {
      const uint4 steps = *reinterpret_cast<const uint4*>(from);
      const uint32_t step[4] = {steps.x, steps.y, steps.z, steps.w};
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        const int64_t column = chunk * kChunkColumns + s * kStepColumns;
        const int64_t at = ScaleIndex(w, slab * kSlabRows + row, column);
        word[s] = FourOfE2m1(step[s], half, TableOf(w.scales[at]));
      }
    } else {
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        // Pairs a0..a3 of eight bytes; a row has pairs half and half + 2.
        const uint2 eight =
            *reinterpret_cast<const uint2*>(from + s / 2 * 512 + s % 2 * 8);
        word[s] = half == 0 ? (eight.x & 0xffff) | (eight.y << 16)
                            : (eight.x >> 16) | (eight.y & 0xffff0000u);
      }
    }
    const StepOfRow step = CollectStep(word, lane);
    const int64_t column = chunk * kChunkColumns + lane % 4 * kStepColumns;
    if (column >= k) continue;
    const int64_t n = (slab - first_slab) * kSlabRows + row;
    *reinterpret_cast<uint4*>(to + n * k + column) =
        make_uint4(step.word[0], step.word[1], step.word[2], step.word[3]);
  }
}

}  // namespace

void UnpackFp8(const PackedWeight& w, int64_t first, int64_t count, int64_t k,
               uint8_t* to, const Exec& exec) {
  const int64_t slabs = (count + kSlabRows - 1) / kSlabRows;
  const int64_t threads = slabs * w.num_chunks * 32;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads)),
      .block = dim3(kThreads)};
  const int64_t first_slab = first / kSlabRows;
  if (w.code_format == CodeFormat::kE2m1) {
    Launch(exec, shape, UnpackFp8Kernel<CodeFormat::kE2m1>, w, first_slab,
           slabs, k, to);
  } else {
    Launch(exec, shape, UnpackFp8Kernel<CodeFormat::kE4m3>, w, first_slab,
           slabs, k, to);
  }
}

}  // namespace zqfp::kernels::cuda
