// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_matmul_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "kernels/core/status_macros.h"
#include "kernels/cuda/matmul_fp8.h"
#include "kernels/op_work.h"
#include "tools/gpu_matrix.h"

namespace zqfp::tools {
namespace {

using kernels::DeviceMemory;
using kernels::Exec;
using kernels::Fp8Sums;
using kernels::LibraryGemm;
using kernels::MatmulA8Args;
using kernels::MatmulPath;
using kernels::Timing;
using kernels::ValueFormat;
using kernels::WeightFormat;

using Row = std::vector<Cell>;
using MaybeTiming = std::optional<Timing>;

Cell Micros(const MaybeTiming& timing) {
  return timing ? Cell(timing->median_us) : Cell();
}

// How many times as long `other` takes.
Cell Times(const MaybeTiming& other, const Timing& ours) {
  return other ? Cell(other->median_us / ours.median_us) : Cell();
}

MaybeTiming Faster(const MaybeTiming& a, const MaybeTiming& b) {
  if (!a || !b) return a ? a : b;
  return a->median_us <= b->median_us ? a : b;
}

// One matrix with tokens: everything a row of T2 or T3 is measured with.
struct Subject {
  MatrixShape shape;
  GpuMatrix matrix;
  GpuTokens tokens;

  static absl::StatusOr<std::unique_ptr<Subject>> Create(
      GpuBench& bench, const MatrixShape& shape, WeightFormat format,
      int64_t group_size, int64_t most_tokens) {
    ZQFP_ASSIGN_OR_RETURN(
        GpuMatrix matrix,
        GpuMatrix::Create(bench, format, shape.n, shape.k, group_size));
    ZQFP_ASSIGN_OR_RETURN(
        GpuTokens tokens,
        GpuTokens::Create(bench, most_tokens, shape.n, shape.k));
    return std::unique_ptr<Subject>(
        new Subject{shape, std::move(matrix), std::move(tokens)});
  }

  MatmulA8Args Args(int64_t m, int64_t call) const {
    return {.m = m,
            .x = tokens.view(),
            .weight = matrix.packed(call),
            .y = static_cast<float*>(tokens.y.get())};
  }
  LibraryGemm Bf16(int64_t m, int64_t call) const {
    return {.m = m,
            .n = shape.n,
            .k = shape.k,
            .weight = matrix.bf16(call),
            .x = tokens.bf16.get(),
            .y = tokens.y.get()};
  }
  LibraryGemm Fp8(int64_t m, int64_t call, Fp8Sums sums) const {
    return {.m = m,
            .n = shape.n,
            .k = shape.k,
            .format = ValueFormat::kE4m3,
            .sums = sums,
            .weight = matrix.e4m3(call),
            .row_scale = matrix.row_scale(),
            .x = tokens.e4m3.get(),
            .token_scale = static_cast<const float*>(tokens.scale.get()),
            .y = tokens.y.get()};
  }
};

// What a row of T2 is made of.
struct MatmulFigures {
  MaybeTiming bf16, fp8, fp8_fast, hmma, library, wgmma;
  std::string wgmma_tile;  // the fastest one
  Timing chosen;
  ProductError error;
};

// FP8 of so many tokens, or of as many more as the library wants.
absl::StatusOr<MaybeTiming> TimeFp8(GpuBench& bench, const Subject& subject,
                                    int64_t m, Fp8Sums sums) {
  const bool offered = bench.lab().NumAlgorithms(subject.Fp8(m, 0, sums)) > 0;
  const int64_t padded = offered ? m : (m + 15) / 16 * 16;
  return bench.TimeLibrary(subject.matrix.e4m3_copies(), [&](int64_t call) {
    return subject.Fp8(padded, call, sums);
  });
}

absl::StatusOr<MaybeTiming> TimePath(GpuBench& bench, const Subject& subject,
                                     MatmulPath path, int64_t m,
                                     int variant = 0) {
  ZQFP_ASSIGN_OR_RETURN(
      const Exec exec,
      bench.ExecWith(bench.lab().PathWorkspaceBytes(m, subject.shape.k)));
  if (!bench.lab().MatmulA8On(path, variant, subject.Args(m, 0), exec)) {
    return MaybeTiming();
  }
  ZQFP_ASSIGN_OR_RETURN(
      const Timing timing,
      bench.Time(subject.matrix.packed_copies(), [&](int64_t call) {
        (void)bench.lab().MatmulA8On(path, variant, subject.Args(m, call),
                                     exec);
      }));
  return MaybeTiming(timing);
}

// The fastest of its tiles; of fewer tokens than a tile could be for, none.
absl::Status TimeWgmma(GpuBench& bench, const Subject& subject, int64_t m,
                       MatmulFigures* found) {
  constexpr int64_t kLeastTokens = 16;
  if (m < kLeastTokens) return absl::OkStatus();
  for (int i = 0;; ++i) {
    const std::string tile = bench.lab().VariantName(MatmulPath::kWgmma, i);
    if (tile.empty()) return absl::OkStatus();
    ZQFP_ASSIGN_OR_RETURN(const MaybeTiming timing,
                          TimePath(bench, subject, MatmulPath::kWgmma, m, i));
    if (!timing) return absl::OkStatus();
    if (found->wgmma && found->wgmma->median_us <= timing->median_us) continue;
    found->wgmma = timing;
    found->wgmma_tile = tile;
  }
}

// The op, as a model calls it.
absl::StatusOr<Timing> TimeChosen(GpuBench& bench, const Subject& subject,
                                  int64_t m, ProductError* error) {
  ZQFP_ASSIGN_OR_RETURN(
      const Exec exec,
      bench.ExecWith(bench.backend().WorkspaceBytes(
          {.num_tokens = m, .k = subject.shape.k, .n = subject.shape.n})));
  bench.ops().matmul_a8(subject.Args(m, 0), exec);
  ZQFP_ASSIGN_OR_RETURN(*error,
                        ErrorOf(bench, subject.matrix, subject.tokens, m));
  return bench.Time(subject.matrix.packed_copies(), [&](int64_t call) {
    bench.ops().matmul_a8(subject.Args(m, call), exec);
  });
}

absl::StatusOr<MatmulFigures> MeasureMatmul(GpuBench& bench,
                                            const Subject& subject, int64_t m) {
  MatmulFigures found;
  ZQFP_ASSIGN_OR_RETURN(
      found.bf16,
      bench.TimeLibrary(subject.matrix.bf16_copies(),
                        [&](int64_t call) { return subject.Bf16(m, call); }));
  ZQFP_ASSIGN_OR_RETURN(found.fp8,
                        TimeFp8(bench, subject, m, Fp8Sums::kPromoted));
  ZQFP_ASSIGN_OR_RETURN(found.fp8_fast,
                        TimeFp8(bench, subject, m, Fp8Sums::kFast));
  ZQFP_ASSIGN_OR_RETURN(found.hmma,
                        TimePath(bench, subject, MatmulPath::kHmma, m));
  ZQFP_ASSIGN_OR_RETURN(found.library,
                        TimePath(bench, subject, MatmulPath::kLibrary, m));
  ZQFP_RETURN_IF_ERROR(TimeWgmma(bench, subject, m, &found));
  ZQFP_ASSIGN_OR_RETURN(found.chosen,
                        TimeChosen(bench, subject, m, &found.error));
  return found;
}

const std::vector<ReportColumn>& MatmulColumns() {
  static const auto& columns =
      *new std::vector<ReportColumn>{{"model", "model"},
                                     {"part", "part"},
                                     {"n", "n", 0},
                                     {"k", "k", 0},
                                     {"m", "M", 0},
                                     {"bf16_us", "bf16 us", 2},
                                     {"fp8_us", "fp8 us", 2},
                                     {"fp8_fast_us", "fast us", 2},
                                     {"hmma_us", "hmma us", 2},
                                     {"library_us", "unpack us", 2},
                                     {"wgmma_us", "wgmma us", 2},
                                     {"wgmma_tile", "its tile"},
                                     {"us", "OURS us", 2},
                                     {"min_us", "min", 2},
                                     {"p90_us", "p90", 2},
                                     {"floor_us", "floor us", 2},
                                     {"floor_share", "of floor", 2},
                                     {"tb_per_s", "TB/s", 2},
                                     {"tflop_per_s", "TFLOP/s", 0},
                                     {"times_bf16", "x bf16", 2},
                                     {"times_fp8", "x fp8", 2},
                                     {"relative_error", "rel error", -1},
                                     {"largest_error", "max error", -1},
                                     {"target", "target"}};
  return columns;
}

Row MatmulRow(GpuBench& bench, const Subject& subject, int64_t m,
              const MatmulFigures& found) {
  const kernels::OpWork work = kernels::Work(subject.Args(m, 0));
  const auto bytes = static_cast<double>(work.bytes);
  const auto flop = static_cast<double>(work.flop);
  const double us = found.chosen.median_us;
  const double floor_us = bench.ceilings().FloorUs(bytes, flop);
  const MaybeTiming fp8 = Faster(found.fp8, found.fp8_fast);
  const double copy = bench.ceilings().copy_bytes;
  const std::string target = MatmulTarget(
      m, static_cast<double>(kernels::WeightBytes(subject.matrix.view())),
      copy > 0 ? bytes / us * 1e6 / copy : 0, fp8 ? fp8->median_us / us : 0);
  return {subject.shape.model,
          subject.shape.part,
          static_cast<double>(subject.shape.n),
          static_cast<double>(subject.shape.k),
          static_cast<double>(m),
          Micros(found.bf16),
          Micros(found.fp8),
          Micros(found.fp8_fast),
          Micros(found.hmma),
          Micros(found.library),
          Micros(found.wgmma),
          found.wgmma_tile,
          us,
          found.chosen.min_us,
          found.chosen.p90_us,
          floor_us,
          floor_us / us,
          bytes / us / 1e6,
          flop / us / 1e6,
          Times(found.bf16, found.chosen),
          Times(fp8, found.chosen),
          found.error.relative,
          found.error.largest,
          target};
}

// What design asks of the two paths; Fp8Sums says why they differ.
constexpr double kHmmaError = 1e-6;
constexpr double kFp8Error = 5e-4;

// T9, of the rows of T2 whose tokens are in [first, last].
void JudgeErrors(const std::string& which, double first, double last,
                 double bound, ReportTable* table) {
  const auto index = [&](const char* key) {
    size_t i = 0;
    while (table->columns[i].key != key) ++i;
    return i;
  };
  const size_t m_at = index("m"), error_at = index("relative_error");
  double largest = -1;
  for (const Row& row : table->rows) {
    const double m = std::get<double>(row[m_at]);
    const double error = std::get<double>(row[error_at]);
    if (m < first || m > last) continue;
    if (error > largest || std::isnan(error)) largest = error;  // a NaN stays
  }
  if (largest == -1) return;
  table->notes.push_back(
      fmt::format("T9 of {}: relative error up to {:.2g}, want {:.2g}: {}",
                  which, largest, bound, largest <= bound ? "met" : "MISSED"));
}

void MeasureMatmulsOf(GpuBench& bench, const std::vector<int64_t>& tokens,
                      Deadline deadline, ReportTable* table) {
  table->columns = MatmulColumns();
  const int64_t most = *std::max_element(tokens.begin(), tokens.end());
  std::unique_ptr<Subject> subject;  // one at a time
  std::vector<RowJob> jobs;
  for (const MatrixShape& shape : bench.sizes().matrices) {
    for (const int64_t m : tokens) {
      jobs.push_back(
          {fmt::format("{} {} M={}", shape.model, shape.part, m),
           [&, m, shape]() -> absl::StatusOr<Row> {
             if (subject == nullptr || subject->shape.n != shape.n ||
                 subject->shape.k != shape.k) {
               subject = nullptr;
               ZQFP_ASSIGN_OR_RETURN(
                   subject,
                   Subject::Create(bench, shape, WeightFormat::kE2m1Shift,
                                   bench.sizes().group_size, most));
               ZQFP_RETURN_IF_ERROR(subject->matrix.AddLibraryCopies(bench));
             }
             subject->shape = shape;
             ZQFP_ASSIGN_OR_RETURN(const MatmulFigures found,
                                   MeasureMatmul(bench, *subject, m));
             return MatmulRow(bench, *subject, m, found);
           }});
    }
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {
      "us: median of the samples. bf16, fp8 (promoted sums), fast: cuBLASLt, "
      "y in bf16, M padded to 16 where it has no kernel; the fastest of 4",
      "hmma, unpack: our two paths, forced; OURS: the op as a model calls it, "
      "y in f32. x fp8: over the faster one of cuBLASLt's",
      "floor: bytes by T0's bandwidth or flops by T0's FP8. Errors (T9): over "
      "sampled rows against f64"};
  constexpr auto kLeast = static_cast<double>(kernels::cuda::kFp8LeastTokens);
  JudgeErrors(fmt::format("fewer tokens than {}", kLeast), 0, kLeast - 1,
              kHmmaError, table);
  JudgeErrors(fmt::format("{} tokens and more", kLeast), kLeast, 1e9, kFp8Error,
              table);
}

}  // namespace

std::string MatmulTarget(int64_t m, double weight_bytes, double copy_share,
                         double times_fp8) {
  const auto judge = [](const char* what, double found, double wanted) {
    return fmt::format("{} {:.2f}, want {:.2f}: {}", what, found, wanted,
                       found >= wanted ? "met" : "MISSED");
  };
  if (m == 1 && weight_bytes >= 20e6) {
    return judge("of copy", copy_share, weight_bytes >= 100e6 ? 0.80 : 0.65);
  }
  if (m == 64) return judge("x fp8", times_fp8, 1.5);
  if (m >= 2048) return judge("x fp8", times_fp8, 0.88);
  return "";
}

void MeasureMatmuls(GpuBench& bench, Deadline deadline, ReportTable* table) {
  table->title = "matrix products, W4A8 beside cuBLASLt";
  MeasureMatmulsOf(bench, bench.sizes().first_tokens, deadline, table);
}

void MeasureMoreMatmuls(GpuBench& bench, Deadline deadline,
                        ReportTable* table) {
  table->title = "matrix products of other numbers of tokens";
  MeasureMatmulsOf(bench, bench.sizes().other_tokens, deadline, table);
}

namespace {

// One shape: to memory, or always to the same place in a cache.
absl::StatusOr<Row> UnpackRow(GpuBench& bench, const MatrixShape& shape,
                              int64_t n, const char* to_where) {
  const bool to_memory = n == shape.n;
  ZQFP_ASSIGN_OR_RETURN(const GpuMatrix matrix,
                        GpuMatrix::Create(bench, WeightFormat::kE2m1Shift, n,
                                          shape.k, bench.sizes().group_size));
  const int64_t count = n * shape.k;
  const int64_t outputs = to_memory ? bench.Copies(count) : 1;
  ZQFP_ASSIGN_OR_RETURN(const DeviceMemory to,
                        bench.device().Allocate(outputs * count));
  const int64_t rotation = std::max(matrix.packed_copies(), outputs);
  ZQFP_ASSIGN_OR_RETURN(
      const Timing timing, bench.Time(rotation, [&](int64_t call) {
        (void)bench.lab().UnpackFp8(
            matrix.packed(call),
            static_cast<uint8_t*>(to.get()) + call % outputs * count);
      }));
  const auto weights = static_cast<double>(count);
  const auto read = static_cast<double>(kernels::WeightBytes(matrix.view()));
  const double bytes = to_memory ? read + weights : read;
  const double us = timing.median_us;
  const double floor_us = bench.ceilings().FloorUs(bytes, 0);
  return Row{shape.model,
             shape.part,
             static_cast<double>(n),
             static_cast<double>(shape.k),
             to_where,
             us,
             timing.min_us,
             timing.p90_us,
             (read + weights) / us / 1e3,
             weights / us / 1e3,
             floor_us / us};
}

}  // namespace

void MeasureUnpacking(GpuBench& bench, Deadline deadline, ReportTable* table) {
  table->title = "unpacking e2m1 to e4m3";
  table->columns = {{"model", "model"},
                    {"part", "part"},
                    {"n", "n", 0},
                    {"k", "k", 0},
                    {"to", "to"},
                    {"us", "us", 1},
                    {"min_us", "min", 1},
                    {"p90_us", "p90", 1},
                    {"gb_per_s", "GB/s", 0},
                    {"gweights_per_s", "Gweights/s", 0},
                    {"floor_share", "of floor", 2}};
  std::vector<RowJob> jobs;
  for (const MatrixShape& shape : bench.sizes().matrices) {
    if (shape.model != bench.sizes().matrices[0].model) continue;
    const int64_t fitting =
        std::min(shape.n, bench.sizes().unpacked_bytes / shape.k / 16 * 16);
    jobs.push_back({shape.part + " to memory", [&bench, shape] {
                      return UnpackRow(bench, shape, shape.n, "memory");
                    }});
    if (fitting == 0 || fitting == shape.n) continue;
    jobs.push_back({shape.part + " to cache", [&bench, shape, fitting] {
                      return UnpackRow(bench, shape, fitting, "cache");
                    }});
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {
      "GB/s: read and written. To a cache: always the same bytes, of which "
      "the floor counts the reading only"};
}

namespace {

// M1's row scales are powers of two; it and M2 run the same kernel on the same
// bytes, so that one figure is both's.
struct Scheme {
  const char* name;
  WeightFormat format;
};
constexpr Scheme kSchemes[] = {{"m1, m2", WeightFormat::kE2m1Shift},
                               {"free", WeightFormat::kE2m1Free}};

absl::StatusOr<Row> GroupRow(GpuBench& bench, const Subject& subject,
                             const char* scheme, int64_t group_size,
                             int64_t m) {
  ProductError error;
  ZQFP_ASSIGN_OR_RETURN(const Timing timing,
                        TimeChosen(bench, subject, m, &error));
  const kernels::OpWork work = kernels::Work(subject.Args(m, 0));
  const auto bytes = static_cast<double>(work.bytes);
  const double floor_us =
      bench.ceilings().FloorUs(bytes, static_cast<double>(work.flop));
  const auto weights = static_cast<double>(subject.shape.n * subject.shape.k);
  const double us = timing.median_us;
  return Row{
      static_cast<double>(group_size),
      scheme,
      8 * static_cast<double>(kernels::WeightBytes(subject.matrix.view())) /
          weights,
      static_cast<double>(m),
      us,
      timing.min_us,
      timing.p90_us,
      bytes / us / 1e6,
      static_cast<double>(work.flop) / us / 1e6,
      floor_us / us,
      error.relative};
}

}  // namespace

void MeasureGroups(GpuBench& bench, Deadline deadline, ReportTable* table) {
  const MatrixShape& shape = bench.sizes().sweep;
  const std::vector<int64_t>& tokens = bench.sizes().sweep_tokens;
  table->title = fmt::format("groups and scales, {} {} {} x {}", shape.model,
                             shape.part, shape.n, shape.k);
  table->columns = {{"group_size", "group", 0},
                    {"scales", "scales"},
                    {"bits_per_weight", "bits", 3},
                    {"m", "M", 0},
                    {"us", "us", 1},
                    {"min_us", "min", 1},
                    {"p90_us", "p90", 1},
                    {"tb_per_s", "TB/s", 2},
                    {"tflop_per_s", "TFLOP/s", 0},
                    {"floor_share", "of floor", 2},
                    {"relative_error", "rel error", -1}};
  const int64_t most = *std::max_element(tokens.begin(), tokens.end());
  std::unique_ptr<Subject> subject;
  std::vector<RowJob> jobs;
  for (const int64_t group_size : bench.sizes().sweep_groups) {
    for (const Scheme& scheme : kSchemes) {
      for (const int64_t m : tokens) {
        jobs.push_back(
            {fmt::format("group {} {} M={}", group_size, scheme.name, m),
             [&, group_size, m, scheme]() -> absl::StatusOr<Row> {
               if (subject == nullptr ||
                   subject->matrix.view().format != scheme.format ||
                   subject->matrix.view().group_size != group_size) {
                 subject = nullptr;
                 ZQFP_ASSIGN_OR_RETURN(
                     subject, Subject::Create(bench, shape, scheme.format,
                                              group_size, most));
               }
               return GroupRow(bench, *subject, scheme.name, group_size, m);
             }});
      }
    }
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {
      "m1 and m2 run the same kernel on the same bytes; free scales have no "
      "e4m3 rows and stay with the HMMA kernel at any M"};
}

}  // namespace zqfp::tools
