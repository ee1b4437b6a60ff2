// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/float_formats.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack_weight.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape Threads(int64_t count) {
  return {
      .grid = dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)),
      .block = dim3(kThreads)};
}

__device__ int64_t ThreadIndex() {
  return int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

// The code at row n and column k, 0 beyond the weight.
__device__ uint8_t CodeAt(const WeightView& weight, CodeFormat format,
                          int64_t n, int64_t k) {
  if (n >= weight.n || k >= weight.k) return 0;
  const uint8_t* bytes = static_cast<const uint8_t*>(weight.data);
  if (format == CodeFormat::kE4m3) return bytes[n * weight.k + k];
  const uint8_t code = UnpackE2m1(bytes + n * ((weight.k + 1) / 2), k);
  if (weight.format != WeightFormat::kE2m1E4m3) return code;
  // Packed scales have no sign: that of the scale moves to its weights.
  const int64_t scale =
      n * NumGroups(weight.k, weight.group_size) + k / weight.group_size;
  return code ^ (weight.scale_code[scale] >> 7 << 3);
}

// The eight codes of a lane for one step, pair by pair.
__device__ void GatherStep(const WeightView& weight, CodeFormat format,
                           int64_t slab, int64_t column, int lane,
                           uint8_t (&codes)[8]) {
  for (int i = 0; i < 8; ++i) {
    const PairPlace place = PlaceOfPair(lane, i / 2);
    codes[i] = CodeAt(weight, format, slab * kSlabRows + place.row,
                      column + place.column + i % 2);
  }
}

// One thread: what one lane reads of one slab and chunk.
__global__ void PackCodesKernel(WeightView weight, PackedWeight w,
                                uint8_t* codes) {
  AwaitInputs();
  const int64_t index = ThreadIndex();
  if (index >= w.num_slabs * w.num_chunks * 32) return;
  const int lane = static_cast<int>(index % 32);
  const int64_t block = index / 32;  // slab and chunk
  uint8_t* to = codes + block * ChunkBytes(w.code_format) + lane * 16;
  for (int step = 0; step < kChunkSteps; ++step) {
    const int64_t column =
        block % w.num_chunks * kChunkColumns + step * kStepColumns;
    uint8_t eight[8];
    GatherStep(weight, w.code_format, block / w.num_chunks, column, lane,
               eight);
    if (w.code_format == CodeFormat::kE2m1) {
      reinterpret_cast<uint32_t*>(to)[step] = PackLayoutE(eight);
    } else {
      uint8_t* half = to + step / 2 * 512 + step % 2 * 8;
      for (int i = 0; i < 8; ++i) half[i] = eight[i];
    }
  }
}

__device__ float GroupScale(const WeightView& weight, int64_t n, int64_t g) {
  const int64_t row = n / weight.scale_rows;
  return weight.group_scale[row * NumGroups(weight.k, weight.group_size) + g];
}

// One thread: the scale of one row and group.
__global__ void PackScalesKernel(WeightView weight, PackedWeight w,
                                 uint8_t* scales) {
  AwaitInputs();
  const int64_t index = ThreadIndex();
  if (index >= w.num_slabs * w.num_groups * kSlabRows) return;
  const int row = static_cast<int>(index % kSlabRows);
  const int64_t block = index / kSlabRows;  // slab and group
  const int64_t n = block / w.num_groups * kSlabRows + row;
  const int64_t g = block % w.num_groups;
  const int64_t num_groups = NumGroups(weight.k, weight.group_size);
  const bool inside = n < weight.n && g < num_groups;
  const int64_t to = block * kSlabRows + ScaleSlot(row);
  if (w.scale_format == ScaleFormat::kF32) {
    reinterpret_cast<float*>(scales)[to] =
        inside ? GroupScale(weight, n, g) : 0;
  } else if (!inside) {
    scales[to] = 0;
  } else if (weight.format == WeightFormat::kE2m1Shift) {
    // 2^(8 - shift): exponent 15 - shift.
    const int shift = weight.shift[n * num_groups + g];
    scales[to] = static_cast<uint8_t>((15 - shift) << 3);
  } else {
    scales[to] = weight.scale_code[n * num_groups + g] & 0x7f;
  }
}

__global__ void PackRowScalesKernel(WeightView weight, PackedWeight w,
                                    float* row_scale) {
  AwaitInputs();
  const int64_t n = ThreadIndex();
  if (n >= w.num_slabs * kSlabRows) return;
  float scale = 1;
  switch (weight.format) {
    case WeightFormat::kE4m3:
      scale = n < weight.n ? weight.row_scale[n] : 0;
      break;
    case WeightFormat::kE2m1Shift:
      scale = n < weight.n ? weight.row_scale[n] * PowerOfTwo(-8) : 0;
      break;
    case WeightFormat::kE2m1E4m3:
      scale = weight.global_scale / weight.global_divisor;
      break;
    default:
      break;
  }
  row_scale[n] = scale;
}

}  // namespace

void PackWeight(const WeightView& weight, void* packed, const Exec& exec) {
  const PackedWeight w = DescribePacked(weight, packed);
  uint8_t* codes = static_cast<uint8_t*>(packed);
  uint8_t* scales = codes + (w.scales - w.codes);
  float* row_scale = reinterpret_cast<float*>(
      codes + (reinterpret_cast<const uint8_t*>(w.row_scale) - w.codes));
  Launch(exec, Threads(w.num_slabs * w.num_chunks * 32), PackCodesKernel,
         weight, w, codes);
  if (w.scale_format != ScaleFormat::kNone) {
    Launch(exec, Threads(w.num_slabs * w.num_groups * kSlabRows),
           PackScalesKernel, weight, w, scales);
  }
  Launch(exec, Threads(w.num_slabs * kSlabRows), PackRowScalesKernel, weight, w,
         row_scale);
}

}  // namespace zqfp::kernels::cuda
