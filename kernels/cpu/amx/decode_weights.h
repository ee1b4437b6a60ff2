// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_AMX_DECODE_WEIGHTS_H_
#define ZQFP_KERNELS_CPU_AMX_DECODE_WEIGHTS_H_

// Rows of weights in e2m1 and e4m3 to left factors of tiles. e2m1 times a power
// of two and e4m3 are subsets of BF16.
//
// A block is 128 elements of k, four tiles or steps. With shift scales the
// steps are what shifts of a 64-byte load give (Bf16Unit::BlockOrder), else
// they follow each other.

#include <immintrin.h>
#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/packed_rows.h"
#include "kernels/cpu/avx512bf16/bf16_unit.h"

namespace zqfp::kernels::amx {
namespace {

using avx512::CeilDiv;
using avx512::kBlock;
using avx512::kVectors;
using avx512::LowBits64;
using avx512::Mask;

// A block of e4m3 codes, `left` of them there, to BF16 as they lie there.
inline void DecodeInOrder(const uint8_t* codes, int64_t left,
                          __m512i (&out)[kVectors]) {
  const __m512i subnormals = avx512bf16::E4m3SubnormalTable();
#pragma GCC unroll 4
  for (int64_t i = 0; i < kVectors; ++i) {
    const __m256i v = _mm256_maskz_loadu_epi8(
        static_cast<__mmask32>(LowBits64(left - kTileK * i)),
        codes + kTileK * i);
    out[i] = avx512bf16::DecodeE4m3(_mm512_cvtepu8_epi16(v), subnormals);
  }
}

// BF16 of the e2m1 codes, -0 as 0: a saturating subtraction from the exponent
// then leaves zeros alone.
inline __m512i UnsignedZeroTable() {
  const __m512i table = avx512::Bf16OfE2m1();
  return _mm512_maskz_mov_epi16(
      _mm512_test_epi16_mask(table, _mm512_set1_epi16(0x7fff)), table);
}

inline const uint8_t* RowAt(const WeightView& w, int64_t n, int64_t k) {
  const int64_t codes_a_byte = w.format == WeightFormat::kE4m3 ? 1 : 2;
  return static_cast<const uint8_t*>(w.data) + n * avx512::RowBytes(w) +
         k / codes_a_byte;
}

// Decodes the rows of a block, the 128 elements from k on: four vectors of
// weights each, one for each step.
template <WeightFormat kFormat>
class BlockDecoder;

// In the order of shifts: a group is the same lanes of all four.
template <>
class BlockDecoder<WeightFormat::kE2m1Shift> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) {
    const int64_t first = k / w.group_size;
    const int64_t in_block =
        w.group_size < kBlock ? kBlock / w.group_size : int64_t{1};
    num_groups_ = NumGroups(w.k, w.group_size);
    shift_ = w.shift + first;
    groups_ =
        Mask(in_block < num_groups_ - first ? in_block : num_groups_ - first);
    codes_ = LowBits64(CeilDiv(w.k - k, 2));
    alignas(64) uint16_t group[32];
    for (int64_t j = 0; j < 32; ++j) {
      group[j] = static_cast<uint16_t>(4 * j * in_block / kBlock);
    }
    group_of_lane_ = _mm512_load_si512(group);
  }

  void Decode(const uint8_t* codes, int64_t n, __m512i (&out)[kVectors]) const {
    const __m512i v = _mm512_maskz_loadu_epi8(codes_, codes);
    // Shifts to their lanes, where BF16 has its exponent.
    const __m128i shifts =
        _mm_maskz_loadu_epi8(groups_, shift_ + n * num_groups_);
    const __m512i exponents = _mm512_slli_epi16(
        _mm512_permutexvar_epi16(
            group_of_lane_, _mm512_castsi128_si512(_mm_cvtepu8_epi16(shifts))),
        7);
#pragma GCC unroll 4
    for (unsigned i = 0; i < kVectors; ++i) {
      const __m512i weights =
          _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 4 * i), table_);
      out[i] = _mm512_subs_epu16(weights, exponents);
    }
  }

 private:
  int64_t num_groups_;
  const uint8_t* shift_;
  __mmask16 groups_;
  __mmask64 codes_;
  __m512i group_of_lane_;
  __m512i table_ = UnsignedZeroTable();
};

// As they lie there: a group is one step or some.
template <>
class BlockDecoder<WeightFormat::kE2m1Free> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) : left_(CeilDiv(w.k - k, 2)) {}

  void Decode(const uint8_t* codes, int64_t, __m512i (&out)[kVectors]) const {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kVectors; ++i) {
      // A byte to each 32-bit lane, its upper code to the upper half.
      const __m512i v = _mm512_cvtepu8_epi32(
          _mm_maskz_loadu_epi8(Mask(left_ - 16 * i), codes + 16 * i));
      out[i] = _mm512_permutexvar_epi16(
          _mm512_or_si512(v, _mm512_slli_epi32(v, 12)), table_);
    }
  }

 private:
  int64_t left_;
  __m512i table_ = avx512::Bf16OfE2m1();
};

template <>
class BlockDecoder<WeightFormat::kE4m3> {
 public:
  BlockDecoder(const WeightView& w, int64_t k) : left_(w.k - k) {}

  void Decode(const uint8_t* codes, int64_t, __m512i (&out)[kVectors]) const {
    DecodeInOrder(codes, left_, out);
  }

 private:
  int64_t left_;
};

// The block of a strip, the rows from n on: four tiles, one for each step. Rows
// beyond the last one are zero, and so are codes beyond a row's end. `codes`
// and `ahead` belong to row n; the latter, what is to be decoded later, is
// asked for.
template <WeightFormat kFormat>
inline void DecodeStrip(const WeightView& w,
                        const BlockDecoder<kFormat>& decoder, int64_t n,
                        const uint8_t* codes, const uint8_t* ahead,
                        uint8_t* out) {
  constexpr int64_t kLoad = kFormat == WeightFormat::kE4m3 ? 128 : 64;  // bytes
  const int64_t row_bytes = avx512::RowBytes(w);
  const int64_t left = w.n - n;
  const int64_t rows = left < 0 ? 0 : left < kTileRows ? left : kTileRows;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < kLoad; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead) + r * row_bytes + i,
                   _MM_HINT_T0);
    }
    __m512i weights[kVectors];
    decoder.Decode(codes + r * row_bytes, n + r, weights);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_store_si512(out + i * kTileBytes + r * kRowBytes, weights[i]);
    }
  }
  for (int64_t r = rows; r < kTileRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      _mm512_store_si512(out + i * kTileBytes + r * kRowBytes,
                         _mm512_setzero_si512());
    }
  }
}

}  // namespace
}  // namespace zqfp::kernels::amx

#endif  // ZQFP_KERNELS_CPU_AMX_DECODE_WEIGHTS_H_
