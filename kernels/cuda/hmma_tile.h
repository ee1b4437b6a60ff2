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
        depth_(static_cast<int>(threadIdx.x / 32) / Tile::kRowWarps) {
    const PackedWeight& w = operands.weight;
    const int length = segment.end - segment.begin;
    chunk_begin_ = segment.begin + length * depth_ / Tile::kDepthWarps;
    const int chunk_end =
        segment.begin + length * (depth_ + 1) / Tile::kDepthWarps;
    num_chunks_ = chunk_end - chunk_begin_;
    most_chunks_ = (length + Tile::kDepthWarps - 1) / Tile::kDepthWarps;
    ring_ = shared + depth_ * Tile::kStages * Tile::kStageBytes;
    const int64_t slab = segment.first_row / kSlabRows + row_warp_ * kWarpSlabs;
    for (int s = 0; s < kWarpSlabs; ++s) {
      codes_[s] = w.codes + lane_ * 16 +
                  SlabWithin(w, slab + s) * w.num_chunks * Tile::kSlabCodeBytes;
    }
    if constexpr (Tile::kScales != ScaleFormat::kNone) FindScales(w, slab);
    tokens_ = operands.tokens + lane_ % 4 * 16 +
              (segment.first_token + row_warp_ * kTileTokens + lane_ / 4) *
                  operands.k;
    tokens_left_ = operands.m - segment.first_token;
  }

  // sums = codes times tokens times group scales.
  __device__ void Multiply(typename Tile::Sums& sums) {
#pragma unroll 1  // Fill is long, and a small matmul's code is read cold
    for (int stage = 0; stage < Tile::kStages - 1; ++stage) Fill(stage);
    Clear(sums);
    typename Tile::Sums group;
    Clear(group);
#pragma unroll 1
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

  // A slab beyond the weight is a copy of the last one, and not stored.
  __device__ static int64_t SlabWithin(const PackedWeight& w, int64_t slab) {
    return slab < w.num_slabs ? slab : w.num_slabs - 1;
  }

  // The scales of a chunk's groups are neighbours; a lane has 16 bytes of them.
  __device__ void FindScales(const PackedWeight& w, int64_t slab) {
    constexpr int kGroupBytes =
        kSlabRows * static_cast<int>(ScaleBytes(Tile::kScales));
    const int bytes =  // of one slab and chunk
        w.group_shift < 6 ? kGroupBytes << (6 - w.group_shift) : kGroupBytes;
    const int s = lane_ * 16 / bytes;
    const int at = lane_ * 16 % bytes;
    copies_scales_ = s < kWarpSlabs;
    scales_to_ = static_cast<int>(Scales(0, s) - ring_) + at;
    scales_ =
        w.scales + at + SlabWithin(w, slab + s) * w.num_groups * kGroupBytes;
  }

  // Starts the copies for a step, this warp's part of them.
  __device__ void Fill(int step) {
    if (step < num_chunks_) {
      const int64_t chunk = chunk_begin_ + step;
      for (int s = 0; s < kWarpSlabs; ++s) CopyCodes(step, chunk, s);
      if constexpr (Tile::kScales != ScaleFormat::kNone) {
        CopyScales(step, chunk);
      }
      for (int tile = 0; tile < Tile::kTokenTiles; tile += Tile::kRowWarps) {
        CopyTokens(step, chunk * kChunkColumns, tile);
      }
    }
    CopyAsyncCommit();
  }

  __device__ void CopyCodes(int step, int64_t chunk, int s) {
    const uint8_t* from = codes_[s] + chunk * Tile::kSlabCodeBytes;
    uint8_t* to = Codes(step, s) + lane_ * 16;
    for (int at = 0; at < Tile::kSlabCodeBytes; at += 512) {
      CopyAsync16(to + at, from + at);
    }
  }

  __device__ void CopyScales(int step, int64_t chunk) {
    if (!copies_scales_) return;
    const int64_t group = chunk * kChunkColumns >> operands_.weight.group_shift;
    CopyAsync16(Stage(step) + scales_to_,
                scales_ + group * kSlabRows * ScaleBytes(Tile::kScales));
  }

  // Of the tile `tile` after the first one of this warp. A token beyond the
  // last is left out: nothing of its column is stored, and a column of the
  // product depends on no other.
  __device__ void CopyTokens(int step, int64_t column, int tile) {
    const int token = (tile + row_warp_) * kTileTokens + lane_ / 4;
    if (token >= tokens_left_) return;
    const uint8_t* from = tokens_ + tile * kTileTokens * operands_.k + column;
    uint8_t* to = Piece(step, token, lane_ % 4);
    const int64_t left = operands_.k - column - lane_ % 4 * 16;
    if (operands_.whole_pieces && left > 0) {
      CopyAsync16(to, from);
      return;
    }
#pragma unroll 1  // rare: short rather than quick
    for (int i = 0; i < 16; ++i) to[i] = i < left ? from[i] : uint8_t{0};
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
    const int shift = operands_.weight.group_shift;
    if (shift == 4) return 0b1111;
    if (shift == 5) return 0b1010;
    const int last = (1 << (shift - 6)) - 1;  // chunk of a group
    const bool ends =
        ((chunk_begin_ + step) & last) == last || step + 1 == num_chunks_;
    return ends ? 0b1000 : 0;
  }

  // Adds the sum of the group that ends with this step to the total.
  __device__ void EndGroup(int step, int k_step, typename Tile::Sums& group,
                           typename Tile::Sums& sums) const {
    const int shift = operands_.weight.group_shift;
    const int index = shift < 6 ? k_step >> (shift - 4) : 0;
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
  int chunk_begin_;
  int num_chunks_;   // of this depth group
  int most_chunks_;  // of any depth group
  uint8_t* ring_;    // of this depth group
  // Where this lane's copies come from: chunk 0, first tile of the warp.
  const uint8_t* codes_[kWarpSlabs];
  const uint8_t* scales_ = nullptr;
  const uint8_t* tokens_;
  bool copies_scales_ = false;
  int scales_to_ = 0;    // in a stage
  int64_t tokens_left_;  // from the first of the tile on
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_HMMA_TILE_H_
