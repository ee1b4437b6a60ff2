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
// depth group, filled by asynchronous copies of 16 bytes. Tokens that are the
// block's own (own_tokens.h) are there from the first chunk to the last one
// instead, behind the sums.

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/matmul_tile.h"
#include "kernels/cuda/own_tokens.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/quads.h"

namespace zqfp::kernels::cuda {

// With scale groups of less than a chunk, kFine, sums end within a chunk. kOwn:
// tokens are the block's own.
template <CodeFormat kCodeFormat, ScaleFormat kScaleFormat, bool kFine,
          int kTokenTileCount, bool kOwn = false>
struct HmmaTile {
  static constexpr CodeFormat kCodes = kCodeFormat;
  static constexpr ScaleFormat kScales = kScaleFormat;
  static constexpr bool kFineGroups = kFine;
  static constexpr int kTokenTiles = kTokenTileCount;
  static constexpr bool kOwnTokens = kOwn;
  static constexpr int kRowWarps = kOwn ? kOwnRowWarps : RowWarps(kTokenTiles);
  static constexpr int kDepthWarps = kMatmulWarps / kRowWarps;
  static constexpr int kRows = kRowWarps * kWarpRows;
  static constexpr int kTokens = kTokenTiles * kTileTokens;
  static constexpr int kThreads = kMatmulThreads;
  // A stage of 8-bit codes is as large as two of four bits.
  static constexpr int kStages = kCodes == CodeFormat::kE2m1 ? 4 : 3;

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
      kCodesBytes + kScalesBytes + (kOwn ? 0 : kTokens * kTokenStride);
  static constexpr int kRingBytes = kDepthWarps * kStages * kStageBytes;

  // The sums of a depth group, [kTokens][kSumStride]: four more than the rows,
  // so that a fragment goes to 32 banks. They lie behind the ring, which the
  // next segment fills while those of the last one are added and stored.
  static constexpr int kSumStride = kRows + 4;
  static constexpr int kSumBytes = kTokens * kSumStride * 4;
  static constexpr int kSharedBytes = kRingBytes + kDepthWarps * kSumBytes;
  static_assert(!kOwn || kTokens == kMostOwnTokens);
  static constexpr int kPartialFloats =
      static_cast<int>(PartialSumFloats(kTokenTiles, kOwn));

  // What a sum of products is short of: layout E's power of two.
  static constexpr float kUnit =
      kCodes == CodeFormat::kE2m1 ? kLayoutEUnit : 1.0f;

  // Sums of one warp, [slab][token tile][register of the fragment].
  using Sums = float[kWarpSlabs][kTokenTiles][4];

  // Where the block's own tokens are.
  __device__ static uint8_t* OwnShared() {
    return DynamicShared() + kSharedBytes;
  }
};

// One warp's share of a segment. All warps of a block call the same functions
// together. The loop has few instructions to spare: at the full rate of the
// memory one multiprocessor has four for a weight. What a lane reads and writes
// is therefore a pointer that moves once in kStages chunks and, from there, a
// constant.
template <class Tile>
class HmmaWarp {
 public:
  __device__ HmmaWarp(const TileOperands& operands, const TileSegment& segment)
      : operands_(&operands), lane_(static_cast<int>(threadIdx.x % 32)) {
    // From the first lane: so the compiler knows it is one number of the warp.
    const int warp =
        __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 32), 0);
    row_warp_ = warp % Tile::kRowWarps;
    depth_ = warp / Tile::kRowWarps;
    const int length = segment.end - segment.begin;
    chunk_ = segment.begin + length * depth_ / Tile::kDepthWarps;
    left_ = segment.begin + length * (depth_ + 1) / Tile::kDepthWarps - chunk_;
    most_left_ = (length + Tile::kDepthWarps - 1) / Tile::kDepthWarps;
    FindWeights(segment);
    FindTokens(segment);
    for (int* number : {&code_slot_, &scale_place_, &scale_slot_, &token_slot_,
                        &group_shift_, &group_mask_}) {
      Keep(*number);
    }
    if constexpr (!Tile::kOwnTokens) {
      for (int* number : {&token_place_, &tokens_left_, &whole_pieces_}) {
        Keep(*number);
      }
    }
    if constexpr (!Tile::kFineGroups && Tile::kScales != ScaleFormat::kNone) {
      uint64_t address = reinterpret_cast<uint64_t>(scales_);
      Keep(address);
      scales_ = reinterpret_cast<const uint8_t*>(address);
    }
  }

  // Starts the copies of all stages but one, when nobody reads the ring.
  // Weights are there before the kernel before this one is done, so their
  // copies begin before it is.
  __device__ void FillFirstStages() {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (left_ > i) CopyWeights(i);
      if constexpr (Tile::kOwnTokens) CopyAsyncCommit();
    }
    AwaitInputs();
    if constexpr (!Tile::kOwnTokens) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (left_ > i) CopyTokens(i);
        CopyAsyncCommit();
      }
    }
  }

  // sums = codes times tokens times group scales, after FillFirstStages.
  __device__ void Multiply(typename Tile::Sums& sums) {
    Clear(sums);
    typename Tile::Sums group;
    Clear(group);
    // With stages shared by several warps all of the block go on together.
    int steps = kSharesStages ? most_left_ : left_;
#pragma unroll 1
    for (; steps > 0; steps -= Tile::kStages) {
#pragma unroll
      for (int i = 0; i < Tile::kStages; ++i) {
        if (i >= steps) break;
        CopyAsyncWait<Tile::kStages - 2>();
        // The others see the stage, and are done with the one to be filled.
        Meet();
        Fill(i + kAhead);
        if (left_ > i) MultiplyChunk(i, group, sums);
      }
      Advance();
    }
  }

  // Writes the sums to those of the depth group, [token][row].
  __device__ void Store(const typename Tile::Sums& sums) const {
    float* to = SharedSums() + depth_ * Tile::kTokens * Tile::kSumStride +
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

  // [kDepthWarps][kTokens][kSumStride]
  __device__ static float* SharedSums() {
    return reinterpret_cast<float*>(DynamicShared() + Tile::kRingBytes);
  }

 private:
  static constexpr int kGroupBytes =  // scales of a slab and group
      kSlabRows * static_cast<int>(ScaleBytes(Tile::kScales));
  // Of the ring the warps of a depth group share the tokens only.
  static constexpr bool kSharesStages =
      Tile::kRowWarps > 1 && !Tile::kOwnTokens;
  // A stage is filled so many chunks before it is read.
  static constexpr int kAhead = Tile::kStages - 1;

  __device__ static void Meet() {
    if constexpr (kSharesStages) {
      __syncthreads();
    } else {
      __syncwarp();
    }
  }

  __device__ static void Clear(typename Tile::Sums& sums) {
    for (int s = 0; s < kWarpSlabs; ++s) {
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        for (int i = 0; i < 4; ++i) sums[s][tile][i] = 0;
      }
    }
  }

  // Keeps a number at hand: from where it stands the compiler cannot make it
  // anew at each use, out of the thread's index, as it otherwise would.
  template <typename T>
  __device__ void Keep(T& number) const {
    number = __shfl_sync(0xffffffffu, number, lane_);
  }

  // The stage of the chunk i after the current one.
  __device__ static uint8_t* Stage(int i) {
    return DynamicShared() + i % Tile::kStages * Tile::kStageBytes;
  }

  // A slab beyond the weight is a copy of the last one, and not stored.
  __device__ static int64_t SlabWithin(const PackedWeight& w, int64_t slab) {
    return slab < w.num_slabs ? slab : w.num_slabs - 1;
  }

  // This lane's part of the weights: where it is copied from and to.
  __device__ void FindWeights(const TileSegment& segment) {
    const PackedWeight& w = operands_->weight;
    const int64_t slab = segment.first_row / kSlabRows + row_warp_ * kWarpSlabs;
    for (int s = 0; s < kWarpSlabs; ++s) {
      codes_[s] = w.codes + lane_ * 16 +
                  (SlabWithin(w, slab + s) * w.num_chunks + chunk_ + kAhead) *
                      Tile::kSlabCodeBytes;
    }
    const int ring = depth_ * Tile::kStages * Tile::kStageBytes;
    code_slot_ =
        ring + row_warp_ * kWarpSlabs * Tile::kSlabCodeBytes + lane_ * 16;
    if constexpr (Tile::kScales != ScaleFormat::kNone) {
      FindScales(slab, ring + Tile::kCodesBytes +
                           row_warp_ * kWarpSlabs * Tile::kSlabScaleBytes);
    }
  }

  // The scales of a chunk's groups are neighbours, 16 bytes and more of either
  // slab. Lanes beyond those copy the same again: to ask costs more.
  __device__ void FindScales(int64_t slab, int slots) {
    const PackedWeight& w = operands_->weight;
    const int shift = w.group_shift - 6;
    const int bytes = Tile::kFineGroups ? kGroupBytes << -shift : kGroupBytes;
    const int s = lane_ * 16 / bytes % kWarpSlabs;
    const int at = lane_ * 16 % bytes;
    if constexpr (Tile::kFineGroups) {
      scales_step_ = bytes;
    } else {
      group_shift_ = shift;
      group_mask_ = (1 << shift) - 1;
    }
    const int64_t first = Tile::kFineGroups ? int64_t{chunk_} << -shift : 0;
    scales_ = w.scales + at +
              (SlabWithin(w, slab + s) * w.num_groups + first) * kGroupBytes;
    scale_place_ = slots - code_slot_ + s * Tile::kSlabScaleBytes + at;
    scale_slot_ =
        slots + lane_ / 4 * 2 * static_cast<int>(ScaleBytes(Tile::kScales));
  }

  // As FindWeights, of the tokens. Of a row of them the last chunk may be
  // short: what is beyond is zero.
  __device__ void FindTokens(const TileSegment& segment) {
    if constexpr (Tile::kOwnTokens) {
      // Columns beyond the last token are not stored: they are the first one.
      const int token = lane_ / 4 < operands_->m ? lane_ / 4 : 0;
      token_slot_ = Tile::kSharedBytes +
                    static_cast<int>(OwnTokens::CodesAt(token, operands_->k)) +
                    chunk_ * kChunkColumns + lane_ % 4 * 4;
      return;
    }
    const int64_t column = int64_t{chunk_} * kChunkColumns + lane_ % 4 * 16;
    tokens_ = operands_->tokens + column +
              (segment.first_token + row_warp_ * kTileTokens + lane_ / 4) *
                  operands_->k;
    columns_left_ = static_cast<int>(operands_->k - column);
    whole_pieces_ = operands_->whole_pieces;
    const int64_t rest = operands_->m - segment.first_token -
                         row_warp_ * kTileTokens - lane_ / 4;
    tokens_left_ =
        static_cast<int>(rest < Tile::kTokens ? rest : Tile::kTokens);
    const int slots = depth_ * Tile::kStages * Tile::kStageBytes +
                      Tile::kCodesBytes + Tile::kScalesBytes +
                      lane_ / 4 * Tile::kTokenStride;
    token_place_ =
        slots + row_warp_ * kTileTokens * Tile::kTokenStride + lane_ % 4 * 16;
    token_slot_ = slots + lane_ % 4 * 4;
  }

  // Starts the copies of the chunk i after the current one, this warp's part
  // of them, and closes their group.
  __device__ void Fill(int i) {
    if (left_ > i) {
      CopyWeights(i);
      CopyTokens(i);
    }
    CopyAsyncCommit();
  }
  __device__ void CopyWeights(int i) {
    uint8_t* const to = Stage(i);
    for (int s = 0; s < kWarpSlabs; ++s) {
      for (int at = 0; at < Tile::kSlabCodeBytes; at += 512) {
        CopyAsync16(to + code_slot_ + s * Tile::kSlabCodeBytes + at,
                    codes_[s] + (i - kAhead) * Tile::kSlabCodeBytes + at);
      }
    }
    if constexpr (Tile::kScales != ScaleFormat::kNone) {
      CopyAsync16(to + code_slot_ + scale_place_, ScalesOf(i));
    }
  }
  __device__ const uint8_t* ScalesOf(int i) const {
    if constexpr (Tile::kFineGroups) return scales_ + i * scales_step_;
    const int group = (chunk_ + i) >> group_shift_;
    return scales_ + group * int64_t{kGroupBytes};
  }
  __device__ void CopyTokens(int i) {
    if constexpr (!Tile::kOwnTokens) {
      for (int tile = 0; tile < Tile::kTokenTiles; tile += Tile::kRowWarps) {
        CopyTokenTile(i, tile);
      }
    }
  }

  // Of the tile `tile` after the first one of this warp. A token beyond the
  // last is left out: nothing of its column is stored, and a column of the
  // product depends on no other.
  __device__ void CopyTokenTile(int i, int tile) {
    if (tokens_left_ <= tile * kTileTokens) return;
    const uint8_t* from =
        tokens_ + i * kChunkColumns + tile * kTileTokens * operands_->k;
    uint8_t* to =
        Stage(i) + token_place_ + tile * kTileTokens * Tile::kTokenStride;
    const int columns_left = columns_left_ - i * kChunkColumns;
    if (whole_pieces_) {
      return CopyAsync16OrZero(to, from, columns_left > 0);
    }
#pragma unroll 1  // rare: short rather than quick
    for (int at = 0; at < 16; ++at) {
      to[at] = at < columns_left ? from[at] : uint8_t{0};
    }
  }

  // On to the chunk after the unrolled ones.
  __device__ void Advance() {
    for (int s = 0; s < kWarpSlabs; ++s) {
      codes_[s] += Tile::kStages * Tile::kSlabCodeBytes;
    }
    if constexpr (Tile::kFineGroups) scales_ += Tile::kStages * scales_step_;
    chunk_ += Tile::kStages;
    left_ -= Tile::kStages;
    if constexpr (Tile::kOwnTokens) {
      token_slot_ += Tile::kStages * kChunkColumns;
    } else {
      tokens_ += Tile::kStages * kChunkColumns;
      columns_left_ -= Tile::kStages * kChunkColumns;
    }
  }

  // The A fragments of the chunk's four steps, one slab.
  struct Fragments {
    uint4 words[Tile::kSlabCodeBytes / 512];
  };
  __device__ Fragments LoadCodes(int i, int s) const {
    Fragments fragments;
    const uint8_t* from = Stage(i) + code_slot_ + s * Tile::kSlabCodeBytes;
    for (int half = 0; half < Tile::kSlabCodeBytes / 512; ++half) {
      fragments.words[half] =
          *reinterpret_cast<const uint4*>(from + half * 512);
    }
    return fragments;
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

  __device__ void LoadTokens(int i, int k_step, int tile,
                             uint32_t (&b)[2]) const {
    const uint8_t* chunk =
        Tile::kOwnTokens ? DynamicShared() + i * kChunkColumns
                         : Stage(i) + tile * kTileTokens * Tile::kTokenStride;
    const uint32_t word = *reinterpret_cast<const uint32_t*>(
        chunk + token_slot_ + k_step * kStepColumns);
    b[0] = F16x2FromE4m3x2(static_cast<uint16_t>(word));
    b[1] = F16x2FromE4m3x2(static_cast<uint16_t>(word >> 16));
  }

  // Whether a group (or what this warp has of it) ends with step k_step of the
  // chunk i after the current one.
  __device__ bool EndsGroup(int i, int k_step) const {
    if constexpr (Tile::kScales == ScaleFormat::kNone) return false;
    if constexpr (Tile::kFineGroups) {
      return k_step % 2 == 1 || operands_->weight.group_shift == 4;
    }
    if (k_step < kChunkSteps - 1) return false;
    return ((chunk_ + i + 1) & group_mask_) == 0 || left_ == i + 1;
  }

  // Adds the sum of the group that ends with this step to the total.
  __device__ void EndGroup(int i, int k_step, typename Tile::Sums& group,
                           typename Tile::Sums& sums) const {
    const int index =
        Tile::kFineGroups ? k_step >> (operands_->weight.group_shift - 4) : 0;
    for (int s = 0; s < kWarpSlabs; ++s) {
      // Of rows lane / 4 and lane / 4 + 8.
      const float2 scale = LoadScalePair<Tile::kScales>(
          Stage(i) + scale_slot_ + s * Tile::kSlabScaleBytes +
          index * kGroupBytes);
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        for (int r = 0; r < 4; ++r) {
          sums[s][tile][r] = fmaf(r < 2 ? scale.x : scale.y, group[s][tile][r],
                                  sums[s][tile][r]);
        }
      }
    }
    Clear(group);
  }

  __device__ void MultiplyChunk(int i, typename Tile::Sums& group,
                                typename Tile::Sums& sums) const {
    Fragments fragments[kWarpSlabs];
    for (int s = 0; s < kWarpSlabs; ++s) fragments[s] = LoadCodes(i, s);
#pragma unroll
    for (int k_step = 0; k_step < kChunkSteps; ++k_step) {
      uint32_t a[kWarpSlabs][4];
      for (int s = 0; s < kWarpSlabs; ++s) {
        DecodeStep(fragments[s], k_step, a[s]);
      }
      for (int tile = 0; tile < Tile::kTokenTiles; ++tile) {
        uint32_t b[2];
        LoadTokens(i, k_step, tile, b);
        for (int s = 0; s < kWarpSlabs; ++s) {
          if constexpr (Tile::kScales == ScaleFormat::kNone) {
            MmaF16(sums[s][tile], a[s], b);
          } else {
            MmaF16(group[s][tile], a[s], b);
          }
        }
      }
      if (EndsGroup(i, k_step)) EndGroup(i, k_step, group, sums);
    }
  }

  const TileOperands* operands_;
  int lane_;
  int row_warp_;
  int depth_;
  int chunk_;      // that is multiplied next
  int left_;       // chunks of this depth group from there on
  int most_left_;  // of any depth group
  // Sources, of that chunk; codes, kAhead later: copies reach 2 KB from there.
  const uint8_t* codes_[kWarpSlabs];
  const uint8_t* scales_ = nullptr;  // of fine groups; else of the first chunk
  int scales_step_ = 0;              // of fine groups: from chunk to chunk
  int group_shift_ = 0;              // else: 2^shift chunks are a group
  int group_mask_ = 0;               // and those less one
  const uint8_t* tokens_ = nullptr;  // of the first tile of this warp
  int tokens_left_ = 0;              // from the lane's of that tile on
  int columns_left_ = 0;
  int whole_pieces_ = 0;  // of tokens: TileOperands
  // Bytes from the beginning of a stage: where this lane's copies go, and where
  // its operands are. Of own tokens: from the beginning of all, for the current
  // chunk.
  int scale_place_ = 0;
  int token_place_ = 0;
  int code_slot_;  // both
  int scale_slot_ = 0;
  int token_slot_;
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_HMMA_TILE_H_
