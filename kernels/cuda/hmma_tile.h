// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_HMMA_TILE_H_
#define ZQFP_KERNELS_CUDA_HMMA_TILE_H_

// HmmaTile: a tile of rows times tokens on the f16 tensor cores.
//
// Weights are the A operand, 16 rows to a product, tokens the B operand, eight
// to a product. Both are exact in f16 and their products exact in f32; Hopper
// itself multiplies e4m3 by whole warpgroups only, and less exactly. Per scale
// group the sum of products is multiplied once and added to the total, so that
// scales of any kind run at one speed.
//
// kRowWarps warps lie along the rows, two slabs each; the kDepthWarps groups of
// them split the chunks of K and are added at the end. Weights, scales and
// tokens come through a ring of stages in shared memory, one chunk a stage and
// depth group, filled by asynchronous copies of 16 bytes.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/decode.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/matmul_tile.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/ptx.h"

namespace zqfp::kernels::cuda {

// With scale groups of less than a chunk, kFine, sums end within a chunk.
template <CodeFormat kCodeFormat, ScaleFormat kScaleFormat, bool kFine,
          int kTokenTileCount>
struct HmmaTile {
  static constexpr CodeFormat kCodes = kCodeFormat;
  static constexpr ScaleFormat kScales = kScaleFormat;
  static constexpr bool kFineGroups = kFine;
  static constexpr int kTokenTiles = kTokenTileCount;
  static constexpr int kRowWarps = RowWarps(kTokenTiles);
  static constexpr int kDepthWarps = kMatmulWarps / kRowWarps;
  static constexpr int kRows = kRowWarps * kWarpRows;
  static constexpr int kTokens = kTokenTiles * kTileTokens;
  static constexpr int kThreads = kMatmulThreads;
  static constexpr int kStages = 4;

  // A stage: codes, scales, tokens. Of scales a chunk has up to four groups of
  // 16 columns in e4m3, or two of 32 in f32.
  static constexpr int kSlabCodeBytes =
      static_cast<int>(ChunkBytes(kCodeFormat));
  static constexpr int kMostGroups =  // of a chunk
      !kFine                          ? 1
      : kScales == ScaleFormat::kE4m3 ? 4
                                      : 2;
  static constexpr int kSlabScaleBytes =
      kMostGroups * kSlabRows * static_cast<int>(ScaleBytes(kScales));
  static constexpr int kCodesBytes = kRowWarps * kWarpSlabs * kSlabCodeBytes;
  static constexpr int kScalesBytes = kRowWarps * kWarpSlabs * kSlabScaleBytes;
  // A token's 64 bytes take 80, so that the words of the lanes of a product are
  // in 32 banks.
  static constexpr int kTokenStride = kChunkColumns + 16;
  static constexpr int kStageBytes =
      kCodesBytes + kScalesBytes + kTokens * kTokenStride;
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

// Where a lane's part of a stage lies, from stage to stage.
template <class Tile>
struct StagePlace {
  uint8_t* codes;
  uint8_t* scales;
  uint8_t* tokens;
  int stage = 0;

  __device__ void Advance() {
    const bool wraps = stage == Tile::kStages - 1;
    const int bytes =
        wraps ? -(Tile::kStages - 1) * Tile::kStageBytes : Tile::kStageBytes;
    stage = wraps ? 0 : stage + 1;
    codes += bytes;
    scales += bytes;
    tokens += bytes;
  }
};

// One warp's share of a segment. All warps of a block call the same functions
// together. What a lane reads and writes is kept as running pointers, for the
// loop has few instructions to spare: at the full rate of the memory one
// multiprocessor has four for a weight.
template <class Tile>
class HmmaWarp {
 public:
  __device__ HmmaWarp(const TileOperands& operands, const TileSegment& segment)
      : operands_(operands),
        lane_(static_cast<int>(threadIdx.x % 32)),
        row_warp_(static_cast<int>(threadIdx.x / 32) % Tile::kRowWarps),
        depth_(static_cast<int>(threadIdx.x / 32) / Tile::kRowWarps) {
    const int length = segment.end - segment.begin;
    chunk_ = segment.begin + length * depth_ / Tile::kDepthWarps;
    chunk_end_ = segment.begin + length * (depth_ + 1) / Tile::kDepthWarps;
    most_chunks_ = (length + Tile::kDepthWarps - 1) / Tile::kDepthWarps;
    fill_chunk_ = chunk_;
    FindSources(segment);
    FindPlaces();
  }

  // sums = codes times tokens times group scales.
  __device__ void Multiply(typename Tile::Sums& sums) {
    FillFirstStages();
    Clear(sums);
    typename Tile::Sums group;
    Clear(group);
    // With tokens shared by several warps all of the block go on together.
    int steps = Tile::kRowWarps == 1 ? chunk_end_ - chunk_ : most_chunks_;
#pragma unroll 1
    for (; steps > 0; --steps) {
      CopyAsyncWait<Tile::kStages - 2>();
      // The others see the stage, and are done with the one to be filled.
      Meet();
      FillWeights();
      FillTokens();
      if (chunk_ < chunk_end_) MultiplyChunk(group, sums);
      ++chunk_;
      from_.Advance();
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
  static constexpr int kGroupBytes =  // scales of a slab and group
      kSlabRows * static_cast<int>(ScaleBytes(Tile::kScales));

  __device__ static void Meet() {
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

  // A slab beyond the weight is a copy of the last one, and not stored.
  __device__ static int64_t SlabWithin(const PackedWeight& w, int64_t slab) {
    return slab < w.num_slabs ? slab : w.num_slabs - 1;
  }

  // Where this lane's first copies come from.
  __device__ void FindSources(const TileSegment& segment) {
    const PackedWeight& w = operands_.weight;
    const int64_t slab = segment.first_row / kSlabRows + row_warp_ * kWarpSlabs;
    for (int s = 0; s < kWarpSlabs; ++s) {
      codes_[s] = w.codes + lane_ * 16 +
                  (SlabWithin(w, slab + s) * w.num_chunks + chunk_) *
                      Tile::kSlabCodeBytes;
    }
    const int64_t column = int64_t{chunk_} * kChunkColumns + lane_ % 4 * 16;
    tokens_ = operands_.tokens + column +
              (segment.first_token + row_warp_ * kTileTokens + lane_ / 4) *
                  operands_.k;
    columns_left_ = static_cast<int>(operands_.k - column);
    const int64_t tokens_left = operands_.m - segment.first_token;
    tokens_left_ = static_cast<int>(
        tokens_left < Tile::kTokens ? tokens_left : Tile::kTokens);
    if constexpr (Tile::kScales != ScaleFormat::kNone) FindScales(slab);
  }

  // The scales of a chunk's groups are neighbours; a lane has 16 bytes of them.
  __device__ void FindScales(int64_t slab) {
    const PackedWeight& w = operands_.weight;
    const int shift = w.group_shift;
    scales_step_ = Tile::kFineGroups ? kGroupBytes << (6 - shift) : kGroupBytes;
    group_mask_ = Tile::kFineGroups ? 0 : (1 << (shift - 6)) - 1;
    fine_ends_ = shift == 4 ? 0b1111 : 0b1010;
    const int s = lane_ * 16 / scales_step_;
    const int at = lane_ * 16 % scales_step_;
    copies_scales_ = s < kWarpSlabs;
    scales_slot_ = s * Tile::kSlabScaleBytes + at;
    const int64_t group = int64_t{chunk_} * kChunkColumns >> shift;
    scales_ = w.scales + at +
              (SlabWithin(w, slab + s) * w.num_groups + group) * kGroupBytes;
  }

  // Stage 0: where this lane's copies go, and where its operands are.
  __device__ void FindPlaces() {
    uint8_t* ring =
        DynamicShared() + depth_ * Tile::kStages * Tile::kStageBytes;
    uint8_t* codes =  // a lane reads what it has copied
        ring + row_warp_ * kWarpSlabs * Tile::kSlabCodeBytes + lane_ * 16;
    uint8_t* scales = ring + Tile::kCodesBytes +
                      row_warp_ * kWarpSlabs * Tile::kSlabScaleBytes;
    uint8_t* tokens = ring + Tile::kCodesBytes + Tile::kScalesBytes +
                      lane_ / 4 * Tile::kTokenStride;
    to_ = {
        codes, scales + scales_slot_,
        tokens + row_warp_ * kTileTokens * Tile::kTokenStride + lane_ % 4 * 16};
    from_ = {
        codes,
        scales + lane_ / 4 * 2 * static_cast<int>(ScaleBytes(Tile::kScales)),
        tokens + lane_ % 4 * 4};
  }

  // All but the last one. Weights are there before the kernel before this one
  // is done, so their copies begin before it is.
  __device__ void FillFirstStages() {
    const StagePlace<Tile> first = to_;
#pragma unroll 1  // long, and a small matmul's code is read cold
    for (int stage = 0; stage < Tile::kStages - 1; ++stage) {
      FillWeights();
      ++fill_chunk_;
      to_.Advance();
    }
    AwaitInputs();
    to_ = first;
    fill_chunk_ = chunk_;
#pragma unroll 1
    for (int stage = 0; stage < Tile::kStages - 1; ++stage) FillTokens();
  }

  // Start the copies for the next chunk, this warp's part of them. FillTokens
  // closes their group and goes on to the next stage.
  __device__ void FillWeights() {
    if (fill_chunk_ >= chunk_end_) return;
    for (int s = 0; s < kWarpSlabs; ++s) {
      for (int at = 0; at < Tile::kSlabCodeBytes; at += 512) {
        CopyAsync16(to_.codes + s * Tile::kSlabCodeBytes + at, codes_[s] + at);
      }
      codes_[s] += Tile::kSlabCodeBytes;
    }
    if constexpr (Tile::kScales != ScaleFormat::kNone) {
      if (copies_scales_) CopyAsync16(to_.scales, scales_);
      if (((fill_chunk_ + 1) & group_mask_) == 0) scales_ += scales_step_;
    }
  }
  __device__ void FillTokens() {
    if (fill_chunk_ < chunk_end_) {
      for (int tile = 0; tile < Tile::kTokenTiles; tile += Tile::kRowWarps) {
        CopyTokens(tile);
      }
      tokens_ += kChunkColumns;
      columns_left_ -= kChunkColumns;
    }
    CopyAsyncCommit();
    ++fill_chunk_;
    to_.Advance();
  }

  // Of the tile `tile` after the first one of this warp. A token beyond the
  // last is left out: nothing of its column is stored, and a column of the
  // product depends on no other.
  __device__ void CopyTokens(int tile) {
    const int token = (tile + row_warp_) * kTileTokens + lane_ / 4;
    if (token >= tokens_left_) return;
    const uint8_t* from = tokens_ + tile * kTileTokens * operands_.k;
    uint8_t* to = to_.tokens + tile * kTileTokens * Tile::kTokenStride;
    if (operands_.whole_pieces && columns_left_ > 0) {
      CopyAsync16(to, from);
      return;
    }
#pragma unroll 1  // rare: short rather than quick
    for (int i = 0; i < 16; ++i) {
      to[i] = i < columns_left_ ? from[i] : uint8_t{0};
    }
  }

  // The A fragments of the chunk's four steps, one slab.
  struct Fragments {
    uint4 words[Tile::kSlabCodeBytes / 512];
  };
  __device__ Fragments LoadCodes(int s) const {
    Fragments fragments;
    const uint8_t* from = from_.codes + s * Tile::kSlabCodeBytes;
    for (int half = 0; half < Tile::kSlabCodeBytes / 512; ++half) {
      fragments.words[half] =
          *reinterpret_cast<const uint4*>(from + half * 512);
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

  __device__ void LoadTokens(int k_step, int tile, uint32_t (&b)[2]) const {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(
        from_.tokens + tile * kTileTokens * Tile::kTokenStride +
        k_step * kStepColumns);
    b[0] = F16x2FromE4m3x2(static_cast<uint16_t>(word));
    b[1] = F16x2FromE4m3x2(static_cast<uint16_t>(word >> 16));
  }

  // Whether a group (or what this warp has of it) ends with step k_step.
  __device__ bool EndsGroup(int k_step) const {
    if constexpr (Tile::kScales == ScaleFormat::kNone) return false;
    if constexpr (Tile::kFineGroups) return fine_ends_ >> k_step & 1;
    if (k_step < kChunkSteps - 1) return false;
    return ((chunk_ + 1) & group_mask_) == 0 || chunk_ + 1 == chunk_end_;
  }

  // Adds the sum of the group that ends with this step to the total.
  __device__ void EndGroup(int k_step, typename Tile::Sums& group,
                           typename Tile::Sums& sums) const {
    const int index =
        Tile::kFineGroups ? k_step >> (operands_.weight.group_shift - 4) : 0;
    for (int s = 0; s < kWarpSlabs; ++s) {
      const float2 scale = LoadScales(from_.scales + s * Tile::kSlabScaleBytes +
                                      index * kGroupBytes);
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
  __device__ static float2 LoadScales(const uint8_t* scales) {
    if constexpr (Tile::kScales == ScaleFormat::kF32) {
      return *reinterpret_cast<const float2*>(scales);
    }
    const uint32_t two = *reinterpret_cast<const uint16_t*>(scales);
    return make_float2(DecodePositiveE4m3(two & 0xff),
                       DecodePositiveE4m3(two >> 8));
  }

  __device__ void MultiplyChunk(typename Tile::Sums& group,
                                typename Tile::Sums& sums) const {
    Fragments fragments[kWarpSlabs];
    for (int s = 0; s < kWarpSlabs; ++s) fragments[s] = LoadCodes(s);
#pragma unroll
    for (int k_step = 0; k_step < kChunkSteps; ++k_step) {
      uint32_t a[kWarpSlabs][4];
      for (int s = 0; s < kWarpSlabs; ++s) {
        DecodeStep(fragments[s], k_step, a[s]);
      }
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        uint32_t b[2];
        LoadTokens(k_step, tile, b);
        for (int s = 0; s < kWarpSlabs; ++s) {
          if constexpr (Tile::kScales == ScaleFormat::kNone) {
            MmaF16(sums[s][tile], a[s], b);
          } else {
            MmaF16(group[s][tile], a[s], b);
          }
        }
      }
      if (EndsGroup(k_step)) EndGroup(k_step, group, sums);
    }
  }

  const TileOperands& operands_;
  const int lane_;
  const int row_warp_;
  const int depth_;
  int chunk_;        // that is multiplied next
  int chunk_end_;    // of this depth group
  int most_chunks_;  // of any depth group
  // Sources of the next chunk's copies.
  int fill_chunk_;
  const uint8_t* codes_[kWarpSlabs];
  const uint8_t* scales_ = nullptr;
  const uint8_t* tokens_;  // of the first tile of this warp
  int columns_left_;       // from tokens_ on
  int tokens_left_;        // from the first of the tile on
  // Scales: bytes of a slab and chunk, the chunks of a group less one, the
  // steps with which groups of less than a chunk end.
  int scales_step_ = 0;
  int group_mask_ = 0;
  uint32_t fine_ends_ = 0;
  bool copies_scales_ = false;
  int scales_slot_ = 0;
  StagePlace<Tile> to_;
  StagePlace<Tile> from_;
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_HMMA_TILE_H_
