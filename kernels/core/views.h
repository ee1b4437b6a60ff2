// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_VIEWS_H_
#define ZQFP_KERNELS_CORE_VIEWS_H_

// Views: plain descriptions of memory that somebody else owns.
//
// Only C headers here: the per-instruction-set files include this one and must
// not emit a weak symbol.

#include <stdint.h>

namespace zqfp::kernels {

// How one number is stored (definitions: float_formats.h).
enum class ValueFormat : uint8_t { kF32, kBf16, kF16, kE4m3 };

constexpr int64_t ValueBytes(ValueFormat format) {
  return format == ValueFormat::kF32 ? 4 : format == ValueFormat::kE4m3 ? 1 : 2;
}

// How the weight of one linear layer is stored.
enum class WeightFormat : uint8_t {
  kF32,
  kBf16,
  kF16,
  kE4m3,        // w = row_scale[n] * e4m3
  kE4m3Groups,  // w = group_scale[n / scale_rows, g] * e4m3
  kE2m1Free,    // w = group_scale[n, g] * e2m1
  kE2m1Shift,   // w = row_scale[n] * 2^-shift[n, g] * e2m1   (M1, M2, MXFP4)
  kE2m1E4m3,    // w = global_scale / global_divisor * e4m3(scale_code[n, g]) *
                //     e2m1                                   (NVFP4)
};

// What the FP8 tensor cores, whose sums have about 14 bits, do as these grow.
enum class Fp8Sums : uint8_t {
  kPromoted,  // add them up in f32 every 128 of k: off by about 1e-4
  kFast,      // nothing: errors grow with k, to about 4e-3
};

// Low-rank compensation of one weight: x W^T + (x V^T) U^T, which stands for
// W + U V                                               [arXiv:2307.09782, 3.3]
// U [n, rank] is stored transposed, so that neighbours are outputs. In e4m3 row
// n of U and row r of V have one scale each; in bf16 there are none.
struct LorcView {
  ValueFormat format = ValueFormat::kE4m3;  // kE4m3 or kBf16
  int64_t rank = 0;                         // 0: none
  const void* u = nullptr;                  // [rank, n]
  const void* v = nullptr;                  // [rank, k]
  const float* u_scale = nullptr;           // [n]     kE4m3
  const float* v_scale = nullptr;           // [rank]  kE4m3
};

// Largest rank any backend handles (validate.cc refuses more).
inline constexpr int64_t kMaxLorcRank = 64;

// W [n, k] of one linear layer, row-major as on disk; n = output row.
// e2m1: two codes a byte, the even k index in the low nibble, rows padded to a
// whole byte. g = k_index / group_size; the last group of a row may be short.
struct WeightView {
  WeightFormat format = WeightFormat::kF32;
  int64_t n = 0;
  int64_t k = 0;
  // 32, 64, 128 or 256 where there are groups; kE2m1E4m3 also 16.
  int64_t group_size = 0;
  const void* data = nullptr;           // [n, row bytes], no padding between
  const float* row_scale = nullptr;     // [n]              kE4m3, kE2m1Shift
  const float* group_scale = nullptr;   // [n, num_groups]  kE2m1Free
                                        // [ceil(n / scale_rows), num_groups]
                                        //                  kE4m3Groups
  int64_t scale_rows = 1;               // rows that share scales, kE4m3Groups
  const uint8_t* shift = nullptr;       // [n, num_groups]  kE2m1Shift, 0..14
  const uint8_t* scale_code = nullptr;  // [n, num_groups]  kE2m1E4m3, no NaN
  float global_scale = 1;               // kE2m1E4m3: of the whole tensor. Some
  float global_divisor = 1;             // files multiply by it, some divide.
  LorcView lorc;                        // with e4m3 and e2m1 only
  // The same weight in the order of a device's kernels (Device::Place), which
  // then read this, not `data` and the scales; null on the CPU.
  const void* packed = nullptr;
  // Of the products of many tokens by a device's library: the weight in e4m3
  // [n, k] where it is kept (Device::PlaceFp8Rows), and the sums.
  const uint8_t* fp8_rows = nullptr;
  Fp8Sums fp8_sums = Fp8Sums::kPromoted;
};

// Whether `format` has a scale per group of columns.
constexpr bool HasGroups(WeightFormat format) {
  return format == WeightFormat::kE4m3Groups ||
         format == WeightFormat::kE2m1Free ||
         format == WeightFormat::kE2m1Shift ||
         format == WeightFormat::kE2m1E4m3;
}

// ceil(k / group_size), the scales of one row of a weight with groups.
constexpr int64_t NumGroups(int64_t k, int64_t group_size) {
  return (k + group_size - 1) / group_size;
}

// Largest shift with which value * 2^(6 - shift) is exact in e4m3
// (models/FORMAT.md).
inline constexpr int kMaxShift = 14;

// Largest head dimension any backend handles (validate.cc refuses more).
inline constexpr int64_t kMaxHeadDim = 512;

// Tokens quantized to e4m3, one scale per token: x = scale[t] * e4m3(data).
struct QuantizedTokensView {
  const uint8_t* data = nullptr;  // [num_tokens, dim]
  const float* scale = nullptr;   // [num_tokens]
};

// The KV cache of one layer. A page holds page_size tokens of every KV head;
// which page holds which token is RaggedBatchView::page_table's business.
struct KvPagesView {
  ValueFormat format = ValueFormat::kBf16;  // kF32, kBf16 or kE4m3
  int64_t num_pages = 0;
  int64_t num_kv_heads = 0;
  int64_t page_size = 0;  // tokens
  int64_t head_dim = 0;
  void* k = nullptr;         // [num_pages, num_kv_heads, page_size, head_dim]
  void* v = nullptr;         // as k
  float* k_scale = nullptr;  // [num_pages, num_kv_heads, page_size]; e4m3 only
  float* v_scale = nullptr;  // as k_scale
};

// The tokens of one step: several sequences back to back, prefill and decode
// mixed. Sequence s owns the rows token_begin[s] .. token_begin[s+1]-1, which
// are its LAST tokens: row r has the absolute position
//   context_len[s] - (token_begin[s+1] - r).
struct RaggedBatchView {
  int64_t num_sequences = 0;
  const int32_t* token_begin = nullptr;  // [num_sequences + 1], from 0 upwards
  const int32_t* context_len = nullptr;  // [num_sequences], this step included
  const int32_t* page_table = nullptr;   // [num_sequences, page_table_stride]
  int64_t page_table_stride = 0;
  // What a launch has to know of arrays that may lie on a device.
  int64_t num_tokens = 0;       // token_begin[num_sequences]
  int64_t most_tokens = 0;      // of one sequence in this step
  int64_t longest_context = 0;  // largest context_len

  // Sets those three from arrays of the host.
  constexpr void Measure() {
    num_tokens = most_tokens = longest_context = 0;
    for (int64_t s = 0; s < num_sequences; ++s) {
      const int64_t tokens = int64_t{token_begin[s + 1]} - token_begin[s];
      const int64_t context = context_len[s];
      num_tokens += tokens;
      most_tokens = tokens > most_tokens ? tokens : most_tokens;
      longest_context = context > longest_context ? context : longest_context;
    }
  }
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_VIEWS_H_
