// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/validate.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/core/status_macros.h"

namespace zqfp::kernels {
namespace {

// Generous bound on any dimension, so that products of two fit in int64_t.
constexpr int64_t kMaxDim = int64_t{1} << 30;

absl::Status Bad(const char* subject, const char* want, int64_t found) {
  return absl::InvalidArgumentError(
      fmt::format("{}: want {}, found {}", subject, want, found));
}

absl::Status CheckDim(const char* subject, int64_t value) {
  if (value >= 1 && value <= kMaxDim) return absl::OkStatus();
  return Bad(subject, "1 .. 2^30", value);
}

// Row counts may be zero: an empty step is a valid step.
absl::Status CheckRows(const char* subject, int64_t value) {
  if (value >= 0 && value <= kMaxDim) return absl::OkStatus();
  return Bad(subject, "0 .. 2^30", value);
}

absl::Status CheckPointer(const char* subject, const void* pointer,
                          int64_t rows = 1) {
  if (pointer != nullptr || rows == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: want a pointer, found null", subject));
}

absl::Status CheckEpsilon(const char* subject, float epsilon) {
  if (epsilon >= 0 && epsilon < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: want 0 <= epsilon < 1, found {}", subject, epsilon));
}

absl::Status CheckGroups(const WeightView& weight) {
  const int64_t g = weight.group_size;
  const bool is_e4m3_scaled = weight.format == WeightFormat::kE2m1E4m3;
  if (g != 32 && g != 64 && g != 128 && g != 256 &&
      !(is_e4m3_scaled && g == 16)) {
    return Bad("weight.group_size",
               is_e4m3_scaled ? "16, 32, 64, 128 or 256" : "32, 64, 128 or 256",
               g);
  }
  if (is_e4m3_scaled) {
    return CheckPointer("weight.scale_code", weight.scale_code);
  }
  if (weight.format == WeightFormat::kE4m3Groups) {
    ZQFP_RETURN_IF_ERROR(CheckDim("weight.scale_rows", weight.scale_rows));
    return CheckPointer("weight.group_scale", weight.group_scale);
  }
  if (weight.format == WeightFormat::kE2m1Free) {
    return CheckPointer("weight.group_scale", weight.group_scale);
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("weight.row_scale", weight.row_scale));
  return CheckPointer("weight.shift", weight.shift);
}

bool IsFloat(WeightFormat format) {
  return format == WeightFormat::kF32 || format == WeightFormat::kBf16 ||
         format == WeightFormat::kF16;
}

absl::Status CheckLorc(const WeightView& weight) {
  const LorcView& lorc = weight.lorc;
  if (lorc.rank == 0) return absl::OkStatus();
  if (IsFloat(weight.format)) {
    return Bad("weight.lorc.rank", "0 with float weights", lorc.rank);
  }
  if (lorc.rank < 0 || lorc.rank > kMaxLorcRank) {
    return absl::InvalidArgumentError(fmt::format(
        "weight.lorc.rank: want 0 .. {}, found {}", kMaxLorcRank, lorc.rank));
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("weight.lorc.u", lorc.u));
  ZQFP_RETURN_IF_ERROR(CheckPointer("weight.lorc.v", lorc.v));
  if (lorc.format == ValueFormat::kBf16) return absl::OkStatus();
  if (lorc.format != ValueFormat::kE4m3) {
    return absl::InvalidArgumentError("weight.lorc.format: want e4m3 or bf16");
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("weight.lorc.u_scale", lorc.u_scale));
  return CheckPointer("weight.lorc.v_scale", lorc.v_scale);
}

absl::Status CheckMatmulPointers(int64_t m, const float* y) {
  ZQFP_RETURN_IF_ERROR(CheckRows("m", m));
  return CheckPointer("y", y, m);
}

}  // namespace

absl::Status Validate(const WeightView& weight) {
  ZQFP_RETURN_IF_ERROR(CheckDim("weight.n", weight.n));
  ZQFP_RETURN_IF_ERROR(CheckDim("weight.k", weight.k));
  ZQFP_RETURN_IF_ERROR(CheckLorc(weight));
  // A packed weight was checked before, and has nothing else any more.
  if (weight.packed != nullptr) return absl::OkStatus();
  ZQFP_RETURN_IF_ERROR(CheckPointer("weight.data", weight.data));
  switch (weight.format) {
    case WeightFormat::kE4m3Groups:
    case WeightFormat::kE2m1Free:
    case WeightFormat::kE2m1Shift:
    case WeightFormat::kE2m1E4m3:
      return CheckGroups(weight);
    case WeightFormat::kE4m3:
      return CheckPointer("weight.row_scale", weight.row_scale);
    default:
      return absl::OkStatus();
  }
}

absl::Status Validate(const KvPagesView& pages) {
  ZQFP_RETURN_IF_ERROR(CheckDim("pages.num_pages", pages.num_pages));
  ZQFP_RETURN_IF_ERROR(CheckDim("pages.num_kv_heads", pages.num_kv_heads));
  ZQFP_RETURN_IF_ERROR(CheckDim("pages.page_size", pages.page_size));
  ZQFP_RETURN_IF_ERROR(CheckDim("pages.head_dim", pages.head_dim));
  if (pages.head_dim > kMaxHeadDim) {
    return absl::InvalidArgumentError(
        fmt::format("pages.head_dim: want at most {}, found {}", kMaxHeadDim,
                    pages.head_dim));
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("pages.k", pages.k));
  ZQFP_RETURN_IF_ERROR(CheckPointer("pages.v", pages.v));
  if (pages.format == ValueFormat::kF16) {
    return absl::InvalidArgumentError("pages.format: want f32, bf16 or e4m3");
  }
  if (pages.format != ValueFormat::kE4m3) return absl::OkStatus();
  ZQFP_RETURN_IF_ERROR(CheckPointer("pages.k_scale", pages.k_scale));
  return CheckPointer("pages.v_scale", pages.v_scale);
}

absl::Status Validate(const RaggedBatchView& batch, const KvPagesView& pages) {
  ZQFP_RETURN_IF_ERROR(Validate(pages));
  ZQFP_RETURN_IF_ERROR(CheckRows("batch.num_sequences", batch.num_sequences));
  const int64_t count = batch.num_sequences;
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("batch.token_begin", batch.token_begin, count));
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("batch.context_len", batch.context_len, count));
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("batch.page_table", batch.page_table, count));
  if (count > 0 && batch.token_begin[0] != 0) {
    return Bad("batch.token_begin[0]", "0", batch.token_begin[0]);
  }
  for (int64_t s = 0; s < count; ++s) {
    const int64_t rows =
        int64_t{batch.token_begin[s + 1]} - batch.token_begin[s];
    const int64_t context = batch.context_len[s];
    if (rows < 0) return Bad("batch.token_begin", "ascending", rows);
    if (context < rows) {
      return Bad("batch.context_len", "at least the step's rows", context);
    }
    const int64_t used = (context + pages.page_size - 1) / pages.page_size;
    if (used > batch.page_table_stride) {
      return Bad("batch.page_table_stride", "room for every page", used);
    }
    for (int64_t i = 0; i < used; ++i) {
      const int64_t page = batch.page_table[s * batch.page_table_stride + i];
      if (page < 0 || page >= pages.num_pages) {
        return Bad("batch.page_table", "a page of the cache", page);
      }
    }
  }
  RaggedBatchView measured = batch;
  measured.Measure();
  if (measured.num_tokens != batch.num_tokens ||
      measured.most_tokens != batch.most_tokens ||
      measured.longest_context != batch.longest_context) {
    return Bad("batch.num_tokens", "the sizes that Measure sets",
               batch.num_tokens);
  }
  return absl::OkStatus();
}

absl::Status Validate(const EmbedArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("embed.num_tokens", args.num_tokens));
  ZQFP_RETURN_IF_ERROR(CheckDim("embed.vocab_size", args.vocab_size));
  ZQFP_RETURN_IF_ERROR(CheckDim("embed.model_dim", args.model_dim));
  if (!std::isfinite(args.scale)) {
    return absl::InvalidArgumentError(
        fmt::format("embed.scale: want a number, found {}", args.scale));
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("embed.table", args.table));
  ZQFP_RETURN_IF_ERROR(CheckPointer("embed.id", args.id, args.num_tokens));
  ZQFP_RETURN_IF_ERROR(CheckPointer("embed.y", args.y, args.num_tokens));
  for (int64_t t = 0; t < args.num_tokens; ++t) {
    if (args.id[t] < 0 || args.id[t] >= args.vocab_size) {
      return Bad("embed.id", "an id below vocab_size", args.id[t]);
    }
  }
  return absl::OkStatus();
}

absl::Status Validate(const GatherRowsArgs& args) {
  const int64_t rows = args.num_rows;
  ZQFP_RETURN_IF_ERROR(CheckRows("gather_rows.num_rows", rows));
  ZQFP_RETURN_IF_ERROR(CheckRows("gather_rows.num_x_rows", args.num_x_rows));
  ZQFP_RETURN_IF_ERROR(CheckDim("gather_rows.dim", args.dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("gather_rows.row", args.row, rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("gather_rows.x", args.x, rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("gather_rows.y", args.y, rows));
  for (int64_t i = 0; i < rows; ++i) {
    if (args.row[i] < 0 || args.row[i] >= args.num_x_rows) {
      return Bad("gather_rows.row", "a row below num_x_rows", args.row[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status Validate(const AddPositionsArgs& args) {
  const int64_t rows = args.num_tokens;
  ZQFP_RETURN_IF_ERROR(CheckRows("add_positions.num_tokens", rows));
  ZQFP_RETURN_IF_ERROR(
      CheckDim("add_positions.num_positions", args.num_positions));
  ZQFP_RETURN_IF_ERROR(CheckDim("add_positions.model_dim", args.model_dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("add_positions.table", args.table));
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("add_positions.position", args.position, rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("add_positions.x", args.x, rows));
  for (int64_t t = 0; t < rows; ++t) {
    if (args.position[t] < 0 || args.position[t] >= args.num_positions) {
      return Bad("add_positions.position", "a position below num_positions",
                 args.position[t]);
    }
  }
  return absl::OkStatus();
}

absl::Status Validate(const RmsNormArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("rms_norm.num_rows", args.num_rows));
  ZQFP_RETURN_IF_ERROR(CheckDim("rms_norm.dim", args.dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("rms_norm.x", args.x, args.num_rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("rms_norm.weight", args.weight));
  ZQFP_RETURN_IF_ERROR(CheckPointer("rms_norm.y", args.y, args.num_rows));
  return CheckEpsilon("rms_norm.epsilon", args.epsilon);
}

absl::Status Validate(const LayerNormArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("layer_norm.num_rows", args.num_rows));
  ZQFP_RETURN_IF_ERROR(CheckDim("layer_norm.dim", args.dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("layer_norm.x", args.x, args.num_rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("layer_norm.weight", args.weight));
  ZQFP_RETURN_IF_ERROR(CheckPointer("layer_norm.bias", args.bias));
  ZQFP_RETURN_IF_ERROR(CheckPointer("layer_norm.y", args.y, args.num_rows));
  return CheckEpsilon("layer_norm.epsilon", args.epsilon);
}

absl::Status Validate(const QuantizeTokensArgs& args) {
  const int64_t rows = args.num_tokens;
  ZQFP_RETURN_IF_ERROR(CheckRows("quantize_tokens.num_tokens", rows));
  ZQFP_RETURN_IF_ERROR(CheckDim("quantize_tokens.dim", args.dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("quantize_tokens.x", args.x, rows));
  ZQFP_RETURN_IF_ERROR(CheckPointer("quantize_tokens.q", args.q, rows));
  return CheckPointer("quantize_tokens.scale", args.scale, rows);
}

absl::Status Validate(const MatmulArgs& args) {
  ZQFP_RETURN_IF_ERROR(Validate(args.weight));
  ZQFP_RETURN_IF_ERROR(CheckPointer("matmul.x", args.x, args.m));
  return CheckMatmulPointers(args.m, args.y);
}

absl::Status Validate(const MatmulA8Args& args) {
  ZQFP_RETURN_IF_ERROR(Validate(args.weight));
  if (IsFloat(args.weight.format)) {
    return absl::InvalidArgumentError(
        "matmul_a8.weight.format: want e2m1 or e4m3");
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("matmul_a8.x.data", args.x.data, args.m));
  ZQFP_RETURN_IF_ERROR(CheckPointer("matmul_a8.x.scale", args.x.scale, args.m));
  return CheckMatmulPointers(args.m, args.y);
}

absl::Status Validate(const RopeArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("rope.num_tokens", args.num_tokens));
  ZQFP_RETURN_IF_ERROR(CheckDim("rope.num_heads", args.num_heads));
  ZQFP_RETURN_IF_ERROR(CheckDim("rope.head_dim", args.head_dim));
  if (args.rotary_dim < 2 || args.rotary_dim % 2 != 0 ||
      args.rotary_dim > args.head_dim) {
    return Bad("rope.rotary_dim", "even, 2 .. head_dim", args.rotary_dim);
  }
  ZQFP_RETURN_IF_ERROR(CheckPointer("rope.cos", args.cos, args.num_tokens));
  ZQFP_RETURN_IF_ERROR(CheckPointer("rope.sin", args.sin, args.num_tokens));
  return CheckPointer("rope.x", args.x, args.num_tokens);
}

absl::Status Validate(const StoreKvArgs& args) {
  ZQFP_RETURN_IF_ERROR(Validate(args.batch, args.pages));
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("store_kv.k", args.k, args.batch.num_sequences));
  return CheckPointer("store_kv.v", args.v, args.batch.num_sequences);
}

absl::Status Validate(const AttentionArgs& args) {
  ZQFP_RETURN_IF_ERROR(Validate(args.batch, args.pages));
  ZQFP_RETURN_IF_ERROR(CheckDim("attention.num_heads", args.num_heads));
  if (args.num_heads % args.pages.num_kv_heads != 0) {
    return Bad("attention.num_heads", "a multiple of num_kv_heads",
               args.num_heads);
  }
  if (args.window < 0) return Bad("attention.window", ">= 0", args.window);
  if (!(args.scale > 0)) {
    return absl::InvalidArgumentError(
        fmt::format("attention.scale: want > 0, found {}", args.scale));
  }
  if (!(args.softcap >= 0 && std::isfinite(args.softcap))) {
    return absl::InvalidArgumentError(fmt::format(
        "attention.softcap: want 0 or more, found {}", args.softcap));
  }
  ZQFP_RETURN_IF_ERROR(
      CheckPointer("attention.q", args.q, args.batch.num_sequences));
  return CheckPointer("attention.y", args.y, args.batch.num_sequences);
}

absl::Status Validate(const ActivateArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("activate.num_tokens", args.num_tokens));
  ZQFP_RETURN_IF_ERROR(CheckDim("activate.dim", args.dim));
  ZQFP_RETURN_IF_ERROR(CheckPointer("activate.x", args.x, args.num_tokens));
  return CheckPointer("activate.y", args.y, args.num_tokens);
}

absl::Status Validate(const SoftcapArgs& args) {
  ZQFP_RETURN_IF_ERROR(CheckRows("softcap.num_rows", args.num_rows));
  ZQFP_RETURN_IF_ERROR(CheckDim("softcap.dim", args.dim));
  if (!(args.cap > 0 && std::isfinite(args.cap))) {
    return absl::InvalidArgumentError(
        fmt::format("softcap.cap: want > 0, found {}", args.cap));
  }
  return CheckPointer("softcap.x", args.x, args.num_rows);
}

}  // namespace zqfp::kernels
