// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_LAYOUT_E_H_
#define ZQFP_KERNELS_CUDA_LAYOUT_E_H_

// Layout E: E2M1 weights in the order in which the tensor cores take them as
// f16, nine instructions for eight weights and no table.
//
// A word holds four pairs of codes; the first of a pair is in the low half, the
// second in the high half, at the same bits of each:
//
//   bit    15  14  13  12  11..9  8..6  5..3  2..0
//   pair   s0  s2  s3  s1  m0     m1    m2    m3        s: sign, m: magnitude
//
// A magnitude at bits 11..9 of an f16 is the weight times 2^-14: its two
// exponent bits are the lowest ones of the f16's, its mantissa bit the highest,
// and zero and 0.5 follow from the same rule for subnormals. The other three
// pairs are moved there.

#include <stdint.h>

namespace zqfp::kernels::cuda {

// Value in f16 = weight * 2^-14.
inline constexpr float kLayoutEUnit = 16384.0f;  // 2^14, undoes that

// A slab is 16 rows of a weight, a chunk 64 columns: 1024 weights, 16 bytes of
// E2M1 for each of the 32 lanes of a warp.
inline constexpr int kSlabRows = 16;
inline constexpr int kChunkColumns = 64;
inline constexpr int kStepColumns = 16;  // of one m16n8k16 product
inline constexpr int kChunkSteps = kChunkColumns / kStepColumns;

// Where a code of pair p lies in its half word.
struct LayoutEField {
  int sign;       // bit
  int magnitude;  // lowest of three bits
};
constexpr LayoutEField FieldOfPair(int p) {
  switch (p) {
    case 0:
      return {15, 9};
    case 1:
      return {12, 6};
    case 2:
      return {14, 3};
    default:
      return {13, 0};
  }
}

struct F16Pairs {
  uint32_t pair[4];  // two f16, the first in the low half
};

constexpr F16Pairs UnpackLayoutE(uint32_t word) {
  constexpr uint32_t kField = 0x8E008E00u;
  // The carries of both sums end in bits that the mask clears.
  return {{word & kField, (word << 3) & kField,
           ((word & 0x40384038u) * 66) & kField,     // << 6 and << 1
           ((word & 0x20072007u) * 516) & kField}};  // << 9 and << 2
}

// codes[2 p] and codes[2 p + 1] are pair p.
constexpr uint32_t PackLayoutE(const uint8_t (&codes)[8]) {
  uint32_t word = 0;
  for (int i = 0; i < 8; ++i) {
    const LayoutEField field = FieldOfPair(i / 2);
    const uint32_t code = codes[i];
    const uint32_t half =
        (code >> 3 & 1) << field.sign | (code & 7) << field.magnitude;
    word |= half << (i % 2 * 16);
  }
  return word;
}

// The code at `half` (0, 1) of pair p.
constexpr uint8_t LayoutECode(uint32_t word, int p, int half) {
  const uint32_t bits = word >> (half * 16);
  const LayoutEField field = FieldOfPair(p);
  return static_cast<uint8_t>((bits >> field.sign & 1) << 3 |
                              (bits >> field.magnitude & 7));
}

// --- which weight is where ---------------------------------------------------
//
// m16n8k16 wants of lane l = 4 g + t four pairs a0..a3 of A: rows g, g + 8, g,
// g + 8; slots 2t, 2t+1 of K for the first two and 8 + 2t, 8 + 2t+1 for the
// others. Which column a slot means is free as long as both operands agree:
// here lane t has columns 4t..4t+3 of the step, so that the activations of a
// lane are four neighbours, too.

// Row (of the slab) and first column (of the step) of pair p in lane l.
struct PairPlace {
  int row;
  int column;
};
constexpr PairPlace PlaceOfPair(int lane, int p) {
  return {lane / 4 + p % 2 * 8, lane % 4 * 4 + p / 2 * 2};
}

// Where columns 4 c .. 4 c + 3 of a chunk lie, c = 0..15: step and t.
constexpr int StepOfQuad(int quad) { return quad / 4; }
constexpr int ThreadOfQuad(int quad) { return quad % 4; }

// Where row r of a slab keeps its scale among those of the 16 rows: g and g + 8
// are neighbours, one load of a lane.
constexpr int ScaleSlot(int row) { return row % 8 * 2 + row / 8; }

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_LAYOUT_E_H_
