// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_RECORDED_STEPS_H_
#define ZQFP_MODELS_RECORDED_STEPS_H_

// Steps of a device that were enqueued op by op once, and are enqueued at once
// when the same step comes again: of a few tokens, hundreds of launches take
// longer than what they launch.
//
// A step is the same where every op gets the same arguments: sizes and
// addresses. What is at the addresses, the ids and lengths, is new each time.

#include <stdint.h>

#include <functional>
#include <initializer_list>
#include <list>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/core/device.h"
#include "models/kv_cache.h"
#include "models/step_inputs.h"

namespace zqfp {

class RecordedSteps {
 public:
  // `device` and what the ops read and write outlive this.
  explicit RecordedSteps(kernels::Device* device) : device_(*device) {}

  // All that tells the steps of one model apart; `outputs` are null where they
  // are not wanted.
  using Key = std::vector<int64_t>;
  static Key KeyOf(const StepInputs& inputs, const KvCache& cache,
                   int64_t num_layers,
                   std::initializer_list<const void*> outputs);

  // Enqueues the step: by calling `enqueue`, or a recording of it.
  absl::Status Run(const Key& key, const std::function<void()>& enqueue);

  // How many steps so far went the second way.
  int64_t num_replays() const { return num_replays_; }

 private:
  struct Entry {
    Key key;
    std::unique_ptr<kernels::RecordedOps> ops;  // null: seen once, or off
  };

  kernels::Device& device_;
  std::list<Entry> entries_;  // the latest first
  int64_t num_replays_ = 0;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_RECORDED_STEPS_H_
