// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_BENCH_H_
#define ZQFP_TOOLS_GPU_BENCH_H_

// GpuBench: what all tables of zqfp-bench --gpu-tables need. A device with its
// lab and ops, random data, the clock, and what T0 found the chip to be able to
// do.

#include <stdint.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/core/device_lab.h"
#include "tools/gpu_sizes.h"
#include "tools/report_table.h"

namespace zqfp::tools {

using Deadline = std::chrono::steady_clock::time_point;

// Per second, of the same run; 0 until T0 has measured it.
struct GpuCeilings {
  double copy_bytes = 0;  // read and written
  double read_bytes = 0;
  double bf16_flop = 0;
  double fp8_flop = 0;  // promoted sums
  double fp8_fast_flop = 0;
  double hmma_flop = 0;
  double launch_us = 0;

  double memory_bytes() const { return std::max(copy_bytes, read_bytes); }
  double most_fp8_flop() const { return std::max(fp8_flop, fp8_fast_flop); }
  // Microseconds that no kernel can do without; 0 where it is not known.
  double FloorUs(double bytes, double flop) const;
};

// One row and how to measure it.
struct RowJob {
  std::string name;
  std::function<absl::StatusOr<std::vector<Cell>>()> measure;
};

class GpuBench {
 public:
  // `backend` has a lab.
  GpuBench(kernels::Backend backend, GpuTableSizes sizes)
      : backend_(std::move(backend)), sizes_(std::move(sizes)) {}

  const GpuTableSizes& sizes() const { return sizes_; }
  const kernels::Backend& backend() const { return backend_; }
  const kernels::OpTable& ops() const { return backend_.ops; }
  kernels::Device& device() { return *backend_.device; }
  kernels::DeviceLab& lab() { return *backend_.lab; }
  GpuCeilings& ceilings() { return ceilings_; }
  const GpuCeilings& ceilings() const { return ceilings_; }

  // As many copies of `num_bytes` as fill rotated_bytes.
  int64_t Copies(int64_t num_bytes) const;

  // Random elements of the device; every call has others.
  absl::StatusOr<kernels::DeviceMemory> Random(kernels::RandomKind kind,
                                               int64_t count, float unit = 1);
  absl::StatusOr<kernels::DeviceMemory> Upload(const void* data,
                                               int64_t num_bytes);
  // An Exec of that workspace, which is kept and grows.
  absl::StatusOr<kernels::Exec> ExecWith(int64_t workspace_bytes);

  // `rotation`: calls that read different copies. Recorded; where that fails,
  // as launches, with a remark.
  absl::StatusOr<kernels::Timing> Time(
      int64_t rotation, const std::function<void(int64_t)>& enqueue);
  // The fastest of the library's algorithms; nothing where it has none.
  // gemm_of(call) are products of one shape.
  absl::StatusOr<std::optional<kernels::Timing>> TimeLibrary(
      int64_t rotation,
      const std::function<kernels::LibraryGemm(int64_t)>& gemm_of);

  // What is to be noted beside the table in the making; they are forgotten.
  std::vector<std::string> TakeRemarks();

 private:
  absl::StatusOr<kernels::Timing> TimeWithin(
      kernels::TimeLimits limits, const std::function<void(int64_t)>& enqueue);

  kernels::Backend backend_;
  GpuTableSizes sizes_;
  GpuCeilings ceilings_;
  uint64_t seed_ = 1;
  kernels::DeviceMemory workspace_;
  int64_t workspace_bytes_ = 0;
  std::vector<std::string> remarks_;
};

// Measures one after the other until the deadline. A row that fails does not
// keep the others from being measured.
void MeasureRows(const std::vector<RowJob>& jobs, Deadline deadline,
                 ReportTable* table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_BENCH_H_
