// SPDX-License-Identifier: Apache-2.0
// The instructions of kernels/cuda/ptx_wgmma.h, done by the emulator.
//
// A product is done at the wait, so that what reads its sums earlier reads old
// ones. It dies where the registers of A or the memory of B are no longer what
// they were at its start, where a descriptor means nothing, and where a fence
// is missing.
//
// Sums are those of the chip as the authors of MMA-Sim (microsoft/MMA-Sim)
// found them: the 32 products and the sum so far are aligned to the largest
// exponent among them, cut after 13 fractional bits and added; the sum is cut
// to 13 bits again. A sum that is not a number stays one.
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/ptx_wgmma.h"
#include "tests/cuda_emulator/emulator.h"

namespace zqfp::kernels::cuda {
namespace {

using emulator::Die;
using emulator::kWarpgroupSize;
using emulator::LaneSlot;

constexpr int kDepth = 32;         // k of one product
constexpr int kFractionBits = 13;  // of aligned terms and of sums
// What the dynamic shared memory begins behind: static variables.
constexpr uint32_t kDynamicAddress = 1024;

// A code: eighths * 2^(exponent - 3), where the exponent of subnormals is the
// smallest normal one, as the multiplier sees it.
struct Factor {
  int eighths = 0;
  int exponent = 0;
  bool is_finite = true;
};
using Codes = std::array<Factor, 256>;

Factor Split(float value, int least_exponent) {
  if (!std::isfinite(value)) return {.is_finite = false};
  if (value == 0) return {};
  const int exponent = std::max(ilogbf(value), least_exponent);
  return {static_cast<int>(ldexpf(value, 3 - exponent)), exponent};
}

const Codes& E4m3Codes() {
  static const Codes codes = [] {
    Codes all;
    for (int code = 0; code < 256; ++code) {
      all[code] = Split(E4m3ToFloat(static_cast<uint8_t>(code)), -6);
    }
    return all;
  }();
  return codes;
}

const Codes& E5m2Codes() {
  static const Codes codes = [] {
    Codes all;
    for (int code = 0; code < 256; ++code) {  // the upper half of an f16
      all[code] = Split(F16ToFloat(static_cast<uint16_t>(code << 8)), -14);
    }
    return all;
  }();
  return codes;
}

// sum + a . b
float AddDot(float sum, const Codes& a_codes, const uint8_t* a,
             const uint8_t* b) {
  if (sum != sum) return sum;
  int product[kDepth], exponent[kDepth];  // product * 2^(exponent - 6)
  int most = sum == 0 ? -126 : ilogbf(sum);
  for (int k = 0; k < kDepth; ++k) {
    const Factor& x = a_codes[a[k]];
    const Factor& y = E4m3Codes()[b[k]];
    if (!x.is_finite || !y.is_finite) return NAN;
    product[k] = x.eighths * y.eighths;
    exponent[k] = x.exponent + y.exponent;
    if (product[k] != 0) most = std::max(most, exponent[k]);
  }
  // In units of 2^(most - kFractionBits); shifts and the conversion cut.
  int64_t total = static_cast<int64_t>(ldexp(sum, kFractionBits - most));
  for (int k = 0; k < kDepth; ++k) {
    if (product[k] == 0) continue;  // its exponent means nothing
    const int shift = std::min(most - exponent[k], 31);
    const int cut = std::abs(product[k]) << (kFractionBits - 6) >> shift;
    total += product[k] < 0 ? -cut : cut;
  }
  int excess = 0;  // bits
  while (std::abs(total) >> excess >= int64_t{2} << kFractionBits) ++excess;
  const int64_t magnitude = std::abs(total) >> excess << excess;
  return static_cast<float>(
      ldexp(static_cast<double>(total < 0 ? -magnitude : magnitude),
            most - kFractionBits));
}

// --- Matrix descriptors (PTX ISA, "Matrix Descriptor Format") ----------------

struct Descriptor {
  uint32_t address;
  uint32_t leading_bytes;  // between core matrices along K, without swizzle
  uint32_t stride_bytes;   // between groups of 8 rows
  int swizzle_bytes;       // 0: none
};

Descriptor Decode(uint64_t bits) {
  constexpr int kSwizzles[] = {0, 128, 64, 32};
  const auto field = [&](int at) {
    return static_cast<uint32_t>(bits >> at & 0x3FFF) << 4;
  };
  const Descriptor descriptor = {field(0), field(16), field(32),
                                 kSwizzles[bits >> 62]};
  if ((bits >> 49 & 7) != 0) Die("a matrix descriptor with a base offset");
  return descriptor;
}

// The address of byte `k` of row `row` of B.
uint32_t AddressOf(const Descriptor& descriptor, int row, int k) {
  const int group = row / 8, in_group = row % 8,
            swizzle = descriptor.swizzle_bytes;
  const uint32_t first = descriptor.address + group * descriptor.stride_bytes;
  if (swizzle == 0) {
    return first + k / 16 * descriptor.leading_bytes + in_group * 16 + k % 16;
  }
  const uint32_t address = first + in_group * swizzle + k;
  // Address bits 4.. change by bits 7.., as many as the swizzle has pieces.
  return address ^ ((address >> 7 & (swizzle / 16 - 1)) << 4);
}

const uint8_t* MemoryAt(uint32_t address) {
  return emulator::DynamicShared() + (address - kDynamicAddress);
}

void WantAtom(const Descriptor& descriptor) {
  const int swizzle = descriptor.swizzle_bytes;
  if (descriptor.address < kDynamicAddress) {
    Die("a matrix descriptor of no dynamic shared memory");
  }
  if (swizzle == 0) return;
  const uint32_t atom = 8 * swizzle, at = descriptor.address % atom;
  if (at + kDepth > static_cast<uint32_t>(swizzle) ||
      descriptor.stride_bytes % atom != 0) {
    Die(
        fmt::format("a matrix descriptor with a {}-byte swizzle begins {} "
                    "bytes into an atom, {} bytes between atoms",
                    swizzle, at, descriptor.stride_bytes));
  }
}

// B [columns, 32] as its descriptor says.
std::vector<uint8_t> ReadB(const Descriptor& descriptor, int columns) {
  std::vector<uint8_t> b(static_cast<size_t>(columns) * kDepth);
  for (int row = 0; row < columns; ++row) {
    for (int piece = 0; piece < kDepth; piece += 16) {
      memcpy(&b[row * kDepth + piece],
             MemoryAt(AddressOf(descriptor, row, piece)), 16);
    }
  }
  return b;
}

// --- Products ----------------------------------------------------------------

// What a thread shows to its warpgroup.
struct Factors {
  uint32_t a[4];
  uint64_t descriptor;
  bool accumulates;
};

// Whether this thread has fenced its registers since it last waited.
std::vector<char>& Fenced() {
  static auto& fenced = *new std::vector<char>(1024);
  return fenced;
}

// Rows r and r + 8 of A, gathered from the four lanes that have them.
using Rows = std::array<std::array<uint8_t, kDepth>, 2>;
Rows RowsOfA(const LaneSlot* threads, int thread) {
  Rows rows;
  for (int t = 0; t < 4; ++t) {
    Factors factors;
    memcpy(&factors, threads[thread / 4 * 4 + t].bytes, sizeof(factors));
    for (int i = 0; i < 4; ++i) {
      memcpy(&rows[i % 2][i / 2 * 16 + t * 4], &factors.a[i], 4);
    }
  }
  return rows;
}

void WantAgreement(const LaneSlot* threads, const Factors& mine) {
  for (int t = 0; t < kWarpgroupSize; ++t) {
    Factors factors;
    memcpy(&factors, threads[t].bytes, sizeof(factors));
    if (factors.descriptor != mine.descriptor ||
        factors.accumulates != mine.accumulates) {
      Die("the threads of a warpgroup multiply different things");
    }
  }
}

template <int kCount>
void Wgmma(const Codes& codes, float (&d)[kCount], const uint32_t (&a)[4],
           uint64_t descriptor_bits, bool accumulates) {
  Factors mine = {{a[0], a[1], a[2], a[3]}, descriptor_bits, accumulates};
  if (!Fenced()[emulator::ThreadNumber()]) Die("wgmma without wgmma.fence");
  const LaneSlot* threads = emulator::ExchangeInWarpgroup(&mine, sizeof(mine));
  WantAgreement(threads, mine);
  if (!emulator::CopiesAreFenced()) Die("wgmma without fence.proxy.async");
  const int thread = emulator::ThreadNumber() % kWarpgroupSize;
  const Rows rows = RowsOfA(threads, thread);
  const Descriptor descriptor = Decode(descriptor_bits);
  WantAtom(descriptor);
  emulator::NoteProduct([=, &codes, &d, &a, b = ReadB(descriptor, 2 * kCount)] {
    if (memcmp(a, mine.a, sizeof(mine.a)) != 0) {
      Die("registers of A changed before the wait");
    }
    if (thread == 0 && ReadB(descriptor, 2 * kCount) != b) {
      Die("shared memory of B changed before the wait");
    }
    for (int i = 0; i < kCount; ++i) {
      const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      d[i] = AddDot(accumulates ? d[i] : 0.0f, codes, rows[i % 4 / 2].data(),
                    &b[column * kDepth]);
    }
  });
}

}  // namespace

uint32_t SharedAddress(const void* shared) {
  return kDynamicAddress +
         static_cast<uint32_t>(static_cast<const uint8_t*>(shared) -
                               emulator::DynamicShared());
}

void WgmmaE5m2(float (&d)[16], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E5m2Codes(), d, a, descriptor, accumulates);
}
void WgmmaE5m2(float (&d)[32], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E5m2Codes(), d, a, descriptor, accumulates);
}
void WgmmaE5m2(float (&d)[64], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E5m2Codes(), d, a, descriptor, accumulates);
}
void WgmmaE4m3(float (&d)[16], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E4m3Codes(), d, a, descriptor, accumulates);
}
void WgmmaE4m3(float (&d)[32], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E4m3Codes(), d, a, descriptor, accumulates);
}
void WgmmaE4m3(float (&d)[64], const uint32_t (&a)[4], uint64_t descriptor,
               bool accumulates) {
  Wgmma(E4m3Codes(), d, a, descriptor, accumulates);
}

void WgmmaFence() { Fenced()[emulator::ThreadNumber()] = true; }

void Keep(const uint32_t (&)[4]) {}
void Keep(const uint8_t*&) {}
void Keep(int&) {}

void WgmmaCommit() {
  emulator::CloseProductGroup();
  // What comes next touches registers.
  Fenced()[emulator::ThreadNumber()] = false;
}

void WgmmaWaitFor(int num_left) { emulator::FinishProducts(num_left); }

void FenceAsyncProxy() { emulator::FenceCopies(); }

}  // namespace zqfp::kernels::cuda
