// SPDX-License-Identifier: Apache-2.0
// The tables of zqfp-bench --gpu-tables: every one of them, on the emulator and
// on things so small that it has the time.
#include "tools/gpu_tables.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/tools/program.h"
#include "tools/gpu_bench.h"
#include "tools/gpu_matmul_tables.h"

namespace zqfp::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Config TinyConfig() {
  Config config;
  config.model_dim = 64;
  config.ffn_dim = 96;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 32;
  config.vocab_size = 100;
  config.max_positions = 64;
  config.norm_epsilon = 1e-5;
  config.rope.theta = 10000;
  config.quantization = QuantizationConfig();
  config.quantization->group_size = 32;
  return config;
}

GpuTableSizes TinySizes() {
  GpuTableSizes sizes;
  sizes.rotated_bytes = 2000;
  sizes.sample_us = 1;
  sizes.samples = 3;
  sizes.most_seconds = 1e-6;
  sizes.stream_bytes = 1 << 16;
  sizes.square = 32;
  sizes.support_size = 32;
  sizes.multiply_rounds = 1;
  sizes.matrices = {{"tiny", "qkv", 48, 64}, {"tiny", "down", 16, 192}};
  sizes.first_tokens = {1, 16};
  sizes.other_tokens = {2, 144};
  sizes.group_size = 64;
  sizes.unpacked_bytes = 16 * 64;
  sizes.sweep = {"tiny", "gate-up", 32, 128};
  sizes.sweep_groups = {32, 64};
  sizes.sweep_tokens = {1, 9};
  sizes.heads = {{"2/1", 2, 1}};
  sizes.head_dim = 32;
  sizes.page_size = 16;
  sizes.decode_batches = {1, 2};
  sizes.decode_contexts = {20};
  sizes.prefill_tokens = {40};
  sizes.model_dim = 64;
  sizes.ffn_dim = 96;
  sizes.vocab_size = 50;
  sizes.op_tokens = {1, 5};
  sizes.op_context = 40;
  sizes.models = {{"tiny", TinyConfig()}, {"tiny kept", TinyConfig(), true}};
  sizes.batches = {1, 2};
  sizes.contexts = {4};
  sizes.prompts = {6};
  sizes.decode_steps = 3;
  sizes.layer_batches = {1, 2};
  return sizes;
}

using Tables = std::map<std::string, ReportTable>;

kernels::Backend Emulated() {
  auto backend = kernels::MakeBackend("cuda_emulated");
  EXPECT_TRUE(backend.ok()) << backend.status();
  return backend.ok() ? *backend : kernels::Backend();
}

// The tables by their names.
Tables Measure(std::vector<std::string> names, double seconds,
               const GpuTableSizes& sizes, absl::Status* status,
               const kernels::Backend& backend = Emulated()) {
  Tables tables;
  *status = MeasureGpuTables(backend, {.tables = std::move(names),
                                       .seconds = seconds,
                                       .sizes = sizes,
                                       .done = [&](const ReportTable& t) {
                                         tables[t.id] = t;
                                         return absl::OkStatus();
                                       }});
  return tables;
}

// All of them, measured once for several tests.
const Tables& AllTables() {
  static const Tables& tables = *new Tables([] {
    absl::Status status;
    Tables measured = Measure(GpuTableNames(), 3600, TinySizes(), &status);
    EXPECT_TRUE(status.ok()) << status;
    return measured;
  }());
  return tables;
}

double NumberAt(const ReportTable& table, size_t row, const std::string& key) {
  const nlohmann::ordered_json json = TableJson(table);
  return json["rows"][row].value(key, std::nan(""));
}

TEST(GpuTablesTest, EveryTableHasAllItsRowsAndTheirNumbersAreNumbers) {
  const Tables& tables = AllTables();
  const std::map<std::string, size_t> wanted = {
      {"T0", 14}, {"T0b", 2}, {"T1", 3},  {"T2", 4},  {"T2b", 4}, {"T3", 8},
      {"T4", 4},  {"T5", 2},  {"T6", 40}, {"T7", 26}, {"T8", 6}};
  for (const auto& [id, num_rows] : wanted) {
    ASSERT_TRUE(tables.contains(id)) << id;
    const ReportTable& table = tables.at(id);
    EXPECT_EQ(table.rows.size(), num_rows) << TableText(table);
    EXPECT_TRUE(table.failed.empty()) << TableText(table);
    EXPECT_TRUE(table.left_out.empty()) << TableText(table);
    for (const std::vector<Cell>& row : table.rows) {
      EXPECT_EQ(row.size(), table.columns.size()) << id;
      for (size_t i = 0; i < row.size(); ++i) {
        const auto* number = std::get_if<double>(&row[i]);
        if (number == nullptr) continue;
        EXPECT_TRUE(std::isfinite(*number)) << id << table.columns[i].key;
        EXPECT_GE(*number, 0) << id << " " << table.columns[i].key;
      }
    }
  }
  EXPECT_EQ(tables.size(), wanted.size());
}

// T9: the emulator sums in f64, the kernels in f32.
TEST(GpuTablesTest, ProductsAreNearTheExactOnes) {
  for (const char* id : {"T2", "T2b", "T3"}) {
    const ReportTable& table = AllTables().at(id);
    for (size_t i = 0; i < table.rows.size(); ++i) {
      EXPECT_LT(NumberAt(table, i, "relative_error"), 1e-6) << id << i;
    }
  }
  EXPECT_THAT(TableText(AllTables().at("T2b")),
              AllOf(HasSubstr("T9 of fewer tokens than 129: "),
                    HasSubstr(", want 1e-06: met"),
                    HasSubstr("T9 of 129 tokens and more: "),
                    HasSubstr(", want 0.0005: met")));
}

// Of a layer: qkv with its norm, attention with RoPE, o, gate and up with their
// norm, the activation, down; of a step: the embedding, the head with the last
// norm.
TEST(GpuTablesTest, AStepIsTheOpsOfItsLayers) {
  const ReportTable& table = AllTables().at("T7");
  const std::string text = TableText(table);
  for (const char* op :
       {"quantize_matmul_a8 e2m1 shift qkv", "rope_store_attention",
        "quantize_matmul_a8 e2m1 shift o",
        "quantize_matmul_a8 e2m1 shift gate+up", "activate_quantize",
        " matmul_a8 e2m1 shift down", "embed", "quantize_matmul_a8 e4m3 head",
        "top_logits", "a step, recorded, overlapping"}) {
    EXPECT_THAT(text, HasSubstr(op));
  }
  double sum = 0;
  for (size_t i = 0; i < table.rows.size() / 2; ++i) {
    const double ms = NumberAt(table, i, "ms");
    if (!std::isnan(NumberAt(table, i, "calls"))) {
      sum += ms;
    } else if (std::get<std::string>(table.rows[i][1]).starts_with("sum")) {
      EXPECT_NEAR(ms, sum, 1e-9 * sum);
    }
  }
  EXPECT_GT(sum, 0);
}

TEST(GpuTablesTest, PathsThatCannotAreLeftBlank) {
  const ReportTable& table = AllTables().at("T2");
  ASSERT_EQ(table.rows.size(), 4u);
  // One token: no multiple of 16. Sixteen: both paths.
  EXPECT_TRUE(std::isnan(NumberAt(table, 0, "library_us")));
  EXPECT_GT(NumberAt(table, 1, "library_us"), 0);
  EXPECT_GT(NumberAt(table, 0, "hmma_us"), 0);
  EXPECT_TRUE(std::isnan(NumberAt(table, 0, "wgmma_us")));
  EXPECT_GT(NumberAt(table, 1, "wgmma_us"), 0);
  EXPECT_GT(NumberAt(table, 0, "fp8_us"), 0);  // padded
  EXPECT_THAT(TableText(table), HasSubstr("  -"));
}

TEST(GpuTablesTest, TheLibrarysSupportIsThatOfItsRules) {
  const ReportTable& table = AllTables().at("T0b");
  for (size_t row = 0; row < 2; ++row) {
    EXPECT_EQ(NumberAt(table, row, "tokens_16"), 1);
    EXPECT_EQ(NumberAt(table, row, "tokens_8"), 0);
    EXPECT_EQ(NumberAt(table, row, "tokens_17"), 0);
  }
}

TEST(GpuTablesTest, ATableThatIsCutSaysSo) {
  absl::Status status;
  const Tables tables = Measure({"T0", "T2"}, 0, TinySizes(), &status);
  EXPECT_TRUE(status.ok()) << status;
  const ReportTable& table = tables.at("T2");
  EXPECT_TRUE(table.rows.empty());
  EXPECT_EQ(table.left_out.size(), 4u);
  EXPECT_THAT(TableText(table),
              HasSubstr("CUT, no time for 4 of 4 rows: tiny qkv M=1"));
  EXPECT_EQ(TableJson(table)["left_out"].size(), 4u);
}

// More memory than there is: the row says why, the others are there.
TEST(GpuTablesTest, ARowThatFailsIsNamedAndTheOthersAreMeasured) {
  GpuTableSizes sizes = TinySizes();
  sizes.matrices.push_back({"huge", "o", int64_t{1} << 20, int64_t{1} << 20});
  sizes.first_tokens = {1};
  absl::Status status;
  const Tables tables = Measure({"T2"}, 3600, sizes, &status);
  const ReportTable& table = tables.at("T2");
  EXPECT_EQ(table.rows.size(), 2u);
  ASSERT_EQ(table.failed.size(), 1u);
  EXPECT_THAT(table.failed[0], HasSubstr("huge o M=1: cuda: want"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("1 rows could not be measured"));
}

TEST(GpuTablesTest, TextAndJsonHaveTheSameCells) {
  for (const char* id : {"T0", "T6"}) {
    const ReportTable& table = AllTables().at(id);
    const std::string text = TableText(table);
    const auto json = TableJson(table);
    for (const auto& row : json["rows"]) {
      for (const ReportColumn& column : table.columns) {
        if (!row.contains(column.key)) continue;
        const auto& cell = row[column.key];
        const std::string shown =
            cell.is_string()
                ? cell.get<std::string>()
                : fmt::format("{:.{}f}", cell.get<double>(), column.digits);
        EXPECT_THAT(text, HasSubstr(shown)) << id << " " << column.key;
      }
    }
  }
}

TEST(GpuTablesTest, AHostBackendIsAnError) {
  absl::Status status;
  Measure({"T0"}, 1, TinySizes(), &status, *kernels::MakeBackend("reference"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("want a GPU's backend, found reference"));
}

TEST(GpuTablesListTest, T0IsAlwaysThereAndTheOrderIsOurs) {
  EXPECT_EQ(*ParseGpuTables("all"), GpuTableNames());
  EXPECT_THAT(*ParseGpuTables("T4,T2"),
              ::testing::ElementsAre("T0", "T2", "T4"));
  EXPECT_EQ(*ParseGpuTables("T9"), *ParseGpuTables("T2"));
  const auto wrong = ParseGpuTables("T2,T10");
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("--gpu-tables: want some of T0,"));
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr("found 'T10'"));
}

TEST(GpuTablesListTest, TargetsAreThoseOfTheDesign) {
  EXPECT_EQ(MatmulTarget(1, 45e6, 0.7, 0), "of copy 0.70, want 0.65: met");
  EXPECT_EQ(MatmulTarget(1, 120e6, 0.7, 0), "of copy 0.70, want 0.80: MISSED");
  EXPECT_EQ(MatmulTarget(1, 8e6, 0.1, 0), "");
  EXPECT_EQ(MatmulTarget(64, 45e6, 0, 1.6), "x fp8 1.60, want 1.50: met");
  EXPECT_EQ(MatmulTarget(2048, 45e6, 0, 0.8), "x fp8 0.80, want 0.88: MISSED");
  EXPECT_EQ(MatmulTarget(16, 45e6, 0, 9), "");
}

TEST(GpuTablesListTest, ACellIsANumberAWordOrNothing) {
  const ReportTable table = {
      .id = "T9",
      .title = "cells",
      .columns = {{"a", "A", 1}, {"b", "B"}, {"c", "C", -1}},
      .rows = {{1.25, "word", 0.00012345}, {Cell(), "", 2.0}},
      .notes = {"a note"},
      .seconds = 1.5};
  EXPECT_EQ(TableText(table),
            "\nT9 cells (1.5 s)\n"
            "  A  B            C\n"
            "1.2  word  0.000123\n"
            "  -               2\n"
            "  a note\n");
  const nlohmann::ordered_json json = TableJson(table);
  EXPECT_EQ(json["rows"][0].dump(), R"({"a":1.25,"b":"word","c":0.00012345})");
  EXPECT_FALSE(json["rows"][1].contains("a"));
}

TEST(GpuTablesCommand, WithoutAGpuItIsOneError) {
  const zqfp::testing::Outcome outcome =
      zqfp::testing::RunProgram("zqfp-bench", "--gpu-tables");
  if (outcome.exit_code == 0) GTEST_SKIP() << "there is one";
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cuda"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  EXPECT_EQ(outcome.out, "");
}

TEST(GpuTablesCommand, WrongListsAreUsageErrorsAndHelpNamesTheTables) {
  const auto wrong =
      zqfp::testing::RunProgram("zqfp-bench", "--gpu-tables=T2,T77");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("found 'T77'"));
  const auto short_run =
      zqfp::testing::RunProgram("zqfp-bench", "--gpu-tables --seconds 0");
  EXPECT_EQ(short_run.exit_code, 2);
  EXPECT_THAT(short_run.err, HasSubstr("--seconds: want 1..86400, found 0"));
  const auto help = zqfp::testing::RunProgram("zqfp-bench", "--help");
  EXPECT_THAT(help.out, HasSubstr("--gpu_tables"));
  EXPECT_THAT(help.out, HasSubstr("T8 whole models"));
}

}  // namespace
}  // namespace zqfp::tools
