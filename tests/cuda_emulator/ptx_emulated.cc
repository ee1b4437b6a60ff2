// SPDX-License-Identifier: Apache-2.0
// The instructions of kernels/cuda/ptx.h, done by the emulator.
#include <fmt/format.h>
#include <math.h>
#include <string.h>

#include <vector>

#include "kernels/core/float_formats.h"
#include "kernels/cuda/ptx.h"
#include "tests/cuda_emulator/emulator.h"

namespace zqfp::kernels::cuda {
namespace {

using emulator::Collective;
using emulator::Die;
using emulator::LaneSlot;

constexpr unsigned kWholeWarp = 0xffffffffu;

// All 65536 values of a 16-bit format.
std::vector<float> Values(float (*to_float)(uint16_t)) {
  std::vector<float> values(65536);
  for (int code = 0; code < 65536; ++code) {
    values[code] = to_float(static_cast<uint16_t>(code));
  }
  return values;
}

const float* F16Values() {
  static const auto& values = *new std::vector<float>(Values(F16ToFloat));
  return values.data();
}
const float* Bf16Values() {
  static const auto& values = *new std::vector<float>(Values(Bf16ToFloat));
  return values.data();
}

// What one lane brings to an mma: its fragments of A and B as floats.
struct Fragments {
  float a[8];
  float b[4];
};

// Element [row, k] of A and [k, column] of B, by the maps of ptx.h.
float ElementOfA(const LaneSlot* lanes, int row, int k) {
  const LaneSlot& slot = lanes[row % 8 * 4 + k % 8 / 2];
  const int index = (row / 8) * 2 + (k / 8) * 4 + k % 2;
  float value;
  memcpy(&value, slot.bytes + offsetof(Fragments, a) + 4 * index, 4);
  return value;
}
float ElementOfB(const LaneSlot* lanes, int k, int column) {
  const LaneSlot& slot = lanes[column * 4 + k % 8 / 2];
  float value;
  memcpy(&value,
         slot.bytes + offsetof(Fragments, b) + 4 * ((k / 8) * 2 + k % 2), 4);
  return value;
}

void Mma(const float* values, float (&d)[4], const uint32_t (&a)[4],
         const uint32_t (&b)[2]) {
  Fragments mine;
  for (int i = 0; i < 8; ++i)
    mine.a[i] = values[a[i / 2] >> i % 2 * 16 & 0xffff];
  for (int i = 0; i < 4; ++i)
    mine.b[i] = values[b[i / 2] >> i % 2 * 16 & 0xffff];
  const LaneSlot* lanes =
      emulator::Exchange(Collective::kMma, kWholeWarp, &mine, sizeof(mine));
  const int lane = emulator::Lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 16; ++k) {
      sum += double{ElementOfA(lanes, row, k)} * ElementOfB(lanes, k, column);
    }
    d[i] = static_cast<float>(sum);
  }
}

void WantAligned(const void* address, const char* what, int num_bytes = 16) {
  if (reinterpret_cast<uintptr_t>(address) % num_bytes != 0) {
    Die(fmt::format("{}: {} is not {}-byte aligned", what, fmt::ptr(address),
                    num_bytes));
  }
}

// Shows this lane's row of 16 bytes to the others. It is read before any lane
// goes on, as on the chip.
const LaneSlot* ShowRow(const void* shared_row) {
  WantAligned(shared_row, "ldmatrix");
  uint8_t row[16];
  memcpy(row, shared_row, sizeof(row));
  return emulator::Exchange(Collective::kLoadMatrices, kWholeWarp, row,
                            sizeof(row));
}

// Element [row, column] of one of the four matrices shown.
uint32_t Element(const LaneSlot* lanes, int matrix, int row, int column) {
  uint16_t element;
  memcpy(&element, lanes[matrix * 8 + row].bytes + 2 * column, 2);
  return element;
}

// An mbarrier as the emulator keeps it.
struct BarrierBits {
  uint64_t expected : 12;  // arrivals of a phase
  uint64_t pending : 12;   // still to come
  int64_t bytes : 39;      // still to come
  uint64_t phase : 1;
};
static_assert(sizeof(BarrierBits) == sizeof(uint64_t));

BarrierBits Load(const uint64_t* barrier) {
  BarrierBits bits;
  memcpy(&bits, barrier, sizeof(bits));
  return bits;
}

// Stores it; a phase in which nothing is still to come ends.
void Store(uint64_t* barrier, BarrierBits bits) {
  if (bits.pending == 0 && bits.bytes == 0) {
    bits.phase ^= 1;
    bits.pending = bits.expected;
  }
  memcpy(barrier, &bits, sizeof(bits));
}

void Arrive(uint64_t* barrier, int64_t num_bytes) {
  BarrierBits bits = Load(barrier);
  if (bits.pending == 0) Die("more arrivals at an mbarrier than it expects");
  bits.bytes += num_bytes;
  bits.pending -= 1;
  Store(barrier, bits);
}

void BytesArrived(uint64_t* barrier, int64_t num_bytes) {
  BarrierBits bits = Load(barrier);
  bits.bytes -= num_bytes;
  Store(barrier, bits);
}

struct Wait {
  uint64_t* barrier;
  uint32_t parity;
};

bool PhaseIsOver(void* context) {
  const Wait& wait = *static_cast<Wait*>(context);
  emulator::FinishBulkCopies(wait.barrier, BytesArrived);
  return Load(wait.barrier).phase != wait.parity;
}

}  // namespace

void MmaF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Mma(F16Values(), d, a, b);
}

void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Mma(Bf16Values(), d, a, b);
}

uint32_t MoveMatrixTrans(uint32_t row) {
  const LaneSlot* lanes =
      emulator::Exchange(Collective::kTranspose, kWholeWarp, &row, 4);
  // Mine is [lane / 4][lane % 4 * 2 + i] of the result.
  const int column = emulator::Lane() / 4, first_row = emulator::Lane() % 4 * 2;
  uint32_t result = 0;
  for (int i = 0; i < 2; ++i) {
    const LaneSlot& source = lanes[(first_row + i) * 4 + column / 2];
    uint16_t element;
    memcpy(&element, source.bytes + column % 2 * 2, 2);
    result |= static_cast<uint32_t>(element) << i * 16;
  }
  return result;
}

void LoadMatrices(uint32_t (&matrices)[4], const void* shared_row) {
  const LaneSlot* lanes = ShowRow(shared_row);
  const int row = emulator::Lane() / 4, column = emulator::Lane() % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    matrices[i] = Element(lanes, i, row, column) |
                  Element(lanes, i, row, column + 1) << 16;
  }
}

void LoadMatricesTrans(uint32_t (&matrices)[4], const void* shared_row) {
  const LaneSlot* lanes = ShowRow(shared_row);
  const int row = emulator::Lane() % 4 * 2, column = emulator::Lane() / 4;
  for (int i = 0; i < 4; ++i) {
    matrices[i] = Element(lanes, i, row, column) |
                  Element(lanes, i, row + 1, column) << 16;
  }
}

float Exp2(float x) {
  const float result = exp2f(x);
  return result < 0x1p-126f ? 0.0f : result;  // a NaN stays one
}

uint32_t CvtE4m3x2(float hi, float lo) {
  return static_cast<uint32_t>(FloatToE4m3(hi)) << 8 | FloatToE4m3(lo);
}

uint32_t F16x2FromE4m3x2(uint16_t pair) {
  const uint16_t lo = FloatToF16(E4m3ToFloat(static_cast<uint8_t>(pair)));
  const uint16_t hi = FloatToF16(E4m3ToFloat(static_cast<uint8_t>(pair >> 8)));
  return static_cast<uint32_t>(hi) << 16 | lo;
}

float F32FromF16(uint16_t code) { return F16ToFloat(code); }

uint32_t F16x2FromF32(float hi, float lo) {
  return static_cast<uint32_t>(FloatToF16(hi)) << 16 | FloatToF16(lo);
}

uint32_t Bf16x2FromF32(float hi, float lo) {
  return static_cast<uint32_t>(FloatToBf16(hi)) << 16 | FloatToBf16(lo);
}

uint32_t Prmt(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t nibble = selector >> i * 4 & 0xf;
    uint32_t byte = bytes >> (nibble & 7) * 8 & 0xff;
    if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;  // its sign, eight times
    result |= byte << i * 8;
  }
  return result;
}

uint32_t Opaque(uint32_t x) { return x; }

void CopyAsync16(void* shared, const void* global) {
  WantAligned(shared, "cp.async");
  WantAligned(global, "cp.async");
  emulator::NoteCopy(shared, global, 16);
}

void CopyAsync16OrZero(void* shared, const void* global, bool has) {
  constexpr static uint8_t kZeros[16] = {};
  WantAligned(shared, "cp.async");
  WantAligned(global, "cp.async");
  emulator::NoteCopy(shared, has ? global : kZeros, 16);
}
void PrefetchL2(const void* global) {
  // Whether it may be read, the address sanitizer knows.
  static_cast<void>(*static_cast<const volatile uint8_t*>(global));
}
void CopyAsync4(void* shared, const void* global) {
  WantAligned(shared, "cp.async", 4);
  WantAligned(global, "cp.async", 4);
  emulator::NoteCopy(shared, global, 4);
}

void CopyAsyncCommit() { emulator::CloseCopyGroup(); }

void CopyAsyncWaitFor(int num_left) { emulator::FinishCopies(num_left); }

void BarrierInit(uint64_t* barrier, uint32_t num_arrivals) {
  const BarrierBits bits = {num_arrivals, num_arrivals, 0, 0};
  memcpy(barrier, &bits, sizeof(bits));
}

void BarrierArrive(uint64_t* barrier) { Arrive(barrier, 0); }

void BarrierExpect(uint64_t* barrier, uint32_t num_bytes) {
  Arrive(barrier, num_bytes);
}

void BarrierWait(uint64_t* barrier, uint32_t parity) {
  Wait wait = {barrier, parity};
  emulator::WaitUntil(PhaseIsOver, &wait);
}

void BulkCopy(void* shared, const void* global, uint32_t num_bytes,
              uint64_t* barrier) {
  WantAligned(shared, "cp.async.bulk");
  WantAligned(global, "cp.async.bulk");
  if (num_bytes % 16 != 0) Die("cp.async.bulk: want a multiple of 16 bytes");
  emulator::NoteBulkCopy(shared, global, static_cast<int>(num_bytes), barrier);
}

// On the chip the next kernel may start early; here it never does.
// Fibers change hands at barriers only.
uint32_t AddAcquireRelease(uint32_t* address, uint32_t value) {
  const uint32_t before = *address;
  *address = before + value;
  return before;
}

void GridDependencyWait() { emulator::NoteGridWait(); }
void GridDependencyLaunch() {}

}  // namespace zqfp::kernels::cuda
