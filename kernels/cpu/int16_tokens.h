// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CPU_INT16_TOKENS_H_
#define ZQFP_KERNELS_CPU_INT16_TOKENS_H_

// Tokens as 16-bit integers, for exact e2m1 x e4m3 on integer multipliers.
//
// Twice an e2m1 value is an integer of at most 12. An e4m3 value is an integer
// of 18 bits in units of 2^-9: 8 high + low, where high has 15 bits and low,
// the last three, is nothing but for values below 1/8, of which a token has
// few (the largest is 448). So one product of high parts does nearly all of the
// work, and low parts are added where there are any, from a list. Sums of a
// group are exact integers: 256 * 12 * 448 * 2^6 < 2^31.
//
// A step is a pair of elements, i and i + 4 of each eight, as shifts of packed
// weights give them; a chunk is kChunkSteps of them.
//   high       [chunks][tokens][kChunkSteps][2]
//   low_pairs  [chunks][slices of kSliceTokens tokens], each with room for all
//
// Every function is in an anonymous namespace: the including file's instruction
// set must not leak.

#include <stdint.h>

#include "kernels/core/ops.h"
#include "kernels/core/parallel.h"

namespace zqfp::kernels {
namespace {

constexpr int64_t kChunkSteps = 128;
constexpr int64_t kChunkElements = 2 * kChunkSteps;
constexpr int64_t kSliceTokens = 64;  // a thread's job
// What a sum of products is to be multiplied by: 2^-1 of weights, 2^-6 of high.
constexpr float kInt16Factor = 1.0f / 128;

// The low parts of one step of a token.
struct LowPair {
  uint32_t at;   // token * kChunkSteps + step of the chunk
  int32_t pair;  // two 16-bit integers
};

struct Int16Tokens {
  const int16_t* high = nullptr;
  const float* scale = nullptr;  // [tokens] NaN where a code is
  int64_t count = 0;
  int64_t chunks = 0;
  int64_t first = 0;  // of the matmul's tokens
  const LowPair* low_pairs = nullptr;
  const int32_t* num_low_pairs = nullptr;

  const int32_t* steps(int64_t chunk, int64_t token) const {
    return reinterpret_cast<const int32_t*>(high) +
           (chunk * count + token) * kChunkSteps;
  }
  int64_t slices() const { return (count + kSliceTokens - 1) / kSliceTokens; }

  // body(token, step, pair) for all low parts of a chunk.
  template <typename Body>
  void ForEachLowPair(int64_t chunk, const Body& body) const {
    for (int64_t slice = 0; slice < slices(); ++slice) {
      const LowPair* low =
          low_pairs + (chunk * count + slice * kSliceTokens) * kChunkSteps;
      const int64_t size = num_low_pairs[chunk * slices() + slice];
      for (int64_t i = 0; i < size; ++i) {
        body(int64_t{low[i].at / kChunkSteps}, int64_t{low[i].at % kChunkSteps},
             low[i].pair);
      }
    }
  }
};

inline int64_t Int16Chunks(int64_t k) {
  return (k + kChunkElements - 1) / kChunkElements;
}

// Bytes of one token. Pairs take the most; what tokens of ordinary models leave
// untouched of it costs no memory.
inline int64_t Int16TokenBytes(int64_t k) {
  return Int16Chunks(k) *
             (kChunkElements * 2 + kChunkSteps * int64_t{sizeof(LowPair)} + 4) +
         4;
}

// A NaN anywhere in a token spoils it all: its scale becomes one.
inline void NoteNan(float* scale) {
  float nan = __builtin_nanf("");
  __atomic_store(scale, &nan, __ATOMIC_RELAXED);
}

// The tokens first .. first + count - 1 in the workspace.
// convert(codes, left, high, at, low, nan) turns one chunk of a token around,
// of which `left` elements are there, appends its low parts, numbered from `at`
// on, and returns their number.
template <typename Convert>
inline Int16Tokens PrepareInt16Tokens(const MatmulA8Args& args, int64_t first,
                                      int64_t count, const Exec& exec,
                                      void* workspace, const Convert& convert) {
  const int64_t k = args.weight.k;
  Int16Tokens x = {.count = count, .chunks = Int16Chunks(k), .first = first};
  int16_t* high = static_cast<int16_t*>(workspace);
  LowPair* low =
      reinterpret_cast<LowPair*>(high + x.chunks * count * kChunkElements);
  float* scale = reinterpret_cast<float*>(low + x.chunks * count * kChunkSteps);
  int32_t* num_low = reinterpret_cast<int32_t*>(scale + count);
  for (int64_t t = 0; t < count; ++t) scale[t] = args.x.scale[first + t];
  ParallelFor(
      exec, x.chunks * x.slices(), 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t job = begin; job < end; ++job) {
          const int64_t chunk = job / x.slices();
          const int64_t slice = job % x.slices() * kSliceTokens;
          const int64_t at = chunk * kChunkElements;
          LowPair* list = low + (chunk * count + slice) * kChunkSteps;
          int64_t size = 0;
          for (int64_t t = slice; t < slice + kSliceTokens && t < count; ++t) {
            bool nan = false;
            size += convert(args.x.data + (first + t) * k + at, k - at,
                            high + (chunk * count + t) * kChunkElements,
                            static_cast<uint32_t>(t * kChunkSteps), list + size,
                            &nan);
            if (nan) NoteNan(scale + t);
          }
          num_low[job] = static_cast<int32_t>(size);
        }
      });
  x.high = high;
  x.scale = scale;
  x.low_pairs = low;
  x.num_low_pairs = num_low;
  return x;
}

}  // namespace
}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CPU_INT16_TOKENS_H_
