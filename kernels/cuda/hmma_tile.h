// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_HMMA_TILE_H_
#define ZQFP_KERNELS_CUDA_HMMA_TILE_H_

// HmmaTile: a tile of rows times tokens on the f16 tensor cores.
//
// Weights are the A operand, 16 rows to a product, tokens the B operand, eight
// to a product. Both are exact in f16 and their products exact in f32; Hopper
// has no mma.sync for e4m3 itself. Per scale group the sum of products is
// multiplied once and added to the total, so that scales of any kind run at one
// speed.
//
// kRowWarps warps lie along the rows, two slabs each; the kDepthWarps groups of
// them split the chunks of K and are added at the end. Weights, scales and
// tokens come through a ring of stages in shared memory, one chunk a stage and
// depth group, filled by asynchronous copies of 16 bytes.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/decode.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// What a tile reads.
struct HmmaOperands {
  PackedWeight weight;
  const uint8_t* tokens;  // [m, k] e4m3
  int64_t m;
  int64_t k;
  bool whole_pieces;  // rows of tokens are made of aligned 16 byte pieces
};

// Which part of it: chunks [begin, end) of one tile.
struct HmmaSegment {
  int64_t first_row;
  int64_t first_token;
  int begin;
  int end;
};

template <CodeFormat kCodeFormat, ScaleFormat kScaleFormat, int kTokenTileCount>
struct HmmaTile {
  static constexpr CodeFormat kCodes = kCodeFormat;
  static constexpr ScaleFormat kScales = kScaleFormat;
  static constexpr int kTokenTiles = kTokenTileCount;
  static constexpr int kRowWarps = RowWarps(kTokenTiles);
  static constexpr int kDepthWarps = kMatmulWarps / kRowWarps;
  static constexpr int kRows = kRowWarps * kWarpRows;
  static constexpr int kTokens = kTokenTiles * kTileTokens;
  static constexpr int kStages = 4;

  // A stage: codes, scales, tokens. Of scales a chunk has up to four groups of
  // 16 columns in e4m3, or two of 32 in f32.
  static constexpr int kSlabCodeBytes =
      static_cast<int>(ChunkBytes(kCodeFormat));
  static constexpr int kSlabScaleBytes = kScales == ScaleFormat::kNone   ? 0
                                         : kScales == ScaleFormat::kE4m3 ? 64
                                                                         : 128;
  static constexpr int kCodesBytes = kRowWarps * kWarpSlabs * kSlabCodeBytes;
  static constexpr int kScalesBytes = kRowWarps * kWarpSlabs * kSlabScaleBytes;
  static constexpr int kStageBytes =
      kCodesBytes + kScalesBytes + kTokens * kChunkColumns;
  static constexpr int kRingBytes = kDepthWarps * kStages * kStageBytes;

  // The sums of a depth group, [kTokens][kSumStride]: four more than the rows,
  // so that a fragment goes to 32 banks.
  static constexpr int kSumStride = kRows + 4;
  static constexpr int kSumBytes = kTokens * kSumStride * 4;
  static constexpr int kSharedBytes =
      kRingBytes > kDepthWarps* kSumBytes ? kRingBytes : kDepthWarps* kSumBytes;

  // What a sum of products is short of: layout E's power of two.
  static constexpr float kUnit =
      kCodes == CodeFormat::kE2m1 ? kLayoutEUnit : 1.0f;

  // Sums of one warp, [slab][token tile][register of the fragment].
  using Sums = float[kWarpSlabs][kTokenTiles][4];
};

// One warp's share of a segment. All warps of a block call the same functions
// together.
template <class Tile>
class HmmaWarp {
 public:
  __device__ HmmaWarp(const HmmaOperands& operands, const HmmaSegment& segment,
                      uint8_t* shared)
      : operands_(operands),
        lane_(static_cast<int>(threadIdx.x % 32)),
        row_warp_(static_cast<int>(threadIdx.x / 32) % Tile::kRowWarps),
        depth_(static_cast<int>(threadIdx.x / 32) / Tile::kRowWarps),
        first_token_(segment.first_token) {
    ring_ = shared + depth_ * Tile::kStages * Tile::kStageBytes;
    const int length = segment.end - segment.begin;
    chunk_begin_ = segment.begin + length * depth_ / Tile::kDepthWarps;
    const int chunk_end =
        segment.begin + length * (depth_ + 1) / Tile::kDepthWarps;
    num_chunks_ = chunk_end - chunk_begin_;
    most_chunks_ = (length + Tile::kDepthWarps - 1) / Tile::kDepthWarps;
    const int64_t slab = segment.first_row / kSlabRows + row_warp_ * kWarpSlabs;
    const int64_t last = operands.weight.num_slabs - 1;
    // A slab beyond the weight is a copy of the last one, and not stored.
    for (int s = 0; s < kWarpSlabs; ++s) {
      slab_[s] = slab + s < last ? slab + s : last;
    }
  }

  // sums = codes times tokens times group scales.
  __device__ void Multiply(typename Tile::Sums& sums) {
    for (int stage = 0; stage < Tile::kStages - 1; ++stage) Fill(stage);
    Clear(sums);
    typename Tile::Sums group;
    Clear(group);
    for (int step = 0; step < NumSteps(); ++step) {
      CopyAsyncWait<Tile::kStages - 2>();
      // The others see the stage, and are done with the one to be filled.
      Meet();
      Fill(step + Tile::kStages - 1);
      if (step < num_chunks_) MultiplyChunk(step, group, sums);
    }
    CopyAsyncWait<0>();
  }

  // Writes the sums to those of the depth group, [token][row].
  __device__ void Store(const typename Tile::Sums& sums, float* shared) const {
    float* to = shared + depth_ * Tile::kTokens * Tile::kSumStride +
                row_warp_ * kWarpRows + lane_ / 4;
    for (int s = 0; s < kWarpSlabs; ++s) {
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        const int token = tile * kTileTokens + lane_ % 4 * 2;
        for (int i = 0; i < 4; ++i) {
          const int row = s * kSlabRows + i / 2 * 8;
          to[(token + i % 2) * Tile::kSumStride + row] = sums[s][tile][i];
        }
      }
    }
  }

 private:
  // With tokens shared by several warps all of the block go on together.
  __device__ int NumSteps() const {
    return Tile::kRowWarps == 1 ? num_chunks_ : most_chunks_;
  }
  __device__ void Meet() const {
    if constexpr (Tile::kRowWarps == 1) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }

  __device__ static void Clear(typename Tile::Sums& sums) {
    for (int s = 0; s < kWarpSlabs; ++s) {
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        for (int i = 0; i < 4; ++i) sums[s][tile][i] = 0;
      }
    }
  }

  __device__ uint8_t* Stage(int step) const {
    return ring_ + step % Tile::kStages * Tile::kStageBytes;
  }
  __device__ uint8_t* Codes(int step, int s) const {
    return Stage(step) + (row_warp_ * kWarpSlabs + s) * Tile::kSlabCodeBytes;
  }
  __device__ uint8_t* Scales(int step, int s) const {
    return Stage(step) + Tile::kCodesBytes +
           (row_warp_ * kWarpSlabs + s) * Tile::kSlabScaleBytes;
  }
  // 16 columns of a token. Its four pieces change places from pair to pair of
  // tokens, so that the lanes' words of a step are in 32 banks.
  __device__ uint8_t* Piece(int step, int token, int piece) const {
    return Stage(step) + Tile::kCodesBytes + Tile::kScalesBytes +
           token * kChunkColumns + ((piece ^ (token >> 1)) & 3) * 16;
  }

  // Starts the copies for a step, this warp's part of them.
  __device__ void Fill(int step) {
    if (step < num_chunks_) {
      const int chunk = chunk_begin_ + step;
      for (int s = 0; s < kWarpSlabs; ++s) CopyCodes(step, chunk, s);
      if constexpr (Tile::kScales != ScaleFormat::kNone) {
        CopyScales(step, chunk);
      }
      for (int tile = row_warp_; tile < Tile::kTokenTiles;
           tile += Tile::kRowWarps) {
        CopyTokens(step, chunk, tile * kTileTokens + lane_ / 4);
      }
    }
    CopyAsyncCommit();
  }

  __device__ void CopyCodes(int step, int chunk, int s) {
    const PackedWeight& w = operands_.weight;
    const uint8_t* from =
        w.codes + (slab_[s] * w.num_chunks + chunk) * Tile::kSlabCodeBytes;
    uint8_t* to = Codes(step, s);
    for (int at = lane_ * 16; at < Tile::kSlabCodeBytes; at += 512) {
      CopyAsync16(to + at, from + at);
    }
  }

  // The scales of the chunk's groups are neighbours; a lane has 16 bytes.
  __device__ void CopyScales(int step, int chunk) {
    const PackedWeight& w = operands_.weight;
    constexpr int kPieces =  // of one group
        kSlabRows * static_cast<int>(ScaleBytes(Tile::kScales)) / 16;
    const int group_size = static_cast<int>(w.group_size);
    const int num_groups =
        group_size < kChunkColumns ? kChunkColumns / group_size : 1;
    const int pieces = num_groups * kPieces;
    const int s = lane_ / pieces;
    if (s >= kWarpSlabs) return;
    // No index that the compiler does not know: it would put slab_ into memory.
    const int64_t slab = s == 0 ? slab_[0] : slab_[1];
    const int64_t group =
        slab * w.num_groups + int64_t{chunk} * kChunkColumns / group_size;
    const int at = lane_ % pieces * 16;
    CopyAsync16(Scales(step, s) + at, w.scales + group * kPieces * 16 + at);
  }

  // A token beyond the last is left out: nothing of its column is stored, and a
  // column of the product depends on no other.
  __device__ void CopyTokens(int step, int chunk, int token) {
    const int64_t row = first_token_ + token;
    if (row >= operands_.m) return;
    const int64_t column = int64_t{chunk} * kChunkColumns + lane_ % 4 * 16;
    uint8_t* to = Piece(step, token, lane_ % 4);
    const uint8_t* from = operands_.tokens + row * operands_.k;
    if (operands_.whole_pieces && column < operands_.k) {
      CopyAsync16(to, from + column);
      return;
    }
    uint32_t words[4] = {0, 0, 0, 0};
    for (int i = 0; i < 16; ++i) {
      if (column + i >= operands_.k) break;
      words[i / 4] |= uint32_t{from[column + i]} << (i % 4 * 8);
    }
    *reinterpret_cast<uint4*>(to) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }

  // The A fragments of the chunk's four steps, one slab.
  struct Fragments {
    uint4 words[Tile::kSlabCodeBytes / 512];
  };
  __device__ Fragments LoadCodes(int step, int s) const {
    Fragments fragments;
    for (int half = 0; half < Tile::kSlabCodeBytes / 512; ++half) {
      fragments.words[half] = *reinterpret_cast<const uint4*>(
          Codes(step, s) + half * 512 + lane_ * 16);
    }
    return fragments;
  }

  __device__ static uint32_t WordOf(uint4 four, int i) {
    return i == 0 ? four.x : i == 1 ? four.y : i == 2 ? four.z : four.w;
  }

  __device__ static void DecodeStep(const Fragments& fragments, int k_step,
                                    uint32_t (&a)[4]) {
    if constexpr (Tile::kCodes == CodeFormat::kE2m1) {
      const F16Pairs pairs = UnpackLayoutE(WordOf(fragments.words[0], k_step));
      for (int i = 0; i < 4; ++i) a[i] = pairs.pair[i];
    } else {
      const uint4 words = fragments.words[k_step / 2];
      for (int i = 0; i < 2; ++i) {
        const uint32_t word = WordOf(words, k_step % 2 * 2 + i);
        a[2 * i] = F16x2FromE4m3x2(static_cast<uint16_t>(word));
        a[2 * i + 1] = F16x2FromE4m3x2(static_cast<uint16_t>(word >> 16));
      }
    }
  }

  __device__ void LoadTokens(int step, int k_step, int tile,
                             uint32_t (&b)[2]) const {
    const int token = tile * kTileTokens + lane_ / 4;
    const uint32_t word = *reinterpret_cast<const uint32_t*>(
        Piece(step, token, k_step) + lane_ % 4 * 4);
    b[0] = F16x2FromE4m3x2(static_cast<uint16_t>(word));
    b[1] = F16x2FromE4m3x2(static_cast<uint16_t>(word >> 16));
  }

  // Bit i: a group (or what this warp has of it) ends with step i of the chunk.
  __device__ uint32_t GroupEnds(int step) const {
    const int64_t group_size = operands_.weight.group_size;
    if (group_size == 16) return 0b1111;
    if (group_size == 32) return 0b1010;
    const int per_group = static_cast<int>(group_size) / kChunkColumns;
    const bool ends =
        (chunk_begin_ + step + 1) % per_group == 0 || step + 1 == num_chunks_;
    return ends ? 0b1000 : 0;
  }

  // Adds the sum of the group that ends with this step to the total.
  __device__ void EndGroup(int step, int k_step, typename Tile::Sums& group,
                           typename Tile::Sums& sums) const {
    const int group_size = static_cast<int>(operands_.weight.group_size);
    const int index = group_size == 16   ? k_step
                      : group_size == 32 ? k_step / 2
                                         : 0;
    for (int s = 0; s < kWarpSlabs; ++s) {
      const float2 scale = LoadScales(Scales(step, s), index);
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        for (int i = 0; i < 4; ++i) {
          sums[s][tile][i] = fmaf(i < 2 ? scale.x : scale.y, group[s][tile][i],
                                  sums[s][tile][i]);
        }
      }
    }
    Clear(group);
  }

  // Of rows lane / 4 and lane / 4 + 8.
  __device__ float2 LoadScales(const uint8_t* scales, int index) const {
    const int at = index * kSlabRows + lane_ / 4 * 2;
    if constexpr (Tile::kScales == ScaleFormat::kF32) {
      return *reinterpret_cast<const float2*>(scales + at * 4);
    }
    const uint32_t two = *reinterpret_cast<const uint16_t*>(scales + at);
    return make_float2(DecodeFiniteE4m3(two & 0xff),
                       DecodeFiniteE4m3(two >> 8));
  }

  __device__ void MultiplyChunk(int step, typename Tile::Sums& group,
                                typename Tile::Sums& sums) const {
    Fragments fragments[kWarpSlabs];
    for (int s = 0; s < kWarpSlabs; ++s) fragments[s] = LoadCodes(step, s);
    const uint32_t ends = GroupEnds(step);
#pragma unroll
    for (int k_step = 0; k_step < kChunkSteps; ++k_step) {
      uint32_t a[kWarpSlabs][4];
      for (int s = 0; s < kWarpSlabs; ++s) {
        DecodeStep(fragments[s], k_step, a[s]);
      }
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        uint32_t b[2];
        LoadTokens(step, k_step, tile, b);
        for (int s = 0; s < kWarpSlabs; ++s) {
          if constexpr (Tile::kScales == ScaleFormat::kNone) {
            MmaF16(sums[s][tile], a[s], b);
          } else {
            MmaF16(group[s][tile], a[s], b);
          }
        }
      }
      if constexpr (Tile::kScales != ScaleFormat::kNone) {
        if (ends >> k_step & 1) EndGroup(step, k_step, group, sums);
      }
    }
  }

  const HmmaOperands& operands_;
  const int lane_;
  const int row_warp_;
  const int depth_;
  const int64_t first_token_;
  uint8_t* ring_;
  int chunk_begin_;
  int num_chunks_;   // of this depth group
  int most_chunks_;  // of any depth group
  int64_t slab_[kWarpSlabs];
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_HMMA_TILE_H_
