// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
#define ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_

// Exact e2m1 x e4m3 on 16-bit integers.
//
// Twice an e2m1 value is an integer of at most 12. An e4m3 value is an integer
// of 18 bits in units of 2^-9: 8 high + low, where high has 15 bits and low,
// the last three, is nothing but for values below 1/8, of which a token has
// few (the largest is 448). So one dot of high parts does nearly all of the
// work, and low parts are added where there are any: for a block of 128 in
// gemv.h; in gemm.h pair by pair, from a list. Sums of a group are exact
// integers, 256 * 12 * 448 * 2^6 < 2^31.

#include <immintrin.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/avx512/gemm.h"
#include "kernels/cpu/avx512/packed_rows.h"

namespace zqfp::kernels::avx512vnni {
namespace {

using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;

constexpr int64_t kChunk = 2 * avx512::kChunkSteps;  // of gemm.h, elements

// 32 e4m3 codes, one in the low byte of each 16-bit lane (the high byte is
// ignored), as 8 high + low.
struct HighLow {
  __m512i high, low;
};
inline HighLow Split(__m512i lanes) {
  const __m512i magnitude = _mm512_and_si512(lanes, _mm512_set1_epi16(0x7f));
  const __mmask32 normal =
      _mm512_test_epi16_mask(lanes, _mm512_set1_epi16(0x78));
  const __mmask32 negative =
      _mm512_test_epi16_mask(lanes, _mm512_set1_epi16(0x80));
  const __m512i significand =
      _mm512_or_si512(_mm512_and_si512(lanes, _mm512_set1_epi16(7)),
                      _mm512_maskz_set1_epi16(normal, 8));
  // significand * 2^(exponent - 1), exponent >= 1
  const __m512i exponent =
      _mm512_max_epi16(_mm512_srli_epi16(magnitude, 3), _mm512_set1_epi16(1));
  const __m512i high =
      _mm512_srlv_epi16(_mm512_slli_epi16(significand, 11),
                        _mm512_sub_epi16(_mm512_set1_epi16(15), exponent));
  const __m512i low = _mm512_and_si512(
      _mm512_sllv_epi16(significand,
                        _mm512_sub_epi16(exponent, _mm512_set1_epi16(1))),
      _mm512_set1_epi16(7));
  const __m512i zero = _mm512_setzero_si512();
  return {_mm512_mask_sub_epi16(high, negative, zero, high),
          _mm512_mask_sub_epi16(low, negative, zero, low)};
}

struct Int16Unit {
  using Sum = __m512i;
  static constexpr int64_t kStep = 2;
  static constexpr float kFactor = 1.0f / 128;  // 2^-1 of weights, 2^-6 of high
  static constexpr bool kFoldsShift = false;
  static constexpr bool kKnowsE2m1 = true;
  static constexpr bool kKnowsE4m3 = false;
  // More than these share weights decoded by gemm.h: faster from 7 on with
  // n = k = 2048, Emerald Rapids (November 2026).
  static constexpr int64_t kMaxFew = 6;

  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Dot(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpwssd_epi32(sum, w, x);
  }
  static __m512 ToF32(Sum sum) { return _mm512_cvtepi32_ps(sum); }

  // 16 doubled e2m1 values, twice: vpermw reads 5 bits of a lane, and the fifth
  // belongs to the next code.
  static __m512i E2m1Table() {
    alignas(64) static constexpr int16_t kTable[32] = {
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return _mm512_load_si512(kTable);
  }

  // The low parts of one pair of a token.
  struct LowPair {
    uint32_t at;   // token * kChunkSteps + step of the chunk
    int32_t pair;  // two 16-bit integers
  };

  struct Tokens {
    const int16_t* high;  // in the order of gemv.h or of gemm.h
    const float* scale;   // [tokens] NaN where a code is
    int64_t count;
    int64_t blocks;
    int64_t first;  // of the matmul's tokens
    // gemv.h: the low parts, likewise; which blocks have any, of all tokens.
    const int16_t* low = nullptr;
    const uint8_t* low_blocks = nullptr;
    // gemm.h: [chunks][slices of kSliceTokens], each with room for all pairs.
    const LowPair* low_pairs = nullptr;
    const int32_t* num_low_pairs = nullptr;

    const int32_t* steps(int64_t chunk, int64_t token) const {
      return reinterpret_cast<const int32_t*>(high) +
             (chunk * count + token) * avx512::kChunkSteps;
    }
  };

  // Tokens whose low parts are one list: a thread's job in Prepare.
  static constexpr int64_t kSliceTokens = 64;

  // Elements of a token, in whole chunks.
  static int64_t Padded(int64_t k) {
    return avx512::CeilDiv(k, kChunk) * kChunk;
  }
  // Pairs take the most: what tokens of ordinary models leave untouched of it
  // costs no memory.
  static int64_t TokenBytes(int64_t k) {
    return Padded(k) * 2 + Padded(k) / kStep * int64_t{sizeof(LowPair)} +
           Padded(k) / kBlock + Padded(k) / kChunk * 4 + 4;
  }

  // One block of a token in the order of gemv.h; whether it has low parts.
  static bool BlockOrder(const uint8_t* q, int64_t left, int16_t* high,
                         int16_t* low, __mmask64& nan) {
    const __m512i a = _mm512_maskz_loadu_epi8(LowBits64(left), q);
    const __m512i b = _mm512_maskz_loadu_epi8(LowBits64(left - 64), q + 64);
    nan |= Nans(a) | Nans(b);
    __m512i any = _mm512_setzero_si512();
    for (int i = 0; i < kVectors; ++i) {
      const unsigned bits = static_cast<unsigned>(8 * i);
      const __m256i first = _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, bits));
      const __m256i second = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, bits));
      const HighLow x =
          Split(_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
      _mm512_storeu_si512(high + 32 * i, x.high);
      _mm512_storeu_si512(low + 32 * i, x.low);
      any = _mm512_or_si512(any, x.low);
    }
    return _mm512_test_epi32_mask(any, any) != 0;
  }

  // One block of a token in the order of gemm.h's steps: elements i and i + 4
  // of each eight are a pair. Its low parts join a list, numbered from `at` on;
  // returns their number.
  static int64_t StepOrder(const uint8_t* q, int64_t left, int16_t* high,
                           uint32_t at, LowPair* low, __mmask64& nan) {
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t count = 0;
    for (int part = 0; part < 4; ++part) {
      const __m256i codes = _mm256_maskz_loadu_epi8(
          static_cast<__mmask32>(LowBits64(left - 32 * part)), q + 32 * part);
      const __m512i wide = _mm512_cvtepu8_epi16(codes);
      nan |= Nans(wide);
      const __m512i pairs =
          _mm512_unpacklo_epi16(wide, _mm512_bsrli_epi128(wide, 8));
      const HighLow x = Split(pairs);
      _mm512_storeu_si512(high + 32 * part, x.high);
      const __mmask16 bits = _mm512_test_epi32_mask(x.low, x.low);
      if (bits == 0) continue;
      alignas(64) int32_t pair[16], place[16];
      const int32_t base = static_cast<int32_t>(at) + 16 * part;
      _mm512_store_si512(pair, _mm512_maskz_compress_epi32(bits, x.low));
      _mm512_store_si512(
          place, _mm512_maskz_compress_epi32(
                     bits, _mm512_add_epi32(lane, _mm512_set1_epi32(base))));
      const int num_bits = __builtin_popcount(bits);
      for (int i = 0; i < num_bits; ++i) {
        low[count++] = {static_cast<uint32_t>(place[i]), pair[i]};
      }
    }
    return count;
  }

  static __mmask64 Nans(__m512i codes) {
    const __m512i nan = _mm512_set1_epi8(0x7f);
    return _mm512_cmpeq_epi8_mask(_mm512_and_si512(codes, nan), nan);
  }

  // A NaN anywhere in a token spoils it all: its scale becomes one.
  static void NoteNan(float* scale) {
    const float nan = __builtin_nanf("");
    __atomic_store(scale, &nan, __ATOMIC_RELAXED);
  }

  static Tokens Prepare(const MatmulA8Args& args, int64_t first, int64_t count,
                        bool few, const Exec& exec, uint8_t* workspace) {
    const int64_t padded = Padded(args.weight.k);
    const int64_t blocks = padded / kBlock;
    int16_t* high = reinterpret_cast<int16_t*>(workspace);
    void* behind = high + count * padded;
    float* scale = static_cast<float*>(behind);
    for (int64_t t = 0; t < count; ++t) scale[t] = args.x.scale[first + t];
    behind = scale + count;
    Tokens x = {.high = high,
                .scale = scale,
                .count = count,
                .blocks = blocks,
                .first = first};
    if (few) {
      PrepareFew(args, x, high, scale, static_cast<int16_t*>(behind));
    } else {
      PrepareMany(args, x, high, scale, behind, exec);
    }
    return x;
  }

  static void PrepareFew(const MatmulA8Args& args, Tokens& x, int16_t* high,
                         float* scale, int16_t* low) {
    const int64_t k = args.weight.k;
    uint8_t* low_blocks =
        reinterpret_cast<uint8_t*>(low + x.count * x.blocks * kBlock);
    for (int64_t b = 0; b < x.blocks; ++b) {
      low_blocks[b] = 0;
      for (int64_t t = 0; t < x.count; ++t) {
        const uint8_t* q = args.x.data + (x.first + t) * k + b * kBlock;
        const int64_t at = (t * x.blocks + b) * kBlock;
        __mmask64 nan = 0;
        low_blocks[b] |= static_cast<uint8_t>(
            BlockOrder(q, k - b * kBlock, high + at, low + at, nan));
        if (nan != 0) NoteNan(scale + t);
      }
    }
    x.low = low;
    x.low_blocks = low_blocks;
  }

  static void PrepareMany(const MatmulA8Args& args, Tokens& x, int16_t* high,
                          float* scale, void* workspace, const Exec& exec) {
    const int64_t k = args.weight.k;
    const int64_t slices = avx512::CeilDiv(x.count, kSliceTokens);
    const int64_t chunks = x.blocks * kBlock / kChunk;
    int32_t* num_low = static_cast<int32_t*>(workspace);
    LowPair* low = reinterpret_cast<LowPair*>(num_low + chunks * slices);
    ParallelFor(exec, chunks * slices, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t job = begin; job < end; ++job) {
        const int64_t chunk = job / slices;
        const int64_t slice = job % slices * kSliceTokens;
        LowPair* list = low + (chunk * x.count + slice) * avx512::kChunkSteps;
        int64_t size = 0;
        for (int64_t t = slice; t < slice + kSliceTokens && t < x.count; ++t) {
          const uint8_t* q = args.x.data + (x.first + t) * k;
          int16_t* out = high + (chunk * x.count + t) * kChunk;
          __mmask64 nan = 0;
          for (int64_t in = 0; in < kChunk; in += kBlock) {
            const int64_t at = chunk * kChunk + in;
            const uint32_t place =
                static_cast<uint32_t>(t * avx512::kChunkSteps + in / kStep);
            size +=
                StepOrder(q + at, k - at, out + in, place, list + size, nan);
          }
          if (nan != 0) NoteNan(scale + t);
        }
        num_low[job] = static_cast<int32_t>(size);
      }
    });
    x.low_pairs = low;
    x.num_low_pairs = num_low;
  }

  // sum[t] += scale * (block of weights) . (block of token t).
  template <int kTokens>
  static inline void AddBlock(const __m512i (&w)[kVectors], const Tokens& x,
                              int64_t block, __m512 scale,
                              __m512 (&sum)[kTokens]) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* at = x.high + (t * x.blocks + block) * kBlock;
      const __m512 dot = ToF32(DotBlock(w, at));
      sum[t] = _mm512_fmadd_ps(dot, scale, sum[t]);
    }
    if (x.low_blocks[block] == 0) return;
    const __m512 eighth = _mm512_mul_ps(scale, _mm512_set1_ps(0.125f));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* at = x.low + (t * x.blocks + block) * kBlock;
      const __m512 dot = ToF32(DotBlock(w, at));
      sum[t] = _mm512_fmadd_ps(dot, eighth, sum[t]);
    }
  }

  static inline Sum DotBlock(const __m512i (&w)[kVectors], const int16_t* x) {
    Sum sum = Zero();
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      sum = Dot(sum, w[i], _mm512_loadu_si512(x + 32 * i));
    }
    return sum;
  }

  struct Decoder {
    __m512i table = E2m1Table();
    __m512i E2m1(__m512i codes, int i) const {
      return _mm512_permutexvar_epi16(
          _mm512_srli_epi16(codes, static_cast<unsigned>(4 * i)), table);
    }
  };

  // The low parts of all tokens in the chunk.
  template <int kStrips, typename Job>
  static inline void AddRest(const Job& job, int64_t group_steps) {
    constexpr int64_t kRows = kStrips * avx512::kStripRows;
    alignas(64) float scales[avx512::kChunkGroups * kRows];
    for (int64_t i = 0; i < job.groups * kRows; i += avx512::kLanes) {
      _mm512_store_ps(scales + i,
                      _mm512_mul_ps(_mm512_load_ps(job.slab.scales + i),
                                    _mm512_set1_ps(0.125f)));
    }
    const int log2_group = __builtin_ctzll(
        static_cast<unsigned long long>(job.groups > 1 ? group_steps : kChunk));
    const int64_t chunk = job.k / kChunk;
    const int64_t slices = avx512::CeilDiv(job.x.count, kSliceTokens);
    for (int64_t slice = 0; slice < slices; ++slice) {
      const LowPair* low =
          job.x.low_pairs +
          (chunk * job.x.count + slice * kSliceTokens) * avx512::kChunkSteps;
      const int64_t size = job.x.num_low_pairs[chunk * slices + slice];
      for (int64_t i = 0; i < size; ++i) {
        const int64_t step = low[i].at % avx512::kChunkSteps;
        const int64_t token = low[i].at / avx512::kChunkSteps;
        const __m512i pair = _mm512_set1_epi32(low[i].pair);
        const int32_t* weights = job.slab.weights + step * kRows;
        const float* scale = scales + (step >> log2_group) * kRows;
        float* total = job.totals + token * kRows;
#pragma GCC unroll 4
        for (int s = 0; s < kStrips; ++s) {
          const int64_t strip = s * avx512::kStripRows;
          const Sum sum = Dot(Zero(), _mm512_load_si512(weights + strip), pair);
          _mm512_store_ps(
              total + strip,
              _mm512_fmadd_ps(ToF32(sum), _mm512_load_ps(scale + strip),
                              _mm512_load_ps(total + strip)));
        }
      }
    }
  }
};

}  // namespace
}  // namespace zqfp::kernels::avx512vnni

#endif  // ZQFP_KERNELS_CPU_AVX512VNNI_INT16_UNIT_H_
