// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device.h"

#include <cuda_runtime.h>
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "kernels/core/status_macros.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/place_weight.h"
#include "kernels/cuda/staging.h"
#include "kernels/cuda/switches.h"

namespace zqfp::kernels::cuda {
namespace {

std::string Text(cudaError_t error) {
  return fmt::format("{} ({})", cudaGetErrorName(error),
                     cudaGetErrorString(error));
}

absl::Status InternalIf(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  (void)cudaGetLastError();  // so that it is not reported again
  return absl::InternalError(fmt::format("cuda: {}: {}", what, Text(error)));
}

constexpr char kRecording[] =
    "recording a step (without, with ZQFP_CUDA_GRAPHS=0)";

// A graph that can be launched.
class Graph final : public RecordedOps {
 public:
  Graph(cudaGraphExec_t executable, cudaStream_t stream)
      : executable_(executable), stream_(stream) {}
  ~Graph() override { (void)cudaGraphExecDestroy(executable_); }

  absl::Status Enqueue() override {
    return InternalIf(cudaGraphLaunch(executable_, stream_), "recorded ops");
  }

 private:
  const cudaGraphExec_t executable_;
  const cudaStream_t stream_;
};

class CudaDevice final : public Device {
 public:
  static absl::StatusOr<Device*> Open();

  std::string Describe() const override { return description_; }
  void* stream() const override { return stream_; }

  MemoryBytes Memory() const override {
    size_t free = 0, total = 0;
    (void)cudaMemGetInfo(&free, &total);
    return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
  }

  absl::StatusOr<DeviceMemory> Allocate(int64_t num_bytes) override {
    void* memory = nullptr;
    if (num_bytes > 0 &&
        cudaMalloc(&memory, static_cast<size_t>(num_bytes)) != cudaSuccess) {
      (void)cudaGetLastError();
      const MemoryBytes bytes = Memory();
      return absl::ResourceExhaustedError(fmt::format(
          "cuda: want {} bytes of device memory, found {} free of {}",
          num_bytes, bytes.free, bytes.total));
    }
    return DeviceMemory(memory, DeviceFree{this});
  }

  void Free(void* memory) override { (void)cudaFree(memory); }

  absl::Status Upload(const void* host, int64_t num_bytes,
                      void* memory) override {
    return InternalIf(staging_.Upload(host, num_bytes, memory, stream_),
                      "upload");
  }

  absl::Status Download(const void* memory, int64_t num_bytes,
                        void* host) override {
    ZQFP_RETURN_IF_ERROR(
        InternalIf(cudaMemcpyAsync(host, memory, static_cast<size_t>(num_bytes),
                                   cudaMemcpyDeviceToHost, stream_),
                   "download"));
    return Synchronize();
  }

  absl::Status Synchronize() override {
    const cudaError_t ran = cudaStreamSynchronize(stream_);
    scratch_.Release();
    // A launch that was refused never came to the stream.
    const cudaError_t launched = cudaGetLastError();
    return InternalIf(launched != cudaSuccess ? launched : ran, "kernels");
  }

  absl::StatusOr<std::unique_ptr<RecordedOps>> Record(
      const std::function<void()>& enqueue) override {
    if (!StepsAreGraphs()) return nullptr;
    // Relaxed: what other streams do meanwhile is no concern of this one.
    cudaError_t error =
        cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed);
    if (error != cudaSuccess) return InternalIf(error, kRecording);
    enqueue();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    error = cudaStreamEndCapture(stream_, &graph);
    if (error == cudaSuccess) {
      error = cudaGraphInstantiate(&executable, graph, 0);
    }
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    // A launch that was refused is not in the graph.
    if (error == cudaSuccess) error = cudaGetLastError();
    std::unique_ptr<RecordedOps> recorded;
    if (executable != nullptr) {
      recorded = std::make_unique<Graph>(executable, stream_);
    }
    ZQFP_RETURN_IF_ERROR(InternalIf(error, kRecording));
    return recorded;
  }

  absl::StatusOr<PlacedWeight> Place(const WeightView& weight) override {
    return PlaceWeight(*this, scratch_, weight);
  }

  int64_t Fp8RowBytes(const WeightView& weight) const override {
    return cuda::Fp8RowBytes(weight);
  }
  absl::StatusOr<DeviceMemory> PlaceFp8Rows(const WeightView& placed) override {
    return cuda::PlaceFp8Rows(*this, placed);
  }

  std::string DescribeMatmul(const WeightView& weight, bool a8) const override {
    return DescribeMatmulKernels(weight, a8);
  }

  absl::Status Share(void* host, int64_t num_bytes) override {
    return InternalIf(cudaHostRegister(host, static_cast<size_t>(num_bytes),
                                       cudaHostRegisterMapped),
                      "share");
  }
  void Unshare(void* host) override { (void)cudaHostUnregister(host); }

 private:
  std::string description_;
  cudaStream_t stream_ = nullptr;
  Staging staging_;
  Scratch scratch_;
};

absl::Status Unusable(const std::string& found) {
  return absl::FailedPreconditionError(fmt::format(
      "backend cuda: want a GPU of compute capability 9.x, found {}", found));
}

absl::StatusOr<Device*> CudaDevice::Open() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return Unusable(error == cudaErrorInsufficientDriver
                        ? "no driver, or one too old for this build"
                        : Text(error));
  }
  if (count == 0) return Unusable("none");
  cudaDeviceProp properties;
  ZQFP_RETURN_IF_ERROR(InternalIf(cudaGetDeviceProperties(&properties, 0),
                                  "properties of device 0"));
  const std::string description =
      fmt::format("{}, compute capability {}.{}", properties.name,
                  properties.major, properties.minor);
  if (properties.major != 9) return Unusable(description);
  auto* device = new CudaDevice;  // for the life of the process
  device->description_ = description;
  ZQFP_RETURN_IF_ERROR(InternalIf(
      cudaStreamCreateWithFlags(&device->stream_, cudaStreamNonBlocking),
      "a stream"));
  ZQFP_RETURN_IF_ERROR(
      InternalIf(device->staging_.Create(), "memory for uploads"));
  return device;
}

}  // namespace

absl::StatusOr<Device*> OpenDevice() {
  static const absl::StatusOr<Device*>& device =
      *new absl::StatusOr<Device*>(CudaDevice::Open());
  return device;
}

}  // namespace zqfp::kernels::cuda
