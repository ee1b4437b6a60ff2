// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_OP_PROFILE_H_
#define ZQFP_KERNELS_OP_PROFILE_H_

// Where the time of a step goes: an op table that notes every call and passes
// it on. A model without one runs the plain table and pays nothing.

#include <stdint.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/core/ops.h"
#include "kernels/op_work.h"

namespace zqfp::kernels {

// The calls of one op; of a matmul those with the same weight format and part.
struct OpCalls {
  std::string op;    // "matmul_a8"
  std::string part;  // "gate", as NameWeight said; "" where it said nothing
  WeightFormat format = WeightFormat::kF32;  // of a matmul
  bool is_matmul = false;
  int64_t calls = 0;
  double seconds = 0;
  OpWork work;
};

// One lives at a time: slots of an OpTable carry no user data, so the calls
// find their profile in a variable of the process. They come from one thread
// at a time, as those of a model do.
class OpProfile {
 public:
  OpProfile();
  ~OpProfile();
  OpProfile(const OpProfile&) = delete;
  OpProfile& operator=(const OpProfile&) = delete;

  // The table of the same ops that notes its calls here. The profile outlives
  // its use; a second Wrap replaces the first.
  OpTable Wrap(const OpTable& ops);

  // Matmuls of the weight that lies at `data` belong to `part` of a layer.
  void NameWeight(const void* data, const std::string& part);

  // Forgets the calls, not the names.
  void Clear() { rows_.clear(); }

  // In the order of their first calls.
  const std::vector<OpCalls>& rows() const { return rows_; }

  // Seconds that noting one call takes, measured here and now: what the profile
  // adds to a step.
  double SecondsPerCall();

  // What Wrap's table does. `weight` is null but for matmuls.
  const OpTable& ops() const { return ops_; }
  void Add(const char* op, const WeightView* weight, double seconds,
           const OpWork& work);

 private:
  OpTable ops_ = {};
  std::unordered_map<const void*, std::string> parts_;
  std::vector<OpCalls> rows_;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_OP_PROFILE_H_
