// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX2_GEMV_H_
#define ZQFP_KERNELS_CPU_AVX2_GEMV_H_

// MatmulA8 for 1 to 4 tokens: each weight is read once in its on-disk order,
// decoded in registers and met with every token.
//
// e2m1 weights are bytes w + 12, w twice their value. The high part of a token
// (int16_tokens.h) is 256 a + b of signed bytes, its low part a signed byte, so
// that products of bytes and sums of four fit in 16 bits. A block is the 64
// elements of a 32-byte load, whose byte j holds 2j and 2j + 1: tokens are the
// 32 even ones, then the 32 odd ones. 32-bit lane l sums the elements 8l ..
// 8l+7, all of one group; what 12 adds to it is known beforehand.
//
// e4m3 weights become f32 (as f16 in a vector of 16, 2^-8 of their value):
// tokens are f32 in the order that takes, even before odd, of 32.

#include <immintrin.h>
#include <string.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/int16_tokens.h"

namespace zqfp::kernels::avx2 {
namespace {

constexpr int64_t kMaxFew = 4;
constexpr int64_t kBlock = 64;
constexpr int64_t kPrefetchBytes = 4 << 10;

// One block of a token, for e2m1 weights.
struct ByteBlock {
  int8_t a[kBlock], b[kBlock], low[kBlock];
  int32_t offset[8];      // of the high part's lanes: -12 sum
  int32_t low_offset[8];  // of the low part's
};

struct FewTokens {
  const ByteBlock* bytes = nullptr;  // [blocks][tokens]
  const uint8_t* has_low = nullptr;  // [blocks] of any token
  const float* floats = nullptr;     // [tokens][stride]
  int64_t stride = 0;
  float scale[kMaxFew];
  int64_t count = 0;
  int64_t first = 0;
};

inline int64_t Blocks(int64_t k) { return (k + kBlock - 1) / kBlock; }

inline int64_t FewBytes(int64_t k) {
  const int64_t bytes = Blocks(k) * (kMaxFew * int64_t{sizeof(ByteBlock)} + 1);
  const int64_t floats = kMaxFew * Blocks(k) * kBlock * 4;
  return bytes > floats ? bytes : floats;
}

// Elements of a block to bytes; `at` counts from its beginning.
inline void SetByte(ByteBlock& block, int64_t at, int32_t all) {
  const int32_t high = all / 8;
  const int32_t low = all % 8;
  const int32_t b = static_cast<int8_t>(high);
  const int64_t byte = at % 2 * 32 + at / 2;
  block.a[byte] = static_cast<int8_t>((high - b) / 256);
  block.b[byte] = static_cast<int8_t>(b);
  block.low[byte] = static_cast<int8_t>(low);
  block.offset[at / 8] -= 12 * high;
  block.low_offset[at / 8] -= 12 * low;
}

inline FewTokens PrepareBytes(const MatmulA8Args& args, int64_t first,
                              int64_t count, void* workspace) {
  const int64_t k = args.weight.k;
  ByteBlock* bytes = static_cast<ByteBlock*>(workspace);
  uint8_t* has_low = reinterpret_cast<uint8_t*>(bytes + Blocks(k) * count);
  FewTokens x;
  x.bytes = bytes;
  x.has_low = has_low;
  x.count = count;
  x.first = first;
  memset(workspace, 0,
         static_cast<size_t>(Blocks(k) *
                             (count * int64_t{sizeof(ByteBlock)} + 1)));
  for (int64_t t = 0; t < count; ++t) {
    const uint8_t* q = args.x.data + (first + t) * k;
    __m256 nans = _mm256_setzero_ps();
    for (int64_t i = 0; i < k; i += kLanes) {
      __m256 value = FromE4m3(LoadBytes(q + i, k - i));
      const __m256 nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
      nans = _mm256_or_ps(nans, nan);
      value = _mm256_andnot_ps(nan, value);
      alignas(32) int32_t all[kLanes];
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(all),
          _mm256_cvttps_epi32(_mm256_mul_ps(value, _mm256_set1_ps(512.0f))));
      ByteBlock& block = bytes[i / kBlock * count + t];
      for (int64_t l = 0; l < kLanes; ++l) {
        SetByte(block, i % kBlock + l, all[l]);
        has_low[i / kBlock] |= static_cast<uint8_t>(all[l] & 7);
      }
    }
    x.scale[t] = _mm256_movemask_ps(nans) != 0 ? __builtin_nanf("")
                                               : args.x.scale[first + t];
  }
  return x;
}

inline FewTokens PrepareFloats(const MatmulA8Args& args, int64_t first,
                               int64_t count, void* workspace) {
  const int64_t k = args.weight.k;
  float* floats = static_cast<float*>(workspace);
  FewTokens x;
  x.floats = floats;
  x.stride = Blocks(k) * kBlock;
  x.count = count;
  x.first = first;
  for (int64_t t = 0; t < count; ++t) {
    x.scale[t] = args.x.scale[first + t];
    for (int64_t i = 0; i < x.stride; i += kLanes) {
      alignas(32) float values[kLanes];
      _mm256_store_ps(values, FromE4m3(LoadBytes(
                                  args.x.data + (first + t) * k + i, k - i)));
      for (int64_t l = 0; l < kLanes; ++l) {
        const int64_t at = (i + l) % 32;
        floats[t * x.stride + (i + l) / 32 * 32 + at % 2 * 16 + at / 2] =
            values[l];
      }
    }
  }
  return x;
}

// 32 bytes of a row, zero beyond `count`.
inline __m256i LoadRow(const uint8_t* bytes, int64_t count) {
  if (count >= 32) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  }
  alignas(32) uint8_t copy[32] = {};
  memcpy(copy, bytes, static_cast<size_t>(count));
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(copy));
}

inline __m256i LoadBytes32(const int8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

// Sums of four products in 16-bit lanes.
inline __m256i DotBytes(__m256i even, __m256i odd, const int8_t* x) {
  return _mm256_add_epi16(_mm256_maddubs_epi16(even, LoadBytes32(x)),
                          _mm256_maddubs_epi16(odd, LoadBytes32(x + 32)));
}

// What a lane's sum is multiplied by, in the block that begins at `k`.
inline __m256 LaneScales(const WeightView& w, int64_t n, int64_t k,
                         int64_t num_groups) {
  // 2^-shift by its number.
  alignas(64) static constexpr float kPowers[16] = {
      1.0f,        1.0f / 2,    1.0f / 4,    1.0f / 8,    1.0f / 16,
      1.0f / 32,   1.0f / 64,   1.0f / 128,  1.0f / 256,  1.0f / 512,
      1.0f / 1024, 1.0f / 2048, 1.0f / 4096, 1.0f / 8192, 1.0f / 16384};
  const int64_t group = k / w.group_size;
  const int64_t at = n * num_groups + group;
  const bool free = w.format == WeightFormat::kE2m1Free;
  const float first = free ? w.group_scale[at] : kPowers[w.shift[at] & 15];
  if (w.group_size != 32) return _mm256_set1_ps(first);
  if (group + 1 >= num_groups) return _mm256_set1_ps(first);
  const float second =
      free ? w.group_scale[at + 1] : kPowers[w.shift[at + 1] & 15];
  return _mm256_insertf128_ps(_mm256_set1_ps(first), _mm_set1_ps(second), 1);
}

// sum[t] = lanes of (row n) . (token t).
template <int kTokens>
inline void DotE2m1Row(const WeightView& w, const FewTokens& x, int64_t n,
                       __m256 (&sum)[kTokens]) {
  const int64_t row_bytes = (w.k + 1) / 2;
  const int64_t num_groups = NumGroups(w.k, w.group_size);
  const uint8_t* row = static_cast<const uint8_t*>(w.data) + n * row_bytes;
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i table = _mm256_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11,
                                         10, 9, 8, 6, 4, 0, 12, 13, 14, 15, 16,
                                         18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i many = _mm256_set1_epi16(256);
  for (int t = 0; t < kTokens; ++t) sum[t] = _mm256_setzero_ps();
  for (int64_t b = 0; b < Blocks(w.k); ++b) {
    _mm_prefetch(reinterpret_cast<const char*>(row + b * 32) + kPrefetchBytes,
                 _MM_HINT_T0);
    const __m256i v = LoadRow(row + b * 32, row_bytes - b * 32);
    const __m256i even =
        _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    const __m256i odd = _mm256_shuffle_epi8(
        table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    const __m256 scale = LaneScales(w, n, b * kBlock, num_groups);
    const ByteBlock* block = x.bytes + b * kTokens;
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256i offset =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[t].offset));
      const __m256i dot = _mm256_add_epi32(
          _mm256_add_epi32(
              _mm256_madd_epi16(DotBytes(even, odd, block[t].b), ones), offset),
          _mm256_madd_epi16(DotBytes(even, odd, block[t].a), many));
      sum[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum[t]);
    }
    if (x.has_low[b] == 0) continue;
    const __m256 eighth = _mm256_mul_ps(scale, _mm256_set1_ps(0.125f));
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256i offset = _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(block[t].low_offset));
      const __m256i dot = _mm256_add_epi32(
          _mm256_madd_epi16(DotBytes(even, odd, block[t].low), ones), offset);
      sum[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), eighth, sum[t]);
    }
  }
}

// 16 e4m3 codes in the high bytes of 16-bit lanes, times 2^-8, as f16:
// subnormals meet subnormals. The NaN code becomes a number.
inline __m256i HalfOf(__m256i lanes) {
  return _mm256_and_si256(_mm256_srai_epi16(lanes, 1),
                          _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
}

// sum[t] = lanes of (row n) . (token t), times 2^-8; NaN where a code is.
template <int kTokens>
inline void DotE4m3Row(const WeightView& w, const FewTokens& x, int64_t n,
                       __m256 (&sum)[kTokens]) {
  const uint8_t* row = static_cast<const uint8_t*>(w.data) + n * w.k;
  const __m256i nan = _mm256_set1_epi8(0x7f);
  __m256i nans = _mm256_setzero_si256();
  __m256 part[2][kTokens];
  for (int t = 0; t < kTokens; ++t) {
    part[0][t] = part[1][t] = _mm256_setzero_ps();
  }
  for (int64_t k = 0; k < w.k; k += 32) {
    _mm_prefetch(reinterpret_cast<const char*>(row + k) + kPrefetchBytes,
                 _MM_HINT_T0);
    const __m256i v = LoadRow(row + k, w.k - k);
    nans =
        _mm256_or_si256(nans, _mm256_cmpeq_epi8(_mm256_and_si256(v, nan), nan));
    const __m256i half[2] = {HalfOf(_mm256_slli_epi16(v, 8)), HalfOf(v)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256 weights = _mm256_cvtph_ps(
          i % 2 == 0 ? _mm256_castsi256_si128(half[i / 2])
                     : _mm256_extracti128_si256(half[i / 2], 1));
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        part[i % 2][t] = _mm256_fmadd_ps(
            weights, _mm256_loadu_ps(x.floats + t * x.stride + k + 8 * i),
            part[i % 2][t]);
      }
    }
  }
  const bool spoilt = _mm256_movemask_epi8(nans) != 0;
  for (int t = 0; t < kTokens; ++t) {
    sum[t] = spoilt ? _mm256_set1_ps(__builtin_nanf(""))
                    : _mm256_add_ps(part[0][t], part[1][t]);
  }
}

// Rows [begin, end) for kTokens tokens.
template <int kTokens>
void GemvRows(const MatmulA8Args& args, const FewTokens& x, int64_t begin,
              int64_t end) {
  const WeightView& w = args.weight;
  for (int64_t n = begin; n < end; ++n) {
    __m256 sum[kTokens];
    float factor;
    if (w.format == WeightFormat::kE4m3) {
      DotE4m3Row<kTokens>(w, x, n, sum);
      factor = 256.0f * w.row_scale[n];
    } else {
      DotE2m1Row<kTokens>(w, x, n, sum);
      factor = kInt16Factor *
               (w.format == WeightFormat::kE2m1Free ? 1.0f : w.row_scale[n]);
    }
    for (int t = 0; t < kTokens; ++t) {
      const int64_t at = (x.first + t) * w.n + n;
      float y = SumLanes(sum[t]) * factor * x.scale[t];
      if (args.bias != nullptr) y += args.bias[n];
      if (args.residual != nullptr) y += args.residual[at];
      args.y[at] = y;
    }
  }
}

// Up to kMaxFew tokens from `first` on.
inline void Gemv(const MatmulA8Args& args, int64_t first, int64_t count,
                 const Exec& exec, void* workspace) {
  using Body =
      void (*)(const MatmulA8Args&, const FewTokens&, int64_t, int64_t);
  static constexpr Body kBodies[kMaxFew] = {GemvRows<1>, GemvRows<2>,
                                            GemvRows<3>, GemvRows<4>};
  const FewTokens x = args.weight.format == WeightFormat::kE4m3
                          ? PrepareFloats(args, first, count, workspace)
                          : PrepareBytes(args, first, count, workspace);
  ParallelFor(exec, args.weight.n, 4, [&](int64_t begin, int64_t end, int) {
    kBodies[count - 1](args, x, begin, end);
  });
}

}  // namespace
}  // namespace zqfp::kernels::avx2

#endif  // ZQFP_KERNELS_CPU_AVX2_GEMV_H_
