// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/place_weight.h"

#include <type_traits>
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

// To where the next array may begin.
constexpr int64_t Padded(int64_t num_bytes) {
  return (num_bytes + 255) / 256 * 256;
}

// Calls visit(array, bytes) with the codes and scales of a weight as they are
// on disk; 0 bytes of those that its format does not use, which may be
// anything.
template <typename Visit>
void ForEachArray(WeightView& view, const Visit& visit) {
  constexpr int64_t kFloat = 4;  // bytes
  const WeightFormat format = view.format;
  const int64_t groups =
      HasGroups(format) ? NumGroups(view.k, view.group_size) : 0;
  const int64_t scale_rows = (view.n + view.scale_rows - 1) / view.scale_rows;
  const bool shifts = format == WeightFormat::kE2m1Shift;
  const bool rows = shifts || format == WeightFormat::kE4m3;
  const bool codes = format == WeightFormat::kE2m1E4m3;
  const bool floats = HasGroups(format) && !shifts && !codes;
  visit(view.data, view.n * RowBytes(format, view.k));
  visit(view.row_scale, rows ? kFloat * view.n : 0);
  visit(view.group_scale, floats ? kFloat * scale_rows * groups : 0);
  visit(view.shift, shifts ? view.n * groups : 0);
  visit(view.scale_code, codes ? view.n * groups : 0);
}

// Copies one array of the host, points `view` at the copy and keeps its memory.
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

absl::Status PlaceArrays(Device& device, PlacedWeight& placed) {
  absl::Status status;
  ForEachArray(placed.view, [&](auto*& array, int64_t num_bytes) {
    if (status.ok()) status = PlaceArray(device, num_bytes, array, placed);
  });
  return status;
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

// The codes and scales in the order of packed_weight.h, by way of the scratch.
absl::Status Pack(Device& device, Scratch& scratch, PlacedWeight& placed) {
  WeightView& view = placed.view;
  int64_t all_bytes = 0;
  ForEachArray(view, [&](const auto*, int64_t num_bytes) {
    all_bytes += Padded(num_bytes);
  });
  ZQFP_ASSIGN_OR_RETURN(uint8_t * at, scratch.Reserve(device, all_bytes));
  absl::Status status;
  ForEachArray(view, [&](auto*& array, int64_t num_bytes) {
    if (num_bytes == 0 || !status.ok()) return;
    status = device.Upload(array, num_bytes, at);
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(at);
    at += Padded(num_bytes);
  });
  ZQFP_RETURN_IF_ERROR(status);
  return PackArrays(device, placed);
}

}  // namespace

absl::StatusOr<uint8_t*> Scratch::Reserve(Device& device, int64_t num_bytes) {
  if (num_bytes > num_bytes_) {
    Release();
    ZQFP_ASSIGN_OR_RETURN(memory_, device.Allocate(num_bytes));
    num_bytes_ = num_bytes;
  }
  return static_cast<uint8_t*>(memory_.get());
}

void Scratch::Release() {
  memory_ = nullptr;
  num_bytes_ = 0;
}

absl::Status PackArrays(Device& device, PlacedWeight& placed) {
  WeightView& view = placed.view;
  ZQFP_ASSIGN_OR_RETURN(
      DeviceMemory packed,
      device.Allocate(DescribePacked(view, nullptr).num_bytes));
  PackWeight(view, packed.get(), {.stream = device.stream()});
  view.packed = packed.get();
  ForEachArray(view, [](auto*& array, int64_t) { array = nullptr; });
  placed.memory.push_back(std::move(packed));
  return absl::OkStatus();
}

absl::StatusOr<PlacedWeight> PlaceWeight(Device& device, Scratch& scratch,
                                         const WeightView& weight) {
  PlacedWeight placed;
  placed.view = weight;
  ZQFP_RETURN_IF_ERROR(HasPackedForm(weight.format)
                           ? Pack(device, scratch, placed)
                           : PlaceArrays(device, placed));
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
