// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CUDA_STOPWATCH_H_
#define ZQFP_KERNELS_CUDA_STOPWATCH_H_

// How long calls take on the device, by its own clock: events around samples
// of several calls, all of them enqueued before anybody waits.

#include <functional>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/device_lab.h"

namespace zqfp::kernels::cuda {

// DeviceLab::TimeRepeated. The calls go to the stream one by one, so that what
// takes less than a launch is measured as one launch.
absl::StatusOr<Timing> TimeOnStream(
    Device& device, const TimeLimits& limits,
    const std::function<void(int64_t call)>& enqueue);

}  // namespace zqfp::kernels::cuda

#endif  // ZQFP_KERNELS_CUDA_STOPWATCH_H_
