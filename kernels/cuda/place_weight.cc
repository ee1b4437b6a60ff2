// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/place_weight.h"

#include <utility>

#include "kernels/core/status_macros.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/cuda/pack_weight.h"
#include "kernels/cuda/unpack_fp8.h"

namespace zqfp::kernels::cuda {
namespace {

// Bytes of one row of W as it is on disk.
int64_t RowBytes(WeightFormat format, int64_t k) {
  switch (format) {
    case WeightFormat::kF32:
      return 4 * k;
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return 2 * k;
    case WeightFormat::kE4m3:
    case WeightFormat::kE4m3Groups:
      return k;
    case WeightFormat::kE2m1Free:
    case WeightFormat::kE2m1Shift:
    case WeightFormat::kE2m1E4m3:
      return (k + 1) / 2;
  }
  return 0;
}

// Copies one array of the host, points `view` at the copy and keeps its memory.
// No bytes give null: a field that the format does not use may hold anything.
template <typename T>
absl::Status PlaceArray(Device& device, int64_t num_bytes, const T*& view,
                        PlacedWeight& placed) {
  if (num_bytes == 0) view = nullptr;
  if (view == nullptr) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(DeviceMemory memory, device.Allocate(num_bytes));
  ZQFP_RETURN_IF_ERROR(device.Upload(view, num_bytes, memory.get()));
  view = static_cast<const T*>(memory.get());
  placed.memory.push_back(std::move(memory));
  return absl::OkStatus();
}

absl::Status PlaceScales(Device& device, PlacedWeight& placed) {
  constexpr int64_t kFloat = 4;  // bytes
  WeightView& view = placed.view;
  const WeightFormat format = view.format;
  const int64_t groups =
      HasGroups(format) ? NumGroups(view.k, view.group_size) : 0;
  const int64_t scale_rows = (view.n + view.scale_rows - 1) / view.scale_rows;
  const bool shifts = format == WeightFormat::kE2m1Shift;
  const bool rows = shifts || format == WeightFormat::kE4m3;
  const bool codes = format == WeightFormat::kE2m1E4m3;
  const bool floats = HasGroups(format) && !shifts && !codes;
  ZQFP_RETURN_IF_ERROR(
      PlaceArray(device, rows ? kFloat * view.n : 0, view.row_scale, placed));
  ZQFP_RETURN_IF_ERROR(PlaceArray(device,
                                  floats ? kFloat * scale_rows * groups : 0,
                                  view.group_scale, placed));
  ZQFP_RETURN_IF_ERROR(
      PlaceArray(device, shifts ? view.n * groups : 0, view.shift, placed));
  return PlaceArray(device, codes ? view.n * groups : 0, view.scale_code,
                    placed);
}

absl::Status PlaceLorc(Device& device, PlacedWeight& placed) {
  LorcView& lorc = placed.view.lorc;
  if (lorc.rank == 0) return absl::OkStatus();
  const bool is_e4m3 = lorc.format == ValueFormat::kE4m3;  // else bf16
  const int64_t value_bytes = is_e4m3 ? 1 : 2;
  const int64_t u_bytes = lorc.rank * placed.view.n * value_bytes;
  const int64_t v_bytes = lorc.rank * placed.view.k * value_bytes;
  ZQFP_RETURN_IF_ERROR(PlaceArray(device, u_bytes, lorc.u, placed));
  ZQFP_RETURN_IF_ERROR(PlaceArray(device, v_bytes, lorc.v, placed));
  ZQFP_RETURN_IF_ERROR(PlaceArray(device, is_e4m3 ? 4 * placed.view.n : 0,
                                  lorc.u_scale, placed));
  return PlaceArray(device, is_e4m3 ? 4 * lorc.rank : 0, lorc.v_scale, placed);
}

// The codes and scales of `placed` in the order of packed_weight.h, in place of
// those of the disk.
absl::Status Pack(Device& device, PlacedWeight& placed) {
  WeightView& view = placed.view;
  const int64_t num_bytes = DescribePacked(view, nullptr).num_bytes;
  ZQFP_ASSIGN_OR_RETURN(DeviceMemory packed, device.Allocate(num_bytes));
  PackWeight(view, packed.get(), {.stream = device.stream()});
  // Only then may the memory go that the packing reads.
  ZQFP_RETURN_IF_ERROR(device.Synchronize());
  placed.memory.clear();
  view.packed = packed.get();
  view.data = nullptr;
  view.row_scale = view.group_scale = nullptr;
  view.shift = view.scale_code = nullptr;
  placed.memory.push_back(std::move(packed));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PlacedWeight> PlaceWeight(Device& device,
                                         const WeightView& weight) {
  PlacedWeight placed;
  placed.view = weight;
  const int64_t num_bytes = weight.n * RowBytes(weight.format, weight.k);
  ZQFP_RETURN_IF_ERROR(PlaceArray(device, num_bytes, placed.view.data, placed));
  ZQFP_RETURN_IF_ERROR(PlaceScales(device, placed));
  if (HasPackedForm(weight.format)) {
    ZQFP_RETURN_IF_ERROR(Pack(device, placed));
  }
  ZQFP_RETURN_IF_ERROR(PlaceLorc(device, placed));
  return placed;
}

int64_t Fp8RowBytes(const WeightView& weight) {
  const bool multiplied = FitsMatmulFp8(weight) && LoadCublasLt() != nullptr;
  return multiplied ? weight.n * weight.k : 0;
}

absl::StatusOr<DeviceMemory> PlaceFp8Rows(Device& device,
                                          const WeightView& placed) {
  ZQFP_ASSIGN_OR_RETURN(DeviceMemory rows,
                        device.Allocate(Fp8RowBytes(placed)));
  if (rows == nullptr) return rows;
  UnpackFp8(DescribePacked(placed, placed.packed), 0, placed.n, placed.k,
            static_cast<uint8_t*>(rows.get()), {.stream = device.stream()});
  return rows;
}

}  // namespace zqfp::kernels::cuda
