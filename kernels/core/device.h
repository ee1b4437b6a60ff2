// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_DEVICE_H_
#define ZQFP_KERNELS_CORE_DEVICE_H_

// A machine with a memory of its own, whose ops run in order on one stream.
//
// Every pointer in the arguments of such a backend's ops is one of the device;
// the sizes are plain numbers of the host.

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/core/views.h"

namespace zqfp::kernels {

class Device;

// Memory of a device, given back when it goes. Null for none.
struct DeviceFree {
  Device* device = nullptr;
  void operator()(void* memory) const;
};
using DeviceMemory = std::unique_ptr<void, DeviceFree>;

// A weight on the device: a view of it and the memory behind the view.
struct PlacedWeight {
  WeightView view;
  std::vector<DeviceMemory> memory;
};

// Ops that were enqueued once, to be enqueued again as one.
class RecordedOps {
 public:
  virtual ~RecordedOps() = default;
  // With the arguments they had.
  virtual absl::Status Enqueue() = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  // "NVIDIA H100 80GB HBM3, compute capability 9.0".
  virtual std::string Describe() const = 0;
  struct MemoryBytes {
    int64_t free = 0;
    int64_t total = 0;
  };
  virtual MemoryBytes Memory() const = 0;
  // What the ops of this device get as Exec::stream.
  virtual void* stream() const = 0;

  // 256-byte aligned, not initialized. ResourceExhausted with both sizes where
  // the memory cannot be had.
  virtual absl::StatusOr<DeviceMemory> Allocate(int64_t num_bytes) = 0;
  virtual void Free(void* memory) = 0;

  // In order with the ops. Upload has read `host` when it returns; Download
  // waits for the ops and has written `host`.
  virtual absl::Status Upload(const void* host, int64_t num_bytes,
                              void* memory) = 0;
  virtual absl::Status Download(const void* memory, int64_t num_bytes,
                                void* host) = 0;
  // Waits until all ops are done. Internal with the first error of any of them.
  virtual absl::Status Synchronize() = 0;

  // What `enqueue` enqueues, which is ops only: they are recorded and do not
  // run. Such ops must have run once before, in the same way. Null where
  // recording is turned off.
  virtual absl::StatusOr<std::unique_ptr<RecordedOps>> Record(
      const std::function<void()>& enqueue) = 0;

  // Copies a weight of the host in the layout that the device's matmuls read,
  // in order with the ops; they may have it once Synchronize has returned,
  // because a matmul reads its weights ahead of what is in front of it.
  // Unimplemented, naming the format, where no kernel has it.
  virtual absl::StatusOr<PlacedWeight> Place(const WeightView& weight) = 0;

  // Bytes of a weight of the host or placed as rows of e4m3, from which the
  // library of the device multiplies many tokens in MatmulA8; 0 where it does
  // not: another format or shape, or there is no library.
  virtual int64_t Fp8RowBytes(const WeightView& weight) const = 0;
  // Those rows of a placed weight, to be WeightView::fp8_rows: they spare each
  // product their making. Null where Fp8RowBytes is 0.
  virtual absl::StatusOr<DeviceMemory> PlaceFp8Rows(
      const WeightView& placed) = 0;

  // Which kernels a placed weight goes through, by the number of tokens, and
  // how they sum. `a8`: MatmulA8, else Matmul.
  virtual std::string DescribeMatmul(const WeightView& weight,
                                     bool a8) const = 0;

  // Lets ops use memory of the host in place, until `Unshare`: for tests.
  virtual absl::Status Share(void* host, int64_t num_bytes) = 0;
  virtual void Unshare(void* host) = 0;
};

inline void DeviceFree::operator()(void* memory) const { device->Free(memory); }

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_DEVICE_H_
