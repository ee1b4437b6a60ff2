// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_WEIGHT_ROWS_H_
#define ZQFP_KERNELS_CUDA_WEIGHT_ROWS_H_

// FloatRows, PackedRows: four neighbours of a weight row as f32, whatever the
// format. Lane i of a warp takes ColumnOfQuad(i), so that a warp's reads are
// neighbours in memory.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/decode.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/quads.h"

namespace zqfp::kernels::cuda {

// Row-major f32, bf16 or f16.
template <ValueFormat kFormat>
struct FloatRows {
  const void* data;
  int64_t k;
  bool whole;  // quads are aligned

  __device__ float4 Quad(int64_t row, int64_t column) const {
    return ReadQuad<kFormat>(data, row, k, column, whole);
  }
  __device__ static int64_t ColumnOfQuad(int64_t quad) { return quad * 4; }
  __device__ static int64_t PaddedQuads(int64_t quads) { return quads; }
};

// Packed codes times the scales of their groups; the scale of the row is left
// to the output.
template <CodeFormat kCodes>
struct PackedRows {
  PackedWeight w;

  __device__ float4 Quad(int64_t row, int64_t column) const {
    const float scale = GroupScale(row, column);
    const uint8_t* from = w.codes + QuadOffset(w, row, column);
    const int p = row % kSlabRows < 8 ? 0 : 1;  // pairs p and p + 2
    float value[4];
    if constexpr (kCodes == CodeFormat::kE2m1) {
      const uint32_t word = *reinterpret_cast<const uint32_t*>(from);
      for (int i = 0; i < 4; ++i) {
        value[i] = DecodeE2m1(LayoutECode(word, p + i / 2 * 2, i % 2));
      }
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(from);
      const uint32_t low = words.x >> (16 * p), high = words.y >> (16 * p);
      value[0] = DecodeE4m3(low & 0xff);
      value[1] = DecodeE4m3(low >> 8 & 0xff);
      value[2] = DecodeE4m3(high & 0xff);
      value[3] = DecodeE4m3(high >> 8 & 0xff);
    }
    return make_float4(value[0] * scale, value[1] * scale, value[2] * scale,
                       value[3] * scale);
  }

  // Quads of the same thread of all four steps are neighbours.
  __device__ static int64_t ColumnOfQuad(int64_t quad) {
    return quad / 16 * kChunkColumns + quad % 4 * kStepColumns +
           quad % 16 / 4 * 4;
  }
  // Their columns are not in order: a row is read to the end of its chunk.
  __device__ static int64_t PaddedQuads(int64_t quads) {
    return (quads + 15) / 16 * 16;
  }

 private:
  __device__ float GroupScale(int64_t row, int64_t column) const {
    if (w.scale_format == ScaleFormat::kNone) return 1;
    const int64_t at = ScaleIndex(w, row, column);
    if (w.scale_format == ScaleFormat::kE4m3) {
      return DecodePositiveE4m3(w.scales[at]);
    }
    return reinterpret_cast<const float*>(w.scales)[at];
  }
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WEIGHT_ROWS_H_
