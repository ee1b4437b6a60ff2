// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_attention_tables.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/op_work.h"

namespace zqfp::tools {
namespace {

using kernels::AttentionArgs;
using kernels::DeviceMemory;
using kernels::RandomKind;
using kernels::Timing;
using kernels::ValueFormat;

using Row = std::vector<Cell>;

// Sequences side by side: `tokens` of each are new, and see `context`.
struct AttentionShape {
  HeadShape heads;
  ValueFormat format = ValueFormat::kE4m3;
  int64_t batch = 1;
  int64_t tokens = 1;
  int64_t context = 1;
};

const char* NameOf(ValueFormat format) {
  return format == ValueFormat::kE4m3 ? "e4m3" : "bf16";
}

// Of one copy of keys and values.
int64_t KvBytes(const AttentionShape& shape, int64_t head_dim) {
  return 2 * shape.batch * shape.context * shape.heads.num_kv_heads * head_dim *
         (shape.format == ValueFormat::kE4m3 ? 1 : 2);
}

// One step's arguments on the device, with copies of the pages.
class AttentionSubject {
 public:
  static absl::StatusOr<AttentionSubject> Create(GpuBench& bench,
                                                 const AttentionShape& shape,
                                                 int64_t copies) {
    AttentionSubject subject;
    subject.copies_ = copies;
    ZQFP_RETURN_IF_ERROR(subject.FillPages(bench, shape));
    ZQFP_RETURN_IF_ERROR(subject.DescribeBatch(bench, shape));
    AttentionArgs& args = subject.args_;
    args.num_heads = shape.heads.num_heads;
    const int64_t head_dim = bench.sizes().head_dim;
    args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    const int64_t count =
        shape.batch * shape.tokens * args.num_heads * head_dim;
    ZQFP_ASSIGN_OR_RETURN(subject.q_, bench.Random(RandomKind::kF32, count));
    ZQFP_ASSIGN_OR_RETURN(subject.y_, bench.device().Allocate(count * 4));
    args.q = static_cast<const float*>(subject.q_.get());
    args.y = static_cast<float*>(subject.y_.get());
    return subject;
  }

  // Each copy has its own pages.
  AttentionArgs Args(int64_t call) const {
    AttentionArgs args = args_;
    args.batch.page_table += call % copies_ * entries_;
    return args;
  }

  // With what the host can read of the batch.
  kernels::OpWork Work() const {
    AttentionArgs args = args_;
    args.batch.token_begin = token_begin_.data();
    args.batch.context_len = context_len_.data();
    return kernels::Work(args);
  }

 private:
  absl::Status FillPages(GpuBench& bench, const AttentionShape& shape) {
    const int64_t page_size = bench.sizes().page_size;
    const int64_t pages = (shape.context + page_size - 1) / page_size;
    entries_ = shape.batch * pages;
    kernels::KvPagesView& view = args_.pages;
    view = {.format = shape.format,
            .num_pages = copies_ * entries_,
            .num_kv_heads = shape.heads.num_kv_heads,
            .page_size = page_size,
            .head_dim = bench.sizes().head_dim};
    const int64_t tokens = view.num_pages * view.num_kv_heads * page_size;
    const bool scaled = shape.format == ValueFormat::kE4m3;
    const RandomKind kind =
        scaled ? RandomKind::kNormalE4m3 : RandomKind::kBf16;
    ZQFP_ASSIGN_OR_RETURN(k_, bench.Random(kind, tokens * view.head_dim));
    ZQFP_ASSIGN_OR_RETURN(v_, bench.Random(kind, tokens * view.head_dim));
    view.k = k_.get();
    view.v = v_.get();
    if (!scaled) return absl::OkStatus();
    ZQFP_ASSIGN_OR_RETURN(
        scale_, bench.Random(RandomKind::kConstant, tokens, 1.0f / 112));
    view.k_scale = view.v_scale = static_cast<float*>(scale_.get());
    return absl::OkStatus();
  }

  absl::Status DescribeBatch(GpuBench& bench, const AttentionShape& shape) {
    for (int64_t s = 0; s <= shape.batch; ++s) {
      token_begin_.push_back(static_cast<int32_t>(s * shape.tokens));
    }
    context_len_.assign(static_cast<size_t>(shape.batch),
                        static_cast<int32_t>(shape.context));
    // Neighbours in a sequence are none in memory, as after some hours.
    const int64_t num_pages = args_.pages.num_pages;
    constexpr int64_t kStride = 7919;  // a prime
    const int64_t stride = num_pages % kStride == 0 ? 1 : kStride;
    std::vector<int32_t> table;
    for (int64_t i = 0; i < num_pages; ++i) {
      table.push_back(static_cast<int32_t>(i * stride % num_pages));
    }
    const auto place = [&](const std::vector<int32_t>& values) {
      return bench.Upload(values.data(),
                          static_cast<int64_t>(values.size() * 4));
    };
    ZQFP_ASSIGN_OR_RETURN(begin_, place(token_begin_));
    ZQFP_ASSIGN_OR_RETURN(length_, place(context_len_));
    ZQFP_ASSIGN_OR_RETURN(table_, place(table));
    args_.batch = {.num_sequences = shape.batch,
                   .token_begin = token_begin_.data(),
                   .context_len = context_len_.data(),
                   .page_table_stride = entries_ / shape.batch};
    args_.batch.Measure();
    args_.batch.token_begin = static_cast<const int32_t*>(begin_.get());
    args_.batch.context_len = static_cast<const int32_t*>(length_.get());
    args_.batch.page_table = static_cast<const int32_t*>(table_.get());
    return absl::OkStatus();
  }

  AttentionArgs args_;
  int64_t copies_ = 1;
  int64_t entries_ = 0;  // of one copy's page table
  std::vector<int32_t> token_begin_, context_len_;
  DeviceMemory k_, v_, scale_, q_, y_, begin_, length_, table_;
};

struct AttentionFigures {
  Timing timing;
  kernels::OpWork work;
  int64_t splits = 0;
};

absl::StatusOr<AttentionFigures> MeasureAttention(GpuBench& bench,
                                                  const AttentionShape& shape) {
  const int64_t copies = bench.Copies(KvBytes(shape, bench.sizes().head_dim));
  ZQFP_ASSIGN_OR_RETURN(const AttentionSubject subject,
                        AttentionSubject::Create(bench, shape, copies));
  ZQFP_ASSIGN_OR_RETURN(const kernels::Exec exec,
                        bench.ExecWith(bench.backend().WorkspaceBytes(
                            {.num_tokens = shape.batch * shape.tokens,
                             .num_heads = shape.heads.num_heads,
                             .head_dim = bench.sizes().head_dim})));
  AttentionFigures found;
  found.work = subject.Work();
  found.splits = bench.lab().AttentionSplits(subject.Args(0));
  ZQFP_ASSIGN_OR_RETURN(found.timing, bench.Time(copies, [&](int64_t call) {
    bench.ops().attention(subject.Args(call), exec);
  }));
  return found;
}

absl::StatusOr<Row> DecodeRow(GpuBench& bench, const AttentionShape& shape) {
  ZQFP_ASSIGN_OR_RETURN(const AttentionFigures found,
                        MeasureAttention(bench, shape));
  const double us = found.timing.median_us;
  const auto bytes = static_cast<double>(found.work.bytes);
  const double floor_us = bench.ceilings().FloorUs(bytes, 0);
  // Where the caches hold 64 K tokens and more, design asks for this.
  const bool large = shape.batch * shape.context >= 65536;
  const double share = floor_us / us;
  return Row{
      shape.heads.name,
      NameOf(shape.format),
      static_cast<double>(shape.batch),
      static_cast<double>(shape.context),
      static_cast<double>(found.splits),
      us,
      found.timing.min_us,
      found.timing.p90_us,
      bytes / us / 1e6,
      share,
      large ? Cell(share >= 0.8 ? "0.80: met" : "0.80: MISSED") : Cell()};
}

absl::StatusOr<Row> PrefillRow(GpuBench& bench, const AttentionShape& shape) {
  ZQFP_ASSIGN_OR_RETURN(const AttentionFigures found,
                        MeasureAttention(bench, shape));
  const double us = found.timing.median_us;
  const double rate = static_cast<double>(found.work.flop) / us / 1e6;
  const double hmma = bench.ceilings().hmma_flop / 1e12;
  const double bf16 = bench.ceilings().bf16_flop / 1e12;
  return Row{shape.heads.name,
             NameOf(shape.format),
             static_cast<double>(shape.tokens),
             static_cast<double>(found.splits),
             us,
             found.timing.min_us,
             found.timing.p90_us,
             rate,
             hmma > 0 ? Cell(rate / hmma) : Cell(),
             bf16 > 0 ? Cell(rate / bf16) : Cell()};
}

}  // namespace

void MeasureDecodeAttention(GpuBench& bench, Deadline deadline,
                            ReportTable* table) {
  const GpuTableSizes& sizes = bench.sizes();
  table->title = "attention of generation";
  table->columns = {{"heads", "heads"},      {"kv", "kv"},
                    {"batch", "batch", 0},   {"context", "context", 0},
                    {"splits", "splits", 0}, {"us", "us", 1},
                    {"min_us", "min", 1},    {"p90_us", "p90", 1},
                    {"tb_per_s", "TB/s", 2}, {"floor_share", "of floor", 2},
                    {"target", "target"}};
  std::vector<RowJob> jobs;
  for (const ValueFormat format : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
    for (const HeadShape& heads : sizes.heads) {
      for (const int64_t context : sizes.decode_contexts) {
        for (const int64_t batch : sizes.decode_batches) {
          const AttentionShape shape = {.heads = heads,
                                        .format = format,
                                        .batch = batch,
                                        .context = context};
          const std::string name = fmt::format("{} {} {} x {}", heads.name,
                                               NameOf(format), batch, context);
          if (KvBytes(shape, sizes.head_dim) > sizes.most_kv_bytes) {
            table->notes.push_back(name + ": too large, not measured");
            continue;
          }
          jobs.push_back(
              {name, [&bench, shape] { return DecodeRow(bench, shape); }});
        }
      }
    }
  }
  MeasureRows(jobs, deadline, table);
}

void MeasurePrefillAttention(GpuBench& bench, Deadline deadline,
                             ReportTable* table) {
  table->title = "attention of one prompt, causal";
  table->columns = {{"heads", "heads"},
                    {"kv", "kv"},
                    {"tokens", "tokens", 0},
                    {"splits", "splits", 0},
                    {"us", "us", 1},
                    {"min_us", "min", 1},
                    {"p90_us", "p90", 1},
                    {"tflop_per_s", "TFLOP/s", 1},
                    {"hmma_share", "of hmma", 2},
                    {"bf16_share", "of bf16 gemm", 2}};
  std::vector<RowJob> jobs;
  for (const int64_t tokens : bench.sizes().prefill_tokens) {
    for (const HeadShape& heads : bench.sizes().heads) {
      for (const ValueFormat format :
           {ValueFormat::kBf16, ValueFormat::kE4m3}) {
        const AttentionShape shape = {.heads = heads,
                                      .format = format,
                                      .tokens = tokens,
                                      .context = tokens};
        jobs.push_back(
            {fmt::format("{} {} {}", heads.name, NameOf(format), tokens),
             [&bench, shape] { return PrefillRow(bench, shape); }});
      }
    }
  }
  MeasureRows(jobs, deadline, table);
  table->notes = {"expected: 300-400 TFLOP/s, as FlashAttention 2"};
}

}  // namespace zqfp::tools
