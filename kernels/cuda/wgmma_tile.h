// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_WGMMA_TILE_H_
#define ZQFP_KERNELS_CUDA_WGMMA_TILE_H_

// WgmmaTile: a tile of rows times tokens on the FP8 tensor cores.
//
// Weights are the A operand, from registers, 64 rows to a warpgroup; tokens are
// the B operand, from shared memory. The words of layout E become e5m2 where
// they are needed (layout_e_fp8.h). Products are exact, sums are not: the FP8
// tensor cores keep some 14 bits of them. Per scale group, that is every 64 to
// 256 columns, the sum is therefore multiplied by the group's scale and added
// to a total in f32, which serves scales of any kind.
//
// A warp has one slab of 16 rows. Codes, scales and tokens come through a ring
// of stages in shared memory, one strip of 128 columns a stage, filled by
// asynchronous copies of 16 bytes. A lane reads back the codes that it copied
// itself; tokens are every warp's, in the order that the 128-byte swizzle
// wants.
//
// The loop has one chunk of 64 columns in the tensor cores while it unpacks the
// next one into other registers:
//
//   start chunk 0 | unpack 1 | start chunk 1 | wait for 0 | unpack next 0 |
//   wait for 1 | add the group to the total | barrier | fill the stage

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/layout_e_fp8.h"
#include "kernels/cuda/matmul_tile.h"
#include "kernels/cuda/packed_weight.h"
#include "kernels/cuda/ptx_wgmma.h"
#include "kernels/cuda/wgmma_plan.h"

namespace zqfp::kernels::cuda {

template <CodeFormat kCodeFormat, ScaleFormat kScaleFormat, int kTokenCount,
          int kWarpgroups>
struct WgmmaTile {
  static constexpr CodeFormat kCodes = kCodeFormat;
  static constexpr ScaleFormat kScales = kScaleFormat;
  static constexpr WgmmaShape kShape = {kTokenCount, kWarpgroups};
  static constexpr int kTokens = kTokenCount;
  static constexpr int kThreads = kWarpgroups * kWarpgroupThreads;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kRows = kShape.rows();
  static constexpr int kDepthWarps = 1;
  static constexpr bool kOwnTokens = false;
  static constexpr int kStages = 4;

  // The ring: all stages of tokens, which are aligned to the swizzle, then all
  // stages of codes, then of scales.
  static constexpr int kTokenBytes = kTokens * kStripColumns;
  static constexpr int kChunkCodeBytes =
      static_cast<int>(ChunkBytes(kCodeFormat));
  static constexpr int kWarpCodeBytes = kStripChunks * kChunkCodeBytes;
  static constexpr int kCodeBytes = kWarps * kWarpCodeBytes;
  static constexpr int kGroupBytes =  // scales of a slab and group
      kSlabRows * static_cast<int>(ScaleBytes(kScaleFormat));
  static constexpr int kWarpScaleBytes = kStripChunks * kGroupBytes;
  static constexpr int kScaleBytes = kWarps * kWarpScaleBytes;
  static constexpr int kRingBytes =
      kStages * (kTokenBytes + kCodeBytes + kScaleBytes);

  // The sums, [kTokens][kSumStride]: four more than the rows, so that a
  // fragment goes to 32 banks.
  static constexpr int kSumStride = kRows + 4;
  static constexpr int kPartialFloats = kTokens * kRows;
  static constexpr int kSumBytes = kTokens * kSumStride * 4;
  static constexpr int kSharedBytes =
      kRingBytes > kSumBytes ? kRingBytes : kSumBytes;

  // What a sum of products is short of: layout E's power of two.
  static constexpr float kUnit =
      kCodes == CodeFormat::kE2m1 ? kLayoutEUnit : 1.0f;

  // Sums of one thread: the fragment of 64 rows and kTokens columns.
  static constexpr int kSums = kTokens / 2;
  using Sums = float[kSums];
};

// What a tile reads, and when its groups of scales end, as strips say it.
struct WgmmaOperands {
  TileOperands read;
  int group_mask;     // the strips of a group less one, of 2^i strips
  bool ends_halfway;  // a group, in every strip
};

inline WgmmaOperands DescribeOperands(const TileOperands& read) {
  // Without scales a sum goes on for 256 columns.
  const bool has_scales = read.weight.scale_format != ScaleFormat::kNone;
  const int64_t columns = has_scales ? read.weight.group_size : 256;
  return {.read = read,
          .group_mask = static_cast<int>((columns - 1) / kStripColumns),
          .ends_halfway = columns == kChunkColumns};
}

// One thread's share of a segment, whose units are strips. All threads of a
// block call the same functions together. The loop has few instructions to
// spare: at the full rate of the memory one multiprocessor has four for a
// weight, of which unpacking takes one.
template <class Tile>
class WgmmaThread {
 public:
  __device__ WgmmaThread(const WgmmaOperands& operands,
                         const TileSegment& segment)
      : operands_(operands),
        lane_(static_cast<int>(threadIdx.x % 32)),
        warp_(static_cast<int>(threadIdx.x / 32)),
        strip_(segment.begin),
        strip_end_(segment.end) {
    FindWeight(segment);
    FindTokens(segment);
  }

  // sums = codes times tokens times group scales.
  __device__ void Multiply(typename Tile::Sums& sums) {
#pragma unroll 1
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      Fill(stage, strip_ + stage);
    }
    typename Tile::Sums group;
    for (int i = 0; i < Tile::kSums; ++i) group[i] = sums[i] = 0;
    Factors even;
    CopyAsyncWait<Tile::kStages - 1>();
    Unpack(0, 0, even);
    Meet();
    while (true) {
      for (int stage = 0; stage < Tile::kStages; ++stage) {
        if (strip_ == strip_end_) return CopyAsyncWait<0>();
        MultiplyStrip(stage, even, group, sums);
        ++strip_;
      }
    }
  }

  // Writes the sums to those of the block, [token][row].
  __device__ void Store(const typename Tile::Sums& sums, float* shared) const {
    float* to = shared + warp_ * kSlabRows + lane_ / 4;
#pragma unroll
    for (int i = 0; i < Tile::kSums; ++i) {
      const int token = i / 4 * 8 + lane_ % 4 * 2 + i % 2;
      to[token * Tile::kSumStride + i % 4 / 2 * 8] = sums[i];
    }
  }

 private:
  // The registers of A for the two products of a chunk.
  struct Factors {
    uint32_t a[2][4];
  };

  // The strip of `stage`, whose first chunk is unpacked; leaves that of the
  // next one so.
  __device__ void MultiplyStrip(int stage, Factors& even,
                                typename Tile::Sums& group,
                                typename Tile::Sums& sums) {
    Factors odd;
    Start(stage, 0, even, group);
    Unpack(stage, 1, odd);
    if (EndsGroupHalfway()) EndGroup(stage, 0, group, sums);
    Start(stage, 1, odd, group);
    CopyAsyncWait<Tile::kStages - 2>();
    WgmmaWait<1>();
    const int next = stage == Tile::kStages - 1 ? 0 : stage + 1;
    Unpack(next, 0, even);  // of no meaning after the last strip
    if (EndsGroup()) {
      EndGroup(stage, 1, group, sums);
    } else {
      WgmmaWaitForSums(group);
    }
    Meet();
    Fill(stage, strip_ + Tile::kStages);
  }

  // The others see what this thread copied, and all are done with the stage
  // that is filled next.
  __device__ static void Meet() {
    FenceAsyncProxy();
    __syncthreads();
  }

  // Where this lane's codes and scales come from and go to. A slab beyond the
  // weight is a copy of the last one, and not stored.
  __device__ void FindWeight(const TileSegment& segment) {
    const PackedWeight& w = operands_.read.weight;
    int64_t slab = segment.first_row / kSlabRows + warp_;
    if (slab >= w.num_slabs) slab = w.num_slabs - 1;
    const int64_t chunk = int64_t{strip_} * kStripChunks;
    codes_ = w.codes + (slab * w.num_chunks + chunk) * Tile::kChunkCodeBytes +
             lane_ * 16;
    code_slot_ = Tile::kStages * Tile::kTokenBytes +
                 warp_ * Tile::kWarpCodeBytes + lane_ * 16;
    if constexpr (Tile::kScales != ScaleFormat::kNone) {
      scales_ = w.scales + slab * w.num_groups * Tile::kGroupBytes +
                lane_ * 16 % Tile::kGroupBytes;
      Keep(scales_);
    }
  }

  // Where this thread's tokens come from and go to: one 16-byte piece of every
  // kTokenStep-th token.
  __device__ void FindTokens(const TileSegment& segment) {
    const int thread = static_cast<int>(threadIdx.x);
    const int token = thread / 8, piece = thread % 8;
    const int64_t column = int64_t{strip_} * kStripColumns + piece * 16;
    tokens_ = operands_.read.tokens +
              (segment.first_token + token) * operands_.read.k + column;
    const int64_t left = operands_.read.m - segment.first_token;
    tokens_left_ =
        static_cast<int>(left < Tile::kTokens ? left : Tile::kTokens) - token;
    token_slot_ = SwizzledOffset(token, piece);
    Keep(tokens_left_);
  }
  static constexpr int kTokenStep = Tile::kThreads / 8;
  static_assert(kTokenStep % 8 == 0, "the swizzle of a thread's tokens");

  __device__ uint8_t* Codes(int stage) const {
    return DynamicShared() + stage * Tile::kCodeBytes + code_slot_;
  }
  // Of this warp.
  __device__ uint8_t* Scales(int stage) const {
    return DynamicShared() +
           Tile::kStages * (Tile::kTokenBytes + Tile::kCodeBytes) +
           stage * Tile::kScaleBytes + warp_ * Tile::kWarpScaleBytes;
  }

  // Starts the copies for a strip, this thread's part of them. Every strip's
  // once, in their order.
  __device__ void Fill(int stage, int strip) {
    if (strip < strip_end_) {
      CopyCodes(strip, Codes(stage));
      if constexpr (Tile::kScales != ScaleFormat::kNone) {
        CopyScales(strip, Scales(stage) + lane_ * 16);
      }
      CopyTokens(strip,
                 DynamicShared() + stage * Tile::kTokenBytes + token_slot_);
    }
    CopyAsyncCommit();
  }

  __device__ int LastChunk() const {
    return static_cast<int>(operands_.read.weight.num_chunks) - 1;
  }

  // A chunk beyond the weight is a copy of the last one: the tokens that it
  // meets are zero.
  __device__ void CopyCodes(int strip, uint8_t* to) {
    const bool has_odd = strip * kStripChunks < LastChunk();
    const uint8_t* odd = codes_ + (has_odd ? Tile::kChunkCodeBytes : 0);
#pragma unroll
    for (int at = 0; at < Tile::kChunkCodeBytes; at += 512) {
      CopyAsync16(to + at, codes_ + at);
      CopyAsync16(to + Tile::kChunkCodeBytes + at, odd + at);
    }
    codes_ += Tile::kWarpCodeBytes;
  }

  // Those of both chunks, also where they are the same.
  __device__ void CopyScales(int strip, uint8_t* to) const {
    constexpr int kPieces = Tile::kGroupBytes / 16;
    if (lane_ >= kStripChunks * kPieces) return;
    const int wanted = strip * kStripChunks + lane_ / kPieces;
    const int chunk = wanted < LastChunk() ? wanted : LastChunk();
    const int group = chunk >> (operands_.read.weight.group_shift - 6);
    CopyAsync16(to, scales_ + int64_t{group} * Tile::kGroupBytes);
  }

  // A token beyond the last is left out: nothing of its column is stored, and a
  // column of the product depends on no other.
  __device__ void CopyTokens(int strip, uint8_t* to) {
    const int columns_left = static_cast<int>(operands_.read.k) -
                             strip * kStripColumns - lane_ % 8 * 16;
    Keep(tokens_);
    if (operands_.read.whole_pieces && columns_left > 0) {
      const uint8_t* from = tokens_;
#pragma unroll
      for (int token = 0; token < Tile::kTokens; token += kTokenStep) {
        if (token < tokens_left_) CopyAsync16(to + token * kSwizzleBytes, from);
        from += kTokenStep * operands_.read.k;
      }
    } else {
      CopyBytes(to, columns_left);
    }
    tokens_ += kStripColumns;
  }

  // Zero beyond the columns. Rare: short rather than quick.
  __device__ void CopyBytes(uint8_t* to, int columns_left) const {
    const uint8_t* from = tokens_;
#pragma unroll 1
    for (int token = 0; token < tokens_left_; token += kTokenStep) {
#pragma unroll 1
      for (int i = 0; i < 16; ++i) {
        to[token * kSwizzleBytes + i] = i < columns_left ? from[i] : uint8_t{0};
      }
      from += kTokenStep * operands_.read.k;
    }
  }

  // The codes of one chunk, which this lane has copied itself.
  __device__ void Unpack(int stage, int chunk, Factors& factors) const {
    const uint8_t* from = Codes(stage) + chunk * Tile::kChunkCodeBytes;
    Fp8Rows step[4];
    if constexpr (Tile::kCodes == CodeFormat::kE2m1) {
      const uint4 words = *reinterpret_cast<const uint4*>(from);
      step[0] = UnpackLayoutEToE5m2(words.x);
      step[1] = UnpackLayoutEToE5m2(words.y);
      step[2] = UnpackLayoutEToE5m2(words.z);
      step[3] = UnpackLayoutEToE5m2(words.w);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint4 words = *reinterpret_cast<const uint4*>(from + half * 512);
        step[2 * half] = UnpackE4m3(words.x, words.y);
        step[2 * half + 1] = UnpackE4m3(words.z, words.w);
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      factors.a[i / 4][i % 4] = step[i / 2].row[i % 2];
    }
    Keep(factors.a[0]);
    Keep(factors.a[1]);
  }

  // Starts the two products of a chunk.
  __device__ void Start(int stage, int chunk, const Factors& factors,
                        typename Tile::Sums& group) {
    const uint64_t tokens =
        SwizzledMatrix(SharedAddress(DynamicShared()) +
                       static_cast<uint32_t>(stage * Tile::kTokenBytes)) +
        static_cast<uint64_t>(chunk) * 2 * kDescriptorStep;
    WgmmaFence();
    StartOne(group, factors.a[0], tokens, !is_new_);
    StartOne(group, factors.a[1], tokens + kDescriptorStep, true);
    WgmmaCommit();
    is_new_ = false;
  }

  __device__ static void StartOne(typename Tile::Sums& group,
                                  const uint32_t (&a)[4], uint64_t tokens,
                                  bool accumulates) {
    if constexpr (Tile::kCodes == CodeFormat::kE2m1) {
      WgmmaE5m2(group, a, tokens, accumulates);
    } else {
      WgmmaE4m3(group, a, tokens, accumulates);
    }
  }

  // Whether a group (or what this block has of it) ends with this strip.
  __device__ bool EndsGroup() const {
    return ((strip_ + 1) & operands_.group_mask) == 0 ||
           strip_ + 1 == strip_end_;
  }

  __device__ bool EndsGroupHalfway() const {
    return Tile::kScales != ScaleFormat::kNone && operands_.ends_halfway;
  }

  // Adds the sum of the group that ends with this chunk to the total.
  __device__ void EndGroup(int stage, int chunk, typename Tile::Sums& group,
                           typename Tile::Sums& sums) {
    const float2 scale = LoadScales(stage, chunk);
    WgmmaWaitForSums(group);
#pragma unroll
    for (int i = 0; i < Tile::kSums; ++i) {
      sums[i] = fmaf(i % 4 < 2 ? scale.x : scale.y, group[i], sums[i]);
    }
    is_new_ = true;
  }

  // Of rows lane / 4 and lane / 4 + 8.
  __device__ float2 LoadScales(int stage, int chunk) const {
    if constexpr (Tile::kScales == ScaleFormat::kNone) {
      return make_float2(1, 1);
    } else {
      const uint8_t* from = Scales(stage) + chunk * Tile::kGroupBytes +
                            lane_ / 4 * 2 * (Tile::kGroupBytes / kSlabRows);
      return LoadScalePair<Tile::kScales>(from);
    }
  }

  const WgmmaOperands& operands_;
  const int lane_;
  const int warp_;
  int strip_;  // that is multiplied
  const int strip_end_;
  bool is_new_ = true;  // the group's sum
  // Sources of the next strip's copies.
  const uint8_t* codes_;
  int code_slot_;  // where they go to in the ring's first stage
  const uint8_t* scales_ = nullptr;
  const uint8_t* tokens_;
  int tokens_left_;  // from the first of this thread on
  int token_slot_;   // where it goes to in a stage
};

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_WGMMA_TILE_H_
