// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/tensor_jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"
#include "models/finite_scan.h"
#include "models/gguf_blocks.h"
#include "models/mapped_file.h"
#include "models/quantize/float_rows.h"

namespace zqfp {
namespace {

constexpr int64_t kBlockWeights = int64_t{1} << 21;  // 8 MB of f32

// Rows [first, first + count) of a tensor, seen as a tensor of their own. A
// vector is one row.
Tensor Rows(const Tensor& tensor, int64_t first, int64_t count) {
  Tensor rows = tensor;
  const int64_t row_bytes = tensor.num_bytes / tensor.shape[0];
  rows.data += first * row_bytes;
  rows.num_bytes = count * row_bytes;
  rows.shape[0] = count;
  return rows;
}

// A job's source with its data, which are made here where the checkpoint has
// them transposed.
struct Source {
  explicit Source(const QuantizeJob& job) : tensor(*job.source) {
    if (tensor.data != nullptr) return;
    transposed = job.part->part.Transpose();
    tensor.data = transposed.data();
  }
  // The rows are done with; the checkpoint can be read again.
  void Drop(const Tensor& rows) const {
    if (transposed.empty()) DropPages(rows.data, rows.num_bytes);
  }

  Tensor tensor;
  std::vector<uint8_t> transposed;
};

template <typename T>
absl::Span<const uint8_t> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(T)};
}

}  // namespace

TensorJobs::TensorJobs(Options options) : options_(std::move(options)) {}

absl::StatusOr<TensorJobs> TensorJobs::Create(Options options) {
  TensorJobs jobs(std::move(options));
  const int wanted = jobs.options_.num_threads;
  ZQFP_ASSIGN_OR_RETURN(jobs.pool_,
                        kernels::ThreadPool::Create(
                            wanted > 0 ? wanted : kernels::PhysicalCores()));
  jobs.exec_ = {.parallel = jobs.pool_->parallel()};
  ZQFP_ASSIGN_OR_RETURN(jobs.backend_, kernels::SelectBackend());
  return jobs;
}

absl::Status TensorJobs::Report(const std::string& name, int64_t done_bytes) {
  done_bytes_ += done_bytes;
  if (!options_.progress) return absl::OkStatus();
  return options_.progress({.share = static_cast<double>(done_bytes_) /
                                     static_cast<double>(options_.total_bytes),
                            .note = name});
}

void TensorJobs::LoadRows(const Tensor& rows) {
  if (rows.dtype == DType::kQ8Blocks) {
    const int64_t block = BlockElements(rows.dtype);
    floats_.resize(static_cast<size_t>(NumElements(rows)));
    kernels::ParallelFor(exec_, NumElements(rows) / block, 128,
                         [&](int64_t begin, int64_t end, int) {
                           ExpandBlocks(rows, begin * block, end * block,
                                        floats_.data() + begin * block);
                         });
    return;
  }
  LoadFloats(rows.dtype, rows.data, rows.num_bytes / ByteSize(rows.dtype),
             exec_, &floats_);
}

// Only f32 and Q8_0 come here; a weight beyond bf16's range would become an
// infinity.
absl::Status TensorJobs::EncodeBf16(const Tensor& rows,
                                    SafetensorsWriter& writer) {
  LoadRows(rows);
  halves_.resize(floats_.size());
  std::atomic<bool> overflows = false;
  kernels::ParallelFor(exec_, static_cast<int64_t>(floats_.size()), 4096,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t i = begin; i < end; ++i) {
                           const auto at = static_cast<size_t>(i);
                           halves_[at] = kernels::FloatToBf16(floats_[at]);
                           if ((halves_[at] & 0x7f80) == 0x7f80)
                             overflows = true;
                         }
                       });
  if (overflows) {
    return absl::DataLossError(
        fmt::format("{}: {}: want weights within the range of bf16, found a "
                    "larger one",
                    rows.file, rows.name));
  }
  return writer.Append(Bytes(halves_));
}

// Writes the codes of some rows and keeps their scales.
absl::Status TensorJobs::Encode(const QuantizeJob& job, const Tensor& rows,
                                SafetensorsWriter& writer,
                                RoundingReport& rounding, Scales& scales) {
  if (job.treatment == Treatment::kCopy) {
    return writer.Append(
        absl::MakeSpan(rows.data, static_cast<size_t>(rows.num_bytes)));
  }
  if (job.treatment == Treatment::kToBf16) return EncodeBf16(rows, writer);
  LoadRows(rows);
  const int64_t k = rows.shape[1];
  const auto keep = [](const auto& from, auto& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  if (job.scheme.grid.format == GridFormat::kE4m3) {
    rounding.Add(QuantizeToE4m3(floats_, k, *pool_, &e4m3_));
    keep(e4m3_.row_scale, scales.f32);
    return writer.Append(Bytes(e4m3_.codes));
  }
  rounding.Add(
      QuantizeToE2m1(floats_, k, job.scheme.grid.scales, *pool_, &e2m1_));
  keep(e2m1_.group_scale, scales.f32);
  keep(e2m1_.row_scale, scales.f32);
  keep(e2m1_.shift, scales.shift);
  return writer.Append(Bytes(e2m1_.packed));
}

absl::Status TensorJobs::WriteLinear(const QuantizedLinear& linear,
                                     SafetensorsWriter& writer,
                                     QuantizeReport& report,
                                     const LinearScheme& scheme) {
  for (const QuantizedLinear::Piece& piece : linear.pieces) {
    ZQFP_RETURN_IF_ERROR(writer.Append(piece.bytes));
  }
  report.tensors.push_back({linear.name,
                            std::string(ToString(scheme.grid.format)),
                            linear.rounding, linear.output_error});
  return absl::OkStatus();
}

// A linear that has to be seen whole.
absl::Status TensorJobs::RunWhole(const QuantizeJob& job,
                                  SafetensorsWriter& writer,
                                  QuantizeReport& report) {
  const Source loaded(job);
  const Tensor& source = loaded.tensor;
  ZQFP_RETURN_IF_ERROR(CheckFinite(source, *pool_));
  ZQFP_RETURN_IF_ERROR(Report(job.name, 0));
  LoadRows(source);
  loaded.Drop(source);
  const QuantizedLinear linear = QuantizeLinear(
      job.scheme, {.name = job.name, .weights = floats_, .k = source.shape[1]},
      {pool_.get(), &backend_.ops, exec_});
  ZQFP_RETURN_IF_ERROR(Report(job.name, source.num_bytes));
  return WriteLinear(linear, writer, report, job.scheme);
}

// Block by block, then the scales, in the order of the job's outputs.
absl::Status TensorJobs::RunBlocks(const QuantizeJob& job,
                                   SafetensorsWriter& writer,
                                   QuantizeReport& report) {
  const Source loaded(job);
  const Tensor& source = loaded.tensor;
  const int64_t n = source.shape[0];
  const int64_t row_weights = source.shape.size() > 1 ? source.shape[1] : 1;
  const int64_t block = std::max<int64_t>(1, kBlockWeights / row_weights);
  RoundingReport rounding;
  Scales scales;
  for (int64_t row = 0; row < n; row += block) {
    const Tensor rows = Rows(source, row, std::min(block, n - row));
    if (!CheckFinite(rows, *pool_).ok()) {
      // Once more over the whole tensor, which counts elements from its start.
      return CheckFinite(source, *pool_);
    }
    ZQFP_RETURN_IF_ERROR(Encode(job, rows, writer, rounding, scales));
    // Resident memory stays at some blocks, whatever the model's size.
    loaded.Drop(rows);
    ZQFP_RETURN_IF_ERROR(Report(job.name, rows.num_bytes));
  }
  ZQFP_RETURN_IF_ERROR(writer.Append(Bytes(scales.f32)));
  ZQFP_RETURN_IF_ERROR(writer.Append(Bytes(scales.shift)));
  if (rounding.num_weights > 0) {
    report.tensors.push_back(
        {job.name, std::string(ToString(job.scheme.grid.format)), rounding});
  }
  return absl::OkStatus();
}

absl::Status TensorJobs::Run(const QuantizeJob& job, SafetensorsWriter& writer,
                             QuantizeReport& report) {
  if (job.treatment != Treatment::kQuantize) {
    return RunBlocks(job, writer, report);
  }
  if (job.calibrated_layer < 0) {
    const bool by_rows = job.scheme.lorc.rank == 0 && !job.scheme.is_dense();
    return by_rows ? RunBlocks(job, writer, report)
                   : RunWhole(job, writer, report);
  }
  if (layer_index_ != job.calibrated_layer) {
    ZQFP_ASSIGN_OR_RETURN(layer_, options_.layer(job.calibrated_layer));
    layer_index_ = job.calibrated_layer;
  }
  const auto found = layer_.find(job.name);
  if (found == layer_.end()) {
    return absl::DataLossError(fmt::format(
        "{}: want it among the finished layers, found it no more", job.name));
  }
  ZQFP_RETURN_IF_ERROR(Report(job.name, job.source->num_bytes));
  return WriteLinear(found->second, writer, report, job.scheme);
}

}  // namespace zqfp
