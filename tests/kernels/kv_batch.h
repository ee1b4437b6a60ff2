// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_KV_BATCH_H_
#define ZQFP_TESTS_KERNELS_KV_BATCH_H_

// KvBatch: a ragged batch over a small paged cache, its pages in no order.

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/core/float_formats.h"
#include "tests/kernels/op_test.h"

namespace zqfp::kernels {

// One sequence of the batch: `rows` new tokens, the last of context_len.
struct Sequence {
  int32_t rows;
  int32_t context_len;
};

struct KvShape {
  ValueFormat format;
  int64_t num_kv_heads;
  int64_t page_size;
  int64_t head_dim;
};

inline std::string Name(ValueFormat format) {
  return format == ValueFormat::kF32    ? "f32"
         : format == ValueFormat::kBf16 ? "bf16"
         : format == ValueFormat::kF16  ? "f16"
                                        : "e4m3";
}

class KvBatch {
 public:
  KvBatch(std::mt19937& random, const std::vector<Sequence>& sequences,
          const KvShape& shape)
      : sequences_(sequences), shape_(shape) {
    int32_t rows = 0, num_pages = 0;
    std::vector<int32_t> begin = {0}, context;
    for (const Sequence& sequence : sequences) {
      begin.push_back(rows += sequence.rows);
      context.push_back(sequence.context_len);
      const int32_t pages = PagesOf(sequence);
      num_pages += pages;
      stride_ = std::max<int64_t>(stride_, pages + 1);
    }
    num_pages += 2;  // some belong to nobody
    std::vector<int32_t> free(static_cast<size_t>(num_pages));
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), random);
    // Unused entries of the table would be out of range if they were read.
    std::vector<int32_t> table(sequences.size() * stride_, 1 << 30);
    for (size_t s = 0; s < sequences.size(); ++s) {
      for (int32_t i = 0; i < PagesOf(sequences[s]); ++i) {
        table[s * stride_ + i] = free.back();
        free.pop_back();
      }
    }
    token_begin_ = begin;
    context_len_ = context;
    page_table_ = table;
    Allocate(num_pages);
  }

  int64_t num_tokens() const { return token_begin_[token_begin_.size() - 1]; }
  const std::vector<Sequence>& sequences() const { return sequences_; }

  RaggedBatchView batch() const {
    RaggedBatchView view = {
        .num_sequences = static_cast<int64_t>(sequences_.size()),
        .token_begin = token_begin_.data(),
        .context_len = context_len_.data(),
        .page_table = page_table_.data(),
        .page_table_stride = stride_};
    view.Measure();
    return view;
  }
  KvPagesView pages() {
    return {.format = shape_.format,
            .num_pages = num_pages_,
            .num_kv_heads = shape_.num_kv_heads,
            .page_size = shape_.page_size,
            .head_dim = shape_.head_dim,
            .k = k_.data(),
            .v = v_.data(),
            .k_scale = k_scale_.data(),
            .v_scale = v_scale_.data()};
  }

  // Row of the page arrays that holds `position` of sequence s and a KV head.
  int64_t Row(int64_t s, int64_t position, int64_t kv_head) const {
    const int64_t page = page_table_[s * stride_ + position / shape_.page_size];
    return (page * shape_.num_kv_heads + kv_head) * shape_.page_size +
           position % shape_.page_size;
  }
  double Key(int64_t row, int64_t i) const {
    return Read(k_, k_scale_, row, i);
  }
  double Value(int64_t row, int64_t i) const {
    return Read(v_, v_scale_, row, i);
  }

  // Writes a key and a value as StoreKv's card says, by definition.
  void Write(int64_t row, const float* k, const float* v) {
    WriteRow(k_, k_scale_, row, k);
    WriteRow(v_, v_scale_, row, v);
  }

  // Every position of every sequence holds random numbers.
  void FillAll(std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> k(static_cast<size_t>(shape_.head_dim)), v = k;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      for (int64_t p = 0; p < sequences_[s].context_len; ++p) {
        for (int64_t h = 0; h < shape_.num_kv_heads; ++h) {
          for (float& x : k) x = normal(random);
          for (float& x : v) x = normal(random);
          Write(Row(static_cast<int64_t>(s), p, h), k.data(), v.data());
        }
      }
    }
  }

  // The bytes of all page arrays, for comparing two caches.
  std::vector<uint8_t> Bytes() const {
    std::vector<uint8_t> bytes;
    for (const GuardedArray<uint8_t>* array : {&k_, &v_}) {
      bytes.insert(bytes.end(), array->begin(), array->end());
    }
    for (const GuardedArray<float>* array : {&k_scale_, &v_scale_}) {
      const auto* begin = reinterpret_cast<const uint8_t*>(array->begin());
      bytes.insert(bytes.end(), begin, begin + array->size() * sizeof(float));
    }
    return bytes;
  }

 private:
  int32_t PagesOf(const Sequence& sequence) const {
    const auto page_size = static_cast<int32_t>(shape_.page_size);
    return (sequence.context_len + page_size - 1) / page_size;
  }
  // Slots that nobody wrote hold NaNs (0xff.. is one in every format): reading
  // beyond a sequence's end poisons the result.
  void Allocate(int64_t num_pages) {
    num_pages_ = num_pages;
    const int64_t rows = num_pages * shape_.num_kv_heads * shape_.page_size;
    const int64_t bytes = rows * shape_.head_dim * ValueBytes(shape_.format);
    k_ = GuardedArray<uint8_t>(bytes, 0xff);
    v_ = GuardedArray<uint8_t>(bytes, 0xff);
    const bool scaled = shape_.format == ValueFormat::kE4m3;
    k_scale_ = GuardedArray<float>(scaled ? rows : 0, kNan);
    v_scale_ = GuardedArray<float>(scaled ? rows : 0, kNan);
  }
  double Read(const GuardedArray<uint8_t>& data,
              const GuardedArray<float>& scale, int64_t row, int64_t i) const {
    const int64_t at = row * shape_.head_dim + i;
    if (shape_.format == ValueFormat::kF32) {
      return reinterpret_cast<const float*>(data.data())[at];
    }
    if (shape_.format == ValueFormat::kBf16) {
      return Bf16ToFloat(reinterpret_cast<const uint16_t*>(data.data())[at]);
    }
    return double{scale[row]} * E4m3ToFloat(data[at]);
  }
  void WriteRow(GuardedArray<uint8_t>& data, GuardedArray<float>& scale,
                int64_t row, const float* x) {
    float amax = 0;
    bool finite = true;
    for (int64_t i = 0; i < shape_.head_dim; ++i) {
      finite = finite && std::isfinite(x[i]);
      amax = std::max(amax, std::fabs(x[i]));
    }
    float step = amax / kE4m3Max;
    if (step == 0) step = 1;
    if (!finite) step = kNan;
    if (shape_.format == ValueFormat::kE4m3) scale[row] = step;
    for (int64_t i = 0; i < shape_.head_dim; ++i) {
      const int64_t at = row * shape_.head_dim + i;
      if (shape_.format == ValueFormat::kF32) {
        reinterpret_cast<float*>(data.data())[at] = x[i];
      } else if (shape_.format == ValueFormat::kBf16) {
        reinterpret_cast<uint16_t*>(data.data())[at] = FloatToBf16(x[i]);
      } else {
        data[at] = FloatToE4m3(x[i] / step);
      }
    }
  }

  std::vector<Sequence> sequences_;
  KvShape shape_;
  int64_t stride_ = 0;
  int64_t num_pages_ = 0;
  GuardedArray<int32_t> token_begin_, context_len_, page_table_;
  GuardedArray<uint8_t> k_, v_;
  GuardedArray<float> k_scale_, v_scale_;
};

inline constexpr ValueFormat kKvFormats[] = {
    ValueFormat::kF32, ValueFormat::kBf16, ValueFormat::kE4m3};

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_KV_BATCH_H_
