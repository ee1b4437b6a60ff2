// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulator/host_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chrono>
#include <map>
#include <utility>
#include <vector>

namespace emulator = zqfp::kernels::emulator;

struct CUgraph_st {
  std::vector<std::function<void()>> works;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> works;
};

namespace {

// Limits of compute capability 9.0.
constexpr size_t kMaxShared = 227 * 1024;
constexpr size_t kSharedWithoutOptIn = 48 * 1024;
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kMemoryBytes = size_t{1} << 34;

cudaError_t last_error = cudaSuccess;
CUgraph_st* captured = nullptr;  // by the stream; null: it does its work

cudaError_t Note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// Dynamic shared memory that each kernel was allowed beyond 48 KB.
std::map<const void*, size_t>& OptIns() {
  static std::map<const void*, size_t>& list =
      *new std::map<const void*, size_t>;
  return list;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return Note(device == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {.name = "emulator",
                 .totalGlobalMem = kMemoryBytes,
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = 2};
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = *total_bytes = kMemoryBytes;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t num_bytes) {
  *memory = nullptr;
  if (num_bytes == 0) return cudaSuccess;
  // Not rounded up, so that the address sanitizer sees the end.
  if (num_bytes > kMemoryBytes || posix_memalign(memory, 256, num_bytes) != 0) {
    *memory = nullptr;
    return Note(cudaErrorMemoryAllocation);
  }
  memset(*memory, 0xff, num_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t num_bytes, unsigned) {
  return cudaMalloc(memory, num_bytes);
}
cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }
cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t num_bytes,
                            cudaMemcpyKind, cudaStream_t) {
  emulator::Enqueue([=] {
    if (num_bytes > 0) memcpy(to, from, num_bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t num_bytes,
                            cudaStream_t) {
  emulator::Enqueue([=] {
    if (num_bytes > 0) memset(memory, value, num_bytes);
  });
  return cudaSuccess;
}

// When it was recorded.
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

// A stream is any address that is not null.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static char any;
  *stream = reinterpret_cast<cudaStream_t>(&any);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return captured == nullptr ? cudaSuccess
                             : Note(cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start,
                                 cudaEvent_t end) {
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (captured != nullptr) return Note(cudaErrorIllegalState);
  captured = new CUgraph_st;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  if (captured == nullptr) return Note(cudaErrorIllegalState);
  *graph = captured;
  captured = nullptr;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->works};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const std::function<void()>& work : executable->works) work();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel,
                                 cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    return cudaSuccess;
  }
  if (value < 0 || static_cast<size_t>(value) > kMaxShared) {
    return Note(cudaErrorInvalidValue);
  }
  // The chip lets a limit go down, but nobody says what becomes of the launches
  // that were recorded with the higher one.
  size_t& most = OptIns()[kernel];
  if (static_cast<size_t>(value) < most) return Note(cudaErrorIllegalState);
  most = static_cast<size_t>(value);
  return cudaSuccess;
}

namespace zqfp::kernels::emulator {

cudaError_t CheckLaunch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (uint64_t{block.x} * block.y * block.z > kMaxThreads || block.z > 64 ||
      block.x == 0 || block.y == 0 || block.z == 0 || grid.x == 0 ||
      grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return Note(cudaErrorInvalidConfiguration);
  }
  const auto opt_in = OptIns().find(kernel);
  const size_t most_shared =
      opt_in == OptIns().end() ? kSharedWithoutOptIn : opt_in->second;
  if (config.dynamicSmemBytes > most_shared &&
      config.dynamicSmemBytes > kSharedWithoutOptIn) {
    return Note(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

void Enqueue(std::function<void()> work) {
  if (captured == nullptr) return work();
  captured->works.push_back(std::move(work));
}

bool MayOverlap(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    if (attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization &&
        attribute.val.programmaticStreamSerializationAllowed != 0) {
      return true;
    }
  }
  return false;
}

}  // namespace zqfp::kernels::emulator
