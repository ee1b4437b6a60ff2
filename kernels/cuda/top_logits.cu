// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/row_reduction.h"

// A tournament: a block sorts one segment of a row and passes its best on,
// until a row is one segment. An entry is a key of 64 bits, ordered as entries
// are: the value in its high half, the index, counted down, in its low half. In
// the first round a block also adds up what its segment weighs beside the best
// of it, in the last one what the segments weigh beside the best of the row.

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

// What a segment of the first round weighs: the sum over its entries of
// exp((x - best) / temperature).
struct SegmentMass {
  float best;
  float sum;
};

// What a round reads: a row's values, or the keys that the round before left.
struct Entries {
  const float* values;  // [rows, count], or null
  const uint64_t* keys;
  int64_t count;
};

// What it writes: keys, or in the last round the answer.
struct Winners {
  uint64_t* keys;  // [rows, segments, kTopLogits], or null
  TopLogitsArgs answer;
  SegmentMass* masses;  // [rows, num_masses], of the first round
  int64_t num_masses;
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

// exp((value - best) / temperature), of a best that is no less.
__device__ float Weigh(float value, float best, float temperature) {
  return value == -INFINITY ? 0 : expf((value - best) / temperature);
}

// The segment's mass, to every thread.
__device__ SegmentMass WeighSegment(const Entries& entries, int64_t row,
                                    int64_t first, float best,
                                    float temperature) {
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kSegment; i += kThreads) {
    const int64_t at = first + i;
    if (at >= entries.count) break;
    sum += Weigh(entries.values[row * entries.count + at], best, temperature);
  }
  return {best, RowTeam<false>::Reduce<Sum>(sum)};
}

// That of the row, to every thread.
__device__ float WeighRow(const SegmentMass* masses, int64_t count, float best,
                          float temperature) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    sum += masses[i].sum * Weigh(masses[i].best, best, temperature);
  }
  return RowTeam<false>::Reduce<Sum>(sum);
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
  const TopLogitsArgs& to = winners.answer;
  const auto value_of = [&](uint64_t k) {
    return k == kNothing ? -INFINITY : to.x[row * to.dim + IndexOf(k)];
  };
  const float temperature = to.temperature[row];
  SegmentMass* const masses = winners.masses + row * winners.num_masses;
  if (entries.values != nullptr && temperature > 0) {
    const SegmentMass mass =
        WeighSegment(entries, row, first, value_of(key[0]), temperature);
    if (threadIdx.x == 0) masses[blockIdx.x] = mass;  // as which it is read
  }
  const int i = static_cast<int>(threadIdx.x);
  if (winners.keys != nullptr) {
    if (i >= kTopLogits) return;
    winners.keys[(row * gridDim.x + blockIdx.x) * kTopLogits + i] = key[i];
    return;
  }
  const float mass = temperature > 0 ? WeighRow(masses, winners.num_masses,
                                                value_of(key[0]), temperature)
                                     : 0;
  if (i == 0) to.mass[row] = mass;
  if (i >= kTopLogits) return;
  to.id[row * kTopLogits + i] = key[i] == kNothing ? -1 : IndexOf(key[i]);
  to.logit[row * kTopLogits + i] = value_of(key[i]);
}

int64_t Segments(int64_t count) { return (count + kSegment - 1) / kSegment; }

}  // namespace

void TopLogits(const TopLogitsArgs& args, const Exec& exec) noexcept {
  ZQFP_CHECK(args.num_rows <= kMostTopLogitRows);
  Entries entries = {.values = args.x, .keys = nullptr, .count = args.dim};
  const int64_t num_masses = Segments(args.dim);
  auto* const masses = static_cast<SegmentMass*>(exec.workspace);
  auto* keys = reinterpret_cast<uint64_t*>(masses + args.num_rows * num_masses);
  for (bool is_last = false; !is_last;) {
    const int64_t segments = Segments(entries.count);
    is_last = segments <= 1;
    const Winners winners = {.keys = is_last ? nullptr : keys,
                             .answer = args,
                             .masses = masses,
                             .num_masses = num_masses};
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
  return keys * static_cast<int64_t>(sizeof(uint64_t)) +
         rows * Segments(query.n) * static_cast<int64_t>(sizeof(SegmentMass));
}

}  // namespace zqfp::kernels::cuda
