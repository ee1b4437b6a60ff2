// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_PARALLEL_H_
#define ZQFP_KERNELS_CORE_PARALLEL_H_

// ParallelFor: Exec's loop with a lambda.
//
// In an unnamed namespace on purpose: the instruction-set files include this
// header and must not emit a symbol that another file could be linked to.

#include <stdint.h>

#include "kernels/core/ops.h"

namespace zqfp::kernels {
namespace {

// Items a piece should have, so that a piece is worth waking a thread for:
// some microseconds of work.
inline int64_t GrainFor(int64_t work_per_item) {
  constexpr int64_t kWorkPerPiece = 32768;  // multiply-adds or so
  return work_per_item >= kWorkPerPiece
             ? 1
             : kWorkPerPiece / (work_per_item + 1) + 1;
}

// body(begin, end, thread) over [0, count); see Parallel::run. Loops of one
// piece run right here.
template <typename Body>
inline void ParallelFor(const Exec& exec, int64_t count, int64_t grain,
                        const Body& body) {
  if (count <= 0) return;
  if (exec.parallel.run == nullptr || exec.parallel.num_threads <= 1 ||
      count <= grain) {
    body(int64_t{0}, count, 0);
    return;
  }
  exec.parallel.run(
      exec.parallel.pool, count, grain,
      [](void* context, int64_t begin, int64_t end, int thread) {
        (*static_cast<const Body*>(context))(begin, end, thread);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace
}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_PARALLEL_H_
