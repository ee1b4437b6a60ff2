// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/stopwatch.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/core/status_macros.h"

namespace zqfp::kernels::cuda {
namespace {

constexpr int64_t kFewestSamples = 3;
constexpr int64_t kMostCalls = 1024;  // of a sample

absl::Status InternalIf(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(
      fmt::format("cuda: {}: {}", what, cudaGetErrorName(error)));
}

// Points in the work of a stream, with the time between neighbours.
class Marks {
 public:
  ~Marks() {
    for (cudaEvent_t event : events_) (void)cudaEventDestroy(event);
  }

  absl::Status Add(cudaStream_t stream) {
    cudaEvent_t event = nullptr;
    ZQFP_RETURN_IF_ERROR(InternalIf(cudaEventCreate(&event), "an event"));
    events_.push_back(event);
    return InternalIf(cudaEventRecord(event, stream), "an event");
  }

  // Of the work between the last two marks, once it is done.
  absl::StatusOr<double> LastMicroseconds() const {
    return Between(events_.size() - 2);
  }

  // `calls` between any two neighbours; ascending, of one call.
  absl::StatusOr<std::vector<double>> SortedOfOneCall(int64_t calls) const {
    std::vector<double> times;
    for (size_t i = 0; i + 1 < events_.size(); ++i) {
      ZQFP_ASSIGN_OR_RETURN(const double all, Between(i));
      times.push_back(all / static_cast<double>(calls));
    }
    std::sort(times.begin(), times.end());
    return times;
  }

 private:
  absl::StatusOr<double> Between(size_t index) const {
    float milliseconds = 0;
    ZQFP_RETURN_IF_ERROR(InternalIf(
        cudaEventElapsedTime(&milliseconds, events_[index], events_[index + 1]),
        "the time between two events"));
    return 1e3 * double{milliseconds};
  }

  std::vector<cudaEvent_t> events_;
};

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

double At(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(
      std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

// What puts one sample of `calls` calls on the stream.
using Sampler = std::function<absl::Status()>;

// Calls are numbered on from `call`.
absl::StatusOr<Sampler> MakeSampler(
    Device& device, TimedAs as, int64_t calls, int64_t* call,
    const std::function<void(int64_t call)>& enqueue) {
  const auto enqueue_all = [=, &enqueue] {
    for (int64_t i = 0; i < calls; ++i) enqueue((*call)++);
  };
  if (as == TimedAs::kLaunches) {
    return Sampler([enqueue_all] {
      enqueue_all();
      return absl::OkStatus();
    });
  }
  ZQFP_ASSIGN_OR_RETURN(std::unique_ptr<RecordedOps> recorded,
                        device.Record(enqueue_all));
  // The first time is another one: it brings the graph to the device.
  ZQFP_RETURN_IF_ERROR(recorded->Enqueue());
  return Sampler([shared = std::shared_ptr<RecordedOps>(std::move(recorded))] {
    return shared->Enqueue();
  });
}

// Microseconds of one call, after one that has loaded its kernels.
absl::StatusOr<double> TryCalls(
    Device& device, int64_t calls, int64_t* call,
    const std::function<void(int64_t call)>& enqueue) {
  auto* const stream = static_cast<cudaStream_t>(device.stream());
  Marks marks;
  enqueue((*call)++);
  ZQFP_RETURN_IF_ERROR(device.Synchronize());
  ZQFP_RETURN_IF_ERROR(marks.Add(stream));
  for (int64_t i = 0; i < calls; ++i) enqueue((*call)++);
  ZQFP_RETURN_IF_ERROR(marks.Add(stream));
  ZQFP_RETURN_IF_ERROR(device.Synchronize());
  ZQFP_ASSIGN_OR_RETURN(const double us, marks.LastMicroseconds());
  return std::max(0.1, us / static_cast<double>(calls));
}

}  // namespace

absl::StatusOr<Timing> TimeCalls(
    Device& device, const TimeLimits& limits,
    const std::function<void(int64_t call)>& enqueue) {
  auto* const stream = static_cast<cudaStream_t>(device.stream());
  int64_t call = 0;
  ZQFP_ASSIGN_OR_RETURN(
      const double call_us,
      TryCalls(device, std::min<int64_t>(limits.rotation, 8), &call, enqueue));
  const int64_t calls =
      std::min(kMostCalls,
               RoundUp(std::max<int64_t>(
                           1, static_cast<int64_t>(limits.sample_us / call_us)),
                       limits.rotation));
  const double sample_s = 1e-6 * call_us * static_cast<double>(calls);
  const int64_t samples = std::clamp<int64_t>(
      static_cast<int64_t>(limits.most_seconds / sample_s), kFewestSamples,
      std::max(kFewestSamples, limits.samples));
  ZQFP_ASSIGN_OR_RETURN(const Sampler sample,
                        MakeSampler(device, limits.as, calls, &call, enqueue));
  Marks marks;
  ZQFP_RETURN_IF_ERROR(marks.Add(stream));
  for (int64_t i = 0; i < samples; ++i) {
    ZQFP_RETURN_IF_ERROR(sample());
    ZQFP_RETURN_IF_ERROR(marks.Add(stream));
  }
  ZQFP_RETURN_IF_ERROR(device.Synchronize());
  ZQFP_ASSIGN_OR_RETURN(const std::vector<double> sorted,
                        marks.SortedOfOneCall(calls));
  return Timing{.median_us = At(sorted, 0.5),
                .min_us = sorted.front(),
                .p90_us = At(sorted, 0.9),
                .samples = samples,
                .calls = samples * calls};
}

}  // namespace zqfp::kernels::cuda
