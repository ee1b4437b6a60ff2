// SPDX-License-Identifier: Apache-2.0
// Speed of the matmuls at the shapes of the llama-1b preset, next to the
// machine's read bandwidth in the same run, and what a low-rank branch adds to
// them. Built where libbenchmark-dev is; not part of ctest:
//   cmake --build build --target matmul_benchmark
//   build/bin/matmul_benchmark --benchmark_filter=...     ZQFP_THREADS=2
//   ZQFP_BACKEND=...

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/core/float_formats.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/thread_pool.h"

namespace zqfp::kernels {
namespace {

// 64-byte aligned zeroes, so that kernels see what a mapped file gives them.
struct Buffer {
  explicit Buffer(int64_t bytes)
      : size(bytes),
        data(aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)),
             free) {}
  template <typename T>
  T* as() {
    return static_cast<T*>(data.get());
  }
  int64_t size;
  std::unique_ptr<void, void (*)(void*)> data;
};

// Cheap pseudo-random bytes, no e4m3 NaN among them.
void FillCodes(Buffer& buffer) {
  uint32_t state = 1;
  for (int64_t i = 0; i < buffer.size; ++i) {
    state = state * 1664525u + 1013904223u;
    buffer.as<uint8_t>()[i] = static_cast<uint8_t>((state >> 24) & 0xf7);
  }
}

// Tokens as the engine makes them: normal numbers whose largest is 448.
// Kernels on integers take longer over codes of all sizes.
void FillTokens(Buffer& buffer) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 110);
  for (int64_t i = 0; i < buffer.size; ++i) {
    buffer.as<uint8_t>()[i] =
        FloatToE4m3(std::clamp(normal(random), -448.0f, 448.0f));
  }
}

ThreadPool& Pool() {
  static ThreadPool& pool = *[] {
    const char* wanted = getenv("ZQFP_THREADS");
    return new ThreadPool(wanted != nullptr ? atoi(wanted) : PhysicalCores());
  }();
  return pool;
}

struct Shape {
  WeightFormat format;
  int64_t m, n, k, group_size;
  int64_t lorc_rank = 0;
};

// Enough copies of one weight that the caches cannot hold them all.
void RunMatmul(benchmark::State& state, Shape shape) {
  const Backend backend = *SelectBackend();
  const bool nibbles = shape.format != WeightFormat::kE4m3 &&
                       shape.format != WeightFormat::kE4m3Groups;
  const int64_t row_bytes = nibbles ? (shape.k + 1) / 2 : shape.k;
  const int64_t groups = NumGroups(shape.k, shape.group_size);
  const int64_t bytes = shape.n * row_bytes;
  const int64_t copies = shape.m > 16 ? 1 : 1 + (256 << 20) / bytes;
  Buffer weights(bytes * copies), shifts(shape.n * groups),
      x(shape.m * shape.k), y(shape.m * shape.n * 4);
  FillCodes(weights);
  FillTokens(x);
  for (int64_t i = 0; i < shifts.size; ++i) {
    shifts.as<uint8_t>()[i] = static_cast<uint8_t>(i % 15);
  }
  const std::vector<float> ones(static_cast<size_t>(shape.n * groups + shape.m),
                                0.5f);
  Buffer u(shape.lorc_rank * shape.n), v(shape.lorc_rank * shape.k);
  FillCodes(u);
  FillCodes(v);
  Buffer workspace(
      backend.WorkspaceBytes({.num_tokens = shape.m,
                              .k = shape.k,
                              .n = shape.n,
                              .lorc_rank = shape.lorc_rank,
                              .num_heads = 1,
                              .head_dim = 1,
                              .num_threads = Pool().num_threads()}));
  const Exec exec = {.parallel = Pool().parallel(),
                     .workspace = workspace.as<void>()};
  int64_t copy = 0;
  for (auto _ : state) {
    const WeightView view = {.format = shape.format,
                             .n = shape.n,
                             .k = shape.k,
                             .group_size = shape.group_size,
                             .data = weights.as<uint8_t>() + bytes * copy,
                             .row_scale = ones.data(),
                             .group_scale = ones.data(),
                             .shift = shifts.as<uint8_t>(),
                             .scale_code = shifts.as<uint8_t>(),
                             .lorc = {.rank = shape.lorc_rank,
                                      .u = u.as<void>(),
                                      .v = v.as<void>(),
                                      .u_scale = ones.data(),
                                      .v_scale = ones.data()}};
    backend.ops.matmul_a8({.m = shape.m,
                           .x = {x.as<uint8_t>(), ones.data()},
                           .weight = view,
                           .y = y.as<float>()},
                          exec);
    copy = (copy + 1) % copies;
  }
  const double scale_bytes =
      !nibbles ? 0
               : static_cast<double>(shape.n * groups) *
                     (shape.format == WeightFormat::kE2m1Free ? 4 : 1);
  using benchmark::Counter;
  state.counters["GB/s"] =
      Counter((static_cast<double>(bytes) + scale_bytes) * 1e-9,
              Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] =
      Counter(2e-9 * static_cast<double>(shape.m * shape.n * shape.k),
              Counter::kIsIterationInvariantRate);
}

// Plain reads over 256 MB: what the GEMV rates are to be compared with.
void ReadBandwidth(benchmark::State& state) {
  const int64_t count = (256 << 20) / 8;
  Buffer data(count * 8);
  for (int64_t i = 0; i < count; ++i) data.as<uint64_t>()[i] = 1;
  const Exec exec = {.parallel = Pool().parallel()};
  for (auto _ : state) {
    ParallelFor(exec, count, 1024, [&](int64_t begin, int64_t end, int) {
      uint64_t sums[8] = {};
      for (int64_t i = begin; i < end; i += 8) {
        __builtin_prefetch(data.as<uint64_t>() + i + 1536);
        for (int j = 0; j < 8; ++j) sums[j] += data.as<uint64_t>()[i + j];
      }
      for (uint64_t sum : sums) benchmark::DoNotOptimize(sum);
    });
  }
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(count) * 8e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void Register() {
  benchmark::RegisterBenchmark("read_bandwidth", ReadBandwidth)->UseRealTime();
  const auto add = [](const char* name, Shape shape) {
    const std::string title =
        fmt::format("{}/m{}/n{}/k{}/g{}/r{}", name, shape.m, shape.n, shape.k,
                    shape.group_size, shape.lorc_rank);
    benchmark::RegisterBenchmark(title.c_str(), [shape](
                                                    benchmark::State& state) {
      RunMatmul(state, shape);
    })->UseRealTime();
  };
  for (int64_t m : {1, 16, 512}) {
    for (int64_t rank : {0, 8, 16, 64}) {
      add("lorc", {WeightFormat::kE2m1Shift, m, 4096, 4096, 128, rank});
    }
  }
  for (int64_t m : {1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 512}) {
    for (int64_t group_size : {32, 128}) {
      for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
               {2048, 2048}, {256, 2048}, {5632, 2048}, {2048, 5632}}) {
        add("shift", {WeightFormat::kE2m1Shift, m, n, k, group_size});
        add("free", {WeightFormat::kE2m1Free, m, n, k, group_size});
      }
    }
    add("nvfp4", {WeightFormat::kE2m1E4m3, m, 2048, 2048, 16});
    add("blocks", {WeightFormat::kE4m3Groups, m, 2048, 2048, 128});
    add("e4m3", {WeightFormat::kE4m3, m, 32000, 2048, 2048});
  }
}

}  // namespace
}  // namespace zqfp::kernels

int main(int argc, char** argv) {
  zqfp::kernels::Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
