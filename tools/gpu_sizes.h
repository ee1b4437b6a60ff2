// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_GPU_SIZES_H_
#define ZQFP_TOOLS_GPU_SIZES_H_

// How large the things are that the tables of zqfp-bench --gpu-tables measure.
// The defaults are those of a chip with 80 GB and a cache of 50 to 60 MB.

#include <stdint.h>

#include <string>
#include <vector>

#include "models/config.h"

namespace zqfp::tools {

// One matrix of a model's layer.
struct MatrixShape {
  std::string model;
  std::string part;  // "qkv", "o", "gate-up", "down"
  int64_t n = 0;
  int64_t k = 0;
};

struct HeadShape {
  std::string name;  // "32/8"
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
};

struct ModelShape {
  std::string name;
  Config config;
  bool resident_fp8 = false;  // ModelOptions
};

struct GpuTableSizes {
  // What is read comes from as many copies as fill this, so that no cache has
  // it.
  int64_t rotated_bytes = int64_t{256} << 20;
  double sample_us = 500;
  int64_t samples = 50;
  double most_seconds = 0.06;  // of one figure

  // T0
  int64_t stream_bytes = int64_t{1} << 30;
  int64_t square = 8192;
  int64_t support_size = 4096;
  int64_t multiply_rounds = 1 << 14;

  // T1, T2, T3, T9
  std::vector<MatrixShape> matrices;
  std::vector<int64_t> first_tokens = {1, 8, 64, 2048};
  std::vector<int64_t> other_tokens = {2, 4, 16, 32, 128, 256, 512};
  int64_t group_size = 128;
  int64_t unpacked_bytes = int64_t{16}
                           << 20;  // of weights that stay in a cache
  MatrixShape sweep = {"llama2-7b", "gate-up", 22016, 4096};
  std::vector<int64_t> sweep_groups = {32, 64, 128, 256};
  std::vector<int64_t> sweep_tokens = {1, 16, 256};

  // T4, T5
  std::vector<HeadShape> heads = {
      {"32/32", 32, 32}, {"32/8", 32, 8}, {"64/8", 64, 8}};
  int64_t head_dim = 128;
  int64_t page_size = 32;
  std::vector<int64_t> decode_batches = {1, 16, 64, 4};
  std::vector<int64_t> decode_contexts = {1024, 128, 4096, 16384, 512, 32768};
  int64_t most_kv_bytes = int64_t{12} << 30;
  std::vector<int64_t> prefill_tokens = {2048, 512, 8192, 16384};

  // T6
  int64_t model_dim = 4096;
  int64_t ffn_dim = 11008;
  int64_t vocab_size = 32000;
  std::vector<int64_t> op_tokens = {1, 16, 256, 4096};
  std::vector<int64_t> input_tokens = {1, 2, 4};
  int64_t op_context = 512;

  // T8
  std::vector<ModelShape> models;
  std::vector<int64_t> batches = {1, 16, 64, 4};
  std::vector<int64_t> contexts = {128, 1024};
  std::vector<int64_t> prompts = {128, 512, 2048};
  int64_t decode_steps = 24;

  // T7, of the first model and context
  std::vector<int64_t> layer_batches = {1, 16, 64};
};

// Of Llama-2-7B, Llama-3-8B, and after them Llama-2-70B and 13B; models also of
// Llama-2-7B with resident e4m3 rows, with low-rank branches, with e4m3
// weights.
GpuTableSizes FullSizes();

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_GPU_SIZES_H_
