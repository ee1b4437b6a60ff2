// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "kernels/core/status_macros.h"

namespace zqfp::tools {
namespace {

using kernels::DeviceLab;
using kernels::DeviceMemory;
using kernels::LibraryGemm;
using kernels::RandomKind;
using kernels::ReadBy;
using kernels::Timing;
using kernels::ValueFormat;

using Row = std::vector<Cell>;

// What NVIDIA says of the SXM modules, in 1e12 a second, without sparsity.
constexpr double kBf16Datasheet = 989;
constexpr double kFp8Datasheet = 1979;
double MemoryDatasheet(GpuBench& bench) {
  return bench.device().Describe().find("H200") != std::string::npos ? 4.8
                                                                     : 3.35;
}

// `work` a call, in units of 1e12.
Row RateRow(const char* what, const char* unit, double datasheet,
            const char* expected, double work, const Timing& timing) {
  const double scaled = work / 1e12 * 1e6;
  return {what,
          scaled / timing.median_us,
          scaled / timing.min_us,
          scaled / timing.p90_us,
          unit,
          timing.median_us,
          static_cast<double>(timing.calls),
          scaled / timing.median_us / datasheet,
          expected};
}

absl::StatusOr<Row> CopyRow(GpuBench& bench) {
  const int64_t num_bytes = bench.sizes().stream_bytes;
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory from,
                        bench.Random(RandomKind::kByte, num_bytes));
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory to,
                        bench.device().Allocate(num_bytes));
  ZQFP_ASSIGN_OR_RETURN(const Timing timing, bench.Time(1, [&](int64_t) {
    bench.lab().Copy(from.get(), num_bytes, to.get());
  }));
  const double work = 2.0 * static_cast<double>(num_bytes);
  bench.ceilings().copy_bytes = work * 1e6 / timing.median_us;
  return RateRow("copy, read and written", "TB/s", MemoryDatasheet(bench),
                 "H100 3.0, H200 4.3", work, timing);
}

absl::StatusOr<Row> ReadRow(GpuBench& bench, ReadBy by) {
  const int64_t num_bytes = bench.sizes().stream_bytes;
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory from,
                        bench.Random(RandomKind::kByte, num_bytes));
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory sums,
                        bench.device().Allocate(DeviceLab::kReadSumsBytes));
  ZQFP_ASSIGN_OR_RETURN(const Timing timing, bench.Time(1, [&](int64_t) {
    bench.lab().Read(by, from.get(), num_bytes, sums.get());
  }));
  const auto work = static_cast<double>(num_bytes);
  double& most = bench.ceilings().read_bytes;
  most = std::max(most, work * 1e6 / timing.median_us);
  return RateRow(
      by == ReadBy::kLoads ? "read only" : "read only, bulk copies of 16 KB",
      "TB/s", MemoryDatasheet(bench), "H100 3.1, H200 4.4", work, timing);
}

// A product of square matrices; nothing where the library has none.
absl::StatusOr<Row> SquareRow(GpuBench& bench, const char* what,
                              const char* expected, LibraryGemm gemm,
                              double* ceiling) {
  const int64_t size = bench.sizes().square;
  const bool is_fp8 = gemm.format == ValueFormat::kE4m3;
  const RandomKind kind = is_fp8 ? RandomKind::kNormalE4m3 : RandomKind::kBf16;
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory weight,
                        bench.Random(kind, size * size));
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory x, bench.Random(kind, size * size));
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory scales,
                        bench.Random(RandomKind::kConstant, size, 0.01f));
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory y,
                        bench.device().Allocate(size * size * 2));
  gemm.m = gemm.n = gemm.k = size;
  gemm.weight = weight.get();
  gemm.x = x.get();
  gemm.row_scale = gemm.token_scale = static_cast<const float*>(scales.get());
  gemm.y = y.get();
  ZQFP_ASSIGN_OR_RETURN(const std::optional<Timing> timing,
                        bench.TimeLibrary(1, [&](int64_t) { return gemm; }));
  if (!timing) {
    return Row{what, {}, {}, {}, "TFLOP/s", {}, {}, {}, "the library has none"};
  }
  const double side = static_cast<double>(size);
  *ceiling = 2 * side * side * side * 1e6 / timing->median_us;
  return RateRow(what, "TFLOP/s", is_fp8 ? kFp8Datasheet : kBf16Datasheet,
                 expected, 2 * side * side * side, *timing);
}

// Calls of a loop that multiplies, whose flops it returns.
struct Multiplied {
  double flop = 0;
  Timing timing;
};
absl::StatusOr<Multiplied> TimeMultiply(
    GpuBench& bench,
    const std::function<int64_t(int64_t rounds, void* sink)>& multiply) {
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory sink,
                        bench.device().Allocate(DeviceLab::kReadSumsBytes));
  Multiplied found;
  ZQFP_ASSIGN_OR_RETURN(found.timing, bench.Time(1, [&](int64_t) {
    found.flop = static_cast<double>(
        multiply(bench.sizes().multiply_rounds, sink.get()));
  }));
  return found;
}

absl::StatusOr<Row> MultiplyRow(GpuBench& bench) {
  ZQFP_ASSIGN_OR_RETURN(const Multiplied found,
                        TimeMultiply(bench, [&](int64_t rounds, void* sink) {
                          return bench.lab().Multiply(rounds, sink);
                        }));
  bench.ceilings().hmma_flop = found.flop * 1e6 / found.timing.median_us;
  return RateRow("HMMA m16n8k16 f16, registers only", "TFLOP/s", kBf16Datasheet,
                 "600-650, 62-75 % of wgmma", found.flop, found.timing);
}

absl::StatusOr<Row> MultiplyFp8Row(GpuBench& bench, int columns) {
  ZQFP_ASSIGN_OR_RETURN(const Multiplied found,
                        TimeMultiply(bench, [&](int64_t rounds, void* sink) {
                          return bench.lab().MultiplyFp8(columns, rounds, sink);
                        }));
  const std::string what =
      fmt::format("wgmma m64n{}k32 e4m3, rows in registers", columns);
  return RateRow(what.c_str(), "TFLOP/s", kFp8Datasheet,
                 "1979 at 1.83 GHz; less of few columns", found.flop,
                 found.timing);
}

absl::StatusOr<Row> LaunchRow(GpuBench& bench, kernels::TimedAs as,
                              kernels::LaunchOverlap overlap) {
  const bool recorded = as == kernels::TimedAs::kRecordedOps;
  const bool overlaps = overlap == kernels::LaunchOverlap::kYes;
  ZQFP_ASSIGN_OR_RETURN(
      const Timing timing,
      bench.lab().TimeRepeated({.as = as,
                                .sample_us = bench.sizes().sample_us,
                                .samples = bench.sizes().samples,
                                .most_seconds = bench.sizes().most_seconds},
                               [&](int64_t) { bench.lab().Nothing(overlap); }));
  if (recorded && overlaps) bench.ceilings().launch_us = timing.median_us;
  return Row{
      fmt::format("empty kernels, {}{}", recorded ? "a graph" : "a stream",
                  overlaps ? ", overlapping" : ""),
      timing.median_us,
      timing.min_us,
      timing.p90_us,
      "us/launch",
      timing.median_us,
      static_cast<double>(timing.calls),
      {},
      recorded ? "1.3" : "2-4"};
}

}  // namespace

void MeasureCeilings(GpuBench& bench, Deadline deadline, ReportTable* table) {
  table->title = "what the chip can do in this run";
  table->columns = {
      {"what", "what"},        {"median", "median", 3},
      {"best", "best", 3},     {"p90", "p90", 3},
      {"unit", "unit"},        {"median_us", "us", 1},
      {"calls", "calls", 0},   {"datasheet_share", "of datasheet", 2},
      {"expected", "expected"}};
  using enum kernels::TimedAs;
  using enum kernels::LaunchOverlap;
  GpuCeilings& found = bench.ceilings();
  const LibraryGemm bf16 = {};
  const LibraryGemm fp8 = {.format = ValueFormat::kE4m3};
  const LibraryGemm fast = {.format = ValueFormat::kE4m3,
                            .sums = kernels::Fp8Sums::kFast};
  const std::string square = fmt::format("{}^3", bench.sizes().square);
  const std::string bf16_name = "cuBLASLt bf16 " + square;
  const std::string fp8_name = "cuBLASLt FP8, row scales, " + square;
  const std::string fast_name = fp8_name + ", fast sums";
  MeasureRows(
      {{"copy", [&] { return CopyRow(bench); }},
       {"read", [&] { return ReadRow(bench, ReadBy::kLoads); }},
       {"bulk read", [&] { return ReadRow(bench, ReadBy::kBulkCopies); }},
       {"bf16",
        [&] {
          return SquareRow(bench, bf16_name.c_str(), "H200 769-798", bf16,
                           &found.bf16_flop);
        }},
       {"fp8",
        [&] {
          return SquareRow(bench, fp8_name.c_str(), "1300-1500", fp8,
                           &found.fp8_flop);
        }},
       {"fp8 fast",
        [&] {
          return SquareRow(bench, fast_name.c_str(), "1300-1500", fast,
                           &found.fp8_fast_flop);
        }},
       {"HMMA", [&] { return MultiplyRow(bench); }},
       {"wgmma 32", [&] { return MultiplyFp8Row(bench, 32); }},
       {"wgmma 64", [&] { return MultiplyFp8Row(bench, 64); }},
       {"wgmma 128", [&] { return MultiplyFp8Row(bench, 128); }},
       {"stream", [&] { return LaunchRow(bench, kLaunches, kNo); }},
       {"stream overlapping",
        [&] { return LaunchRow(bench, kLaunches, kYes); }},
       {"graph", [&] { return LaunchRow(bench, kRecordedOps, kNo); }},
       {"graph overlapping",
        [&] { return LaunchRow(bench, kRecordedOps, kYes); }}},
      deadline, table);
  table->notes.push_back(
      "random data; the fastest of up to 4 algorithms of cuBLASLt; datasheets "
      "of the SXM modules");
}

absl::StatusOr<double> MeasureGpuRead(const kernels::Backend& backend) {
  GpuBench bench(backend, {});
  ZQFP_RETURN_IF_ERROR(ReadRow(bench, ReadBy::kLoads).status());
  return bench.ceilings().read_bytes;
}

void MeasureLibrarySupport(GpuBench& bench, Deadline deadline,
                           ReportTable* table) {
  table->title = "cuBLASLt FP8 with row and token scales: algorithms offered";
  table->columns = {{"y_format", "y"}};
  const std::vector<int64_t> tokens = {1, 2, 8, 15, 16, 17};
  for (const int64_t m : tokens) {
    table->columns.push_back(
        {fmt::format("tokens_{}", m), fmt::format("{} tokens", m), 0});
  }
  const int64_t size = bench.sizes().support_size;
  const auto row = [&](const char* name,
                       ValueFormat y_format) -> absl::StatusOr<Row> {
    ZQFP_ASSIGN_OR_RETURN(const DeviceMemory values,
                          bench.Random(RandomKind::kNormalE4m3, size * size));
    ZQFP_ASSIGN_OR_RETURN(const DeviceMemory scales,
                          bench.Random(RandomKind::kConstant, size, 0.01f));
    ZQFP_ASSIGN_OR_RETURN(const DeviceMemory y,
                          bench.device().Allocate(32 * size * 4));
    ZQFP_ASSIGN_OR_RETURN(const kernels::Exec exec,
                          bench.ExecWith(kernels::kLibraryWorkspaceBytes));
    Row cells = {name};
    for (const int64_t m : tokens) {
      const auto* scale = static_cast<const float*>(scales.get());
      const LibraryGemm gemm = {.m = m,
                                .n = size,
                                .k = size,
                                .format = ValueFormat::kE4m3,
                                .y_format = y_format,
                                .weight = values.get(),
                                .row_scale = scale,
                                .x = values.get(),
                                .token_scale = scale,
                                .y = y.get()};
      const int64_t offered = bench.lab().NumAlgorithms(gemm);
      cells.push_back(static_cast<double>(offered));
      if (offered == 0) continue;
      absl::Status ran = bench.lab().Multiply(gemm, 0, exec.workspace);
      ran.Update(bench.device().Synchronize());
      if (!ran.ok()) cells.back() = "refuses";
    }
    return cells;
  };
  MeasureRows({{"bf16", [&] { return row("bf16", ValueFormat::kBf16); }},
               {"f32", [&] { return row("f32", ValueFormat::kF32); }}},
              deadline, table);
}

}  // namespace zqfp::tools
