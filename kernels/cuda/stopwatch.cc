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

// Keeps its events to be used again.
class EventMarks final : public StreamMarks {
 public:
  explicit EventMarks(Device& device) : device_(device) {}
  ~EventMarks() override {
    for (cudaEvent_t event : events_) (void)cudaEventDestroy(event);
  }

  void Add() override {
    if (used_ == events_.size()) {
      cudaEvent_t event = nullptr;
      Note(InternalIf(cudaEventCreate(&event), "an event"));
      if (event == nullptr) return;
      events_.push_back(event);
    }
    Note(InternalIf(cudaEventRecord(events_[used_++], static_cast<cudaStream_t>(
                                                          device_.stream())),
                    "an event"));
  }

  absl::StatusOr<std::vector<double>> Take() override {
    const size_t used = std::exchange(used_, 0);
    ZQFP_RETURN_IF_ERROR(std::exchange(error_, absl::OkStatus()));
    ZQFP_RETURN_IF_ERROR(device_.Synchronize());
    std::vector<double> times;
    for (size_t i = 0; i + 1 < used; ++i) {
      float milliseconds = 0;
      ZQFP_RETURN_IF_ERROR(InternalIf(
          cudaEventElapsedTime(&milliseconds, events_[i], events_[i + 1]),
          "the time between two events"));
      times.push_back(1e3 * double{milliseconds});
    }
    return times;
  }

 private:
  void Note(const absl::Status& status) { error_.Update(status); }

  Device& device_;
  std::vector<cudaEvent_t> events_;
  size_t used_ = 0;
  absl::Status error_;
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
  std::unique_ptr<RecordedOps> recorded;
  if (as == TimedAs::kRecordedOps) {
    ZQFP_ASSIGN_OR_RETURN(recorded, device.Record(enqueue_all));
  }
  if (recorded == nullptr) {
    return Sampler([enqueue_all] {
      enqueue_all();
      return absl::OkStatus();
    });
  }
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
  EventMarks marks(device);
  enqueue((*call)++);
  ZQFP_RETURN_IF_ERROR(device.Synchronize());
  marks.Add();
  for (int64_t i = 0; i < calls; ++i) enqueue((*call)++);
  marks.Add();
  ZQFP_ASSIGN_OR_RETURN(const std::vector<double> us, marks.Take());
  return std::max(0.1, us.front() / static_cast<double>(calls));
}

}  // namespace

std::unique_ptr<StreamMarks> MakeEventMarks(Device& device) {
  return std::make_unique<EventMarks>(device);
}

absl::StatusOr<Timing> TimeCalls(
    Device& device, const TimeLimits& limits,
    const std::function<void(int64_t call)>& enqueue) {
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
  EventMarks marks(device);
  marks.Add();
  for (int64_t i = 0; i < samples; ++i) {
    ZQFP_RETURN_IF_ERROR(sample());
    marks.Add();
  }
  ZQFP_ASSIGN_OR_RETURN(std::vector<double> sorted, marks.Take());
  for (double& us : sorted) us /= static_cast<double>(calls);
  std::sort(sorted.begin(), sorted.end());
  return Timing{.median_us = At(sorted, 0.5),
                .min_us = sorted.front(),
                .p90_us = At(sorted, 0.9),
                .samples = samples,
                .calls = samples * calls};
}

}  // namespace zqfp::kernels::cuda
