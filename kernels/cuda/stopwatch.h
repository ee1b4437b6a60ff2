// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_STOPWATCH_H_
#define ZQFP_KERNELS_CUDA_STOPWATCH_H_

// How long calls take on the device, by its own clock: events around samples
// of several calls, all of them enqueued before anybody waits. And such events
// for others.

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/device_lab.h"

namespace zqfp::kernels::cuda {

// DeviceLab::MakeMarks.
std::unique_ptr<StreamMarks> MakeEventMarks(Device& device);

// DeviceLab::TimeRepeated. Recorded, a sample is one graph, and the launch of
// that counts as a part of it.
absl::StatusOr<Timing> TimeCalls(
    Device& device, const TimeLimits& limits,
    const std::function<void(int64_t call)>& enqueue);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_STOPWATCH_H_
