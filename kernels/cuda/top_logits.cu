// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

// A tournament: a block sorts one segment of a row and passes its best on,
// until a row is one segment. An entry is a key of 64 bits, ordered as entries
// are: the value in its high half, the index, counted down, in its low half.

namespace zqfp::kernels::cuda {
namespace {

constexpr int kSegment = 2048;
constexpr int kThreads = 512;
constexpr uint64_t kNothing = 0;  // below every entry

__device__ uint64_t KeyOf(float value, int64_t index) {
  uint32_t bits = __float_as_uint(value);
  if (value == 0) bits = 0;  // -0, too
  uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  if (!(value < INFINITY)) order = 0xffffffffu;  // NaN, +infinity
  return uint64_t{order} << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}

__device__ int32_t IndexOf(uint64_t key) {
  return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key));
}

// What a round reads: a row's values, or the keys that the round before left.
struct Entries {
  const float* values;  // [rows, count], or null
  const uint64_t* keys;
  int64_t count;
};

// What it writes: keys, or in the last round the answer.
struct Winners {
  uint64_t* keys;  // [rows, segments, kTopLogits], or null
  int32_t* id;     // [rows, kTopLogits]
  float* logit;
  const float* x;  // [rows, dim]
  int64_t dim;
};

// Sorts key [kSegment], largest first (bitonic: all threads, all comparisons of
// a step apart from one another).
__device__ void Sort(uint64_t* key) {
  for (int size = 2; size <= kSegment; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < kSegment / 2;
           i += kThreads) {
        const int low = i / distance * 2 * distance + i % distance;
        const int high = low + distance;
        const bool descending = (low & size) == 0;
        const uint64_t a = key[low], b = key[high];
        if (descending == (a < b)) {
          key[low] = b;
          key[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

// Block (segment, row).
__global__ void __launch_bounds__(kThreads)
    SortSegment(Entries entries, Winners winners) {
  AwaitInputs();
  __shared__ uint64_t key[kSegment];
  const int64_t row = blockIdx.y, first = int64_t{blockIdx.x} * kSegment;
  for (int i = static_cast<int>(threadIdx.x); i < kSegment; i += kThreads) {
    const int64_t at = first + i;
    const int64_t from = row * entries.count + at;
    key[i] = at >= entries.count         ? kNothing
             : entries.values != nullptr ? KeyOf(entries.values[from], at)
                                         : entries.keys[from];
  }
  Sort(key);
  const int i = static_cast<int>(threadIdx.x);
  if (i >= kTopLogits) return;
  if (winners.keys != nullptr) {
    winners.keys[(row * gridDim.x + blockIdx.x) * kTopLogits + i] = key[i];
    return;
  }
  const bool is_entry = key[i] != kNothing;
  const int32_t index = is_entry ? IndexOf(key[i]) : -1;
  winners.id[row * kTopLogits + i] = index;
  winners.logit[row * kTopLogits + i] =
      is_entry ? winners.x[row * winners.dim + index] : -INFINITY;
}

int64_t Segments(int64_t count) { return (count + kSegment - 1) / kSegment; }

}  // namespace

void TopLogits(const TopLogitsArgs& args, const Exec& exec) noexcept {
  ZQFP_CHECK(args.num_rows <= kMostTopLogitRows);
  Entries entries = {.values = args.x, .keys = nullptr, .count = args.dim};
  auto* keys = static_cast<uint64_t*>(exec.workspace);
  for (bool is_last = false; !is_last;) {
    const int64_t segments = Segments(entries.count);
    is_last = segments <= 1;
    const Winners winners = {.keys = is_last ? nullptr : keys,
                             .id = args.id,
                             .logit = args.logit,
                             .x = args.x,
                             .dim = args.dim};
    Launch(exec,
           {.grid = dim3(static_cast<unsigned>(segments),
                         static_cast<unsigned>(args.num_rows)),
            .block = dim3(kThreads)},
           SortSegment, entries, winners);
    entries = {.values = nullptr, .keys = keys, .count = segments * kTopLogits};
    keys += args.num_rows * entries.count;
  }
}

int64_t TopLogitsWorkspaceBytes(const WorkspaceQuery& query) noexcept {
  const int64_t rows = query.num_tokens < kMostTopLogitRows ? query.num_tokens
                                                            : kMostTopLogitRows;
  int64_t keys = 0;
  for (int64_t segments = Segments(query.n); segments > 1;
       segments = Segments(segments * kTopLogits)) {
    keys += rows * segments * kTopLogits;
  }
  return keys * static_cast<int64_t>(sizeof(uint64_t));
}

}  // namespace zqfp::kernels::cuda
