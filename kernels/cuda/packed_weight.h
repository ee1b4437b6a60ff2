// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_PACKED_WEIGHT_H_
#define ZQFP_KERNELS_CUDA_PACKED_WEIGHT_H_

// PackedWeight: where WeightView::packed keeps what, for weights of e2m1 and
// e4m3 codes. One block of memory:
//
//   codes      [num_slabs, num_chunks, 32 lanes, 16 B]      e2m1, layout_e.h
//              [num_slabs, num_chunks, 2, 32 lanes, 16 B]   e4m3
//   scales     [num_slabs, num_groups, 16 rows]             e4m3 or f32
//   row_scale  [num_slabs * 16]                             f32
//
//   w[n, k] = row_scale[n] * scale[n, k / group_size] * code[n, k]
//
// Rows beyond n and columns beyond k have the code 0 and the scale 0. Of e4m3
// codes, half h of a chunk has steps 2 h and 2 h + 1, eight bytes each: the
// pairs a0..a3 of layout_e.h. A shift is kept as the e4m3 of 2^(8 - shift),
// which is exact for 0..14, with 2^-8 in the row's scale. Scales in e4m3 have
// no sign: that of a negative one is in its codes.

#include <stdint.h>

#include <bit>

#include "kernels/core/views.h"
#include "kernels/cuda/layout_e.h"

namespace zqfp::kernels::cuda {

enum class CodeFormat { kE2m1, kE4m3 };
enum class ScaleFormat { kNone, kE4m3, kF32 };

struct PackedWeight {
  CodeFormat code_format;
  ScaleFormat scale_format;
  int64_t num_slabs;
  int64_t num_chunks;
  int64_t group_size;  // a chunk where there is no scale
  int group_shift;     // 2^group_shift = group_size
  int64_t num_groups;  // of a padded row
  const uint8_t* codes;
  const uint8_t* scales;
  const float* row_scale;
  int64_t num_bytes;  // of all
};

constexpr bool HasPackedForm(WeightFormat format) {
  return format != WeightFormat::kF32 && format != WeightFormat::kBf16 &&
         format != WeightFormat::kF16;
}

constexpr CodeFormat CodeFormatOf(WeightFormat format) {
  return format == WeightFormat::kE4m3 || format == WeightFormat::kE4m3Groups
             ? CodeFormat::kE4m3
             : CodeFormat::kE2m1;
}

constexpr ScaleFormat ScaleFormatOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kE2m1Free:
    case WeightFormat::kE4m3Groups:
      return ScaleFormat::kF32;
    case WeightFormat::kE2m1Shift:
    case WeightFormat::kE2m1E4m3:
      return ScaleFormat::kE4m3;
    default:
      return ScaleFormat::kNone;
  }
}

// Of one slab and chunk.
constexpr int64_t ChunkBytes(CodeFormat format) {
  return format == CodeFormat::kE2m1 ? 512 : 1024;
}
constexpr int64_t ScaleBytes(ScaleFormat format) {
  switch (format) {
    case ScaleFormat::kNone:
      return 0;
    case ScaleFormat::kE4m3:
      return 1;
    default:
      return 4;
  }
}

// What lies where in a weight of this shape whose block is `packed`.
inline PackedWeight DescribePacked(const WeightView& weight,
                                   const void* packed) {
  PackedWeight w = {};
  w.code_format = CodeFormatOf(weight.format);
  w.scale_format = ScaleFormatOf(weight.format);
  w.num_slabs = (weight.n + kSlabRows - 1) / kSlabRows;
  w.num_chunks = (weight.k + kChunkColumns - 1) / kChunkColumns;
  w.group_size =
      w.scale_format == ScaleFormat::kNone ? kChunkColumns : weight.group_size;
  w.group_shift = std::countr_zero(static_cast<uint64_t>(w.group_size));
  w.num_groups = NumGroups(w.num_chunks * kChunkColumns, w.group_size);
  const int64_t code_bytes =
      w.num_slabs * w.num_chunks * ChunkBytes(w.code_format);
  const int64_t scale_bytes =
      w.num_slabs * w.num_groups * kSlabRows * ScaleBytes(w.scale_format);
  w.codes = static_cast<const uint8_t*>(packed);
  w.scales = w.codes + code_bytes;
  w.row_scale = reinterpret_cast<const float*>(w.scales + scale_bytes);
  w.num_bytes = code_bytes + scale_bytes +
                w.num_slabs * kSlabRows * int64_t{sizeof(float)};
  return w;
}

// The byte of `codes` at which row n has columns k .. k + 3, k % 4 == 0: a word
// of layout E, or eight bytes of e4m3 codes.
constexpr int64_t QuadOffset(const PackedWeight& w, int64_t n, int64_t k) {
  const int quad = static_cast<int>(k % kChunkColumns / 4);
  const int64_t lane = n % 8 * 4 + ThreadOfQuad(quad);
  const int step = StepOfQuad(quad);
  const int64_t chunk = n / kSlabRows * w.num_chunks + k / kChunkColumns;
  const int64_t begin = chunk * ChunkBytes(w.code_format);
  if (w.code_format == CodeFormat::kE2m1) return begin + lane * 16 + step * 4;
  return begin + step / 2 * 512 + lane * 16 + step % 2 * 8;
}

// The index in `scales` of row n and column k.
constexpr int64_t ScaleIndex(const PackedWeight& w, int64_t n, int64_t k) {
  return (n / kSlabRows * w.num_groups + (k >> w.group_shift)) * kSlabRows +
         ScaleSlot(static_cast<int>(n % kSlabRows));
}

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_PACKED_WEIGHT_H_
