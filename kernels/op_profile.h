// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_OP_PROFILE_H_
#define ZQFP_KERNELS_OP_PROFILE_H_

// Where the time of a step goes: an op table that notes every call and passes
// it on. A model without one runs the plain table and pays nothing.

#include <stdint.h>

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/device_lab.h"
#include "kernels/core/ops.h"
#include "kernels/op_work.h"

namespace zqfp::kernels {

// The calls of one op; of a matmul those with the same weight format and part.
struct OpCalls {
  std::string op;    // "matmul_a8"
  std::string part;  // "gate", as NameWeight said; "" where it said nothing;
                     // "gate+up" of several at once
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
  // its use; a second Wrap replaces the first. Ops of a device, whose `lab`
  // this is, are timed by its clock, and none begins before the one in front
  // has ended; their lengths are the device's, so that the work of attention is
  // not known.
  OpTable Wrap(const OpTable& ops, DeviceLab* lab = nullptr);

  // Matmuls of this weight, which lies where it lies now, belong to `part` of a
  // layer.
  void NameWeight(const WeightView& weight, const std::string& part);

  // Forgets the calls, not the names.
  void Clear();

  // Waits for the calls so far where they are a device's: their seconds are not
  // known before. Internal where they cannot be had.
  absl::Status Settle();

  // In the order of their first calls.
  const std::vector<OpCalls>& rows() const { return rows_; }

  // Seconds that noting one call takes, measured here and now: what the profile
  // adds to a step.
  double SecondsPerCall();

  // What Wrap's table does around each call of `ops`. `weights` are those of a
  // matmul.
  const OpTable& ops() const { return ops_; }
  bool is_of_device() const { return marks_ != nullptr; }
  void Begin();
  void End(const char* op, absl::Span<const WeightView* const> weights,
           const OpWork& work);

 private:
  std::string PartOf(absl::Span<const WeightView* const> weights) const;
  OpCalls& RowOf(const char* op, absl::Span<const WeightView* const> weights);

  OpTable ops_ = {};
  std::unique_ptr<StreamMarks> marks_;  // of a device: two of each call
  std::vector<size_t> marked_;          // the rows of these calls
  std::chrono::steady_clock::time_point start_;
  std::unordered_map<const void*, std::string> parts_;
  std::vector<OpCalls> rows_;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_OP_PROFILE_H_
