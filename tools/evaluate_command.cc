// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluate_command.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "kernels/core/status_macros.h"
#include "tools/command_line.h"
#include "tools/evaluate_flags.h"
#include "tools/evaluation_report.h"
#include "tools/evaluation_table.h"
#include "tools/output_file.h"
#include "tools/print.h"
#include "tools/progress_bar.h"
#include "tools/row_runner.h"
#include "tools/terminal.h"

namespace zqfp::tools {
namespace {

ToolInfo Info() {
  return {
      .name = "zqfp-evaluate",
      .summary =
          "the table of the ZeroQuant-FP paper for a model in full precision: "
          "perplexity in "
          "W16A16, and in W8A8 and W4A8 with integer and floating-point "
          "weights and activations, by rounding to nearest and GPTQ, with and "
          "without low-rank compensation. An interrupted run goes on with the "
          "same command",
      .synopsis =
          "zqfp-evaluate --model DIR --text [NAME=]FILE --output FILE.json "
          "[--calibration FILE | --methods rtn]",
      .groups = EvaluateFlagGroups(),
      .examples =
          "  zqfp-evaluate --model opt-1.3b --output opt.json --group_size "
          "256 \\\n"
          "      --text wikitext2=wiki.test.raw --text ptb=ptb.valid.txt "
          "--text c4=c4.jsonl \\\n"
          "      --calibration c4-train.jsonl\n"
          "  zqfp-evaluate --model opt-1.3b --output opt.json --text "
          "wiki.test.raw --methods rtn \\\n"
          "      --rows 'w16a16|w4a8-fp-fp'\n",
      .repeatable = {"text", "methods"}};
}

// What an earlier run of the same job has measured, or nothing.
absl::StatusOr<EvaluationTable> StartTable(const EvaluateJob& job) {
  EvaluationTable table;
  std::error_code error;
  if (job.if_exists == IfExists::kRefuse &&
      std::filesystem::exists(job.output, error)) {
    const auto hint = [](const absl::Status& status) {
      return absl::Status(status.code(), std::string(status.message()) +
                                             "; --overwrite begins anew");
    };
    auto found = ReadEvaluationTable(job.output, job.rows);
    if (!found.ok()) return hint(found.status());
    const absl::Status same = CheckSameSettings(job.settings, found->settings);
    if (!same.ok()) return hint(Prefix(job.output + ": ", same));
    table = *std::move(found);
  }
  nlohmann::ordered_json settings = job.settings;
  if (!settings.contains("calibration") &&
      table.settings.contains("calibration")) {
    settings["calibration"] = table.settings["calibration"];
  }
  table.settings = std::move(settings);
  table.model = job.model_name;
  table.texts.clear();
  for (const EvaluationText& text : job.texts) table.texts.push_back(text.name);
  return table;
}

// How many of the rows wanted are measured.
int64_t NumDone(const EvaluateJob& job, const EvaluationTable& table) {
  return std::count_if(job.wanted.begin(), job.wanted.end(),
                       [&](const EvaluationRow& row) {
                         return table.Find(row.name) != nullptr;
                       });
}

// One line on stderr for each row.
void PrintRow(const EvaluateJob& job, const EvaluationTable& table,
              const RowScore& score) {
  std::string figures;
  for (const std::string& text : table.texts) {
    figures +=
        fmt::format(" {} {:.4f}", text, score.scores.at(text).perplexity());
  }
  Print(stderr, "[{}/{}] {}:{}; {:.1f} s, {} left\n", NumDone(job, table),
        job.wanted.size(), score.name, figures, score.seconds,
        TimeText(SecondsLeft(table, job.wanted)));
}

// Measures the rows that are missing; the file has every finished one.
absl::Status FillTable(const EvaluateJob& job, const WorkDirectory& work,
                       EvaluationTable* table) {
  for (const EvaluationRow& row : job.wanted) {
    if (table->Find(row.name) != nullptr) continue;
    ProgressBar bar;
    const RowRunnerArgs args = {
        .quantize = job.quantize,
        .model = job.model,
        .evaluation = job.evaluation,
        .tokenizer = job.tokenizer.get(),
        .texts = &job.texts,
        .work = &work,
        .progress = [&](double share, const std::string& note) {
          bar.Update(static_cast<int64_t>(share * 1e6), 1'000'000,
                     row.name + ": " + note);
          return Interrupted() ? absl::CancelledError("interrupted")
                               : absl::OkStatus();
        }};
    ZQFP_ASSIGN_OR_RETURN(RowScore score, RunRow(row, args));
    table->rows.push_back(std::move(score));
    ZQFP_RETURN_IF_ERROR(
        WriteOutputFile(job.output, ToJsonText(*table, job.rows)));
    bar.Clear();
    PrintRow(job, *table, table->rows.back());
  }
  return absl::OkStatus();
}

absl::Status Evaluate() {
  ZQFP_ASSIGN_OR_RETURN(const EvaluateJob job, EvaluateJobFromFlags());
  // A file-size limit is then a write error like a full disk, not a signal.
  signal(SIGXFSZ, SIG_IGN);
  CatchInterrupt();
  // Where there is a table, models are of its settings: StartTable refuses one
  // of others.
  std::error_code error;
  const bool has_table = std::filesystem::exists(job.output, error);
  const auto remains = job.if_exists == IfExists::kReplace
                           ? WorkDirectory::Remains::kNothing
                       : has_table ? WorkDirectory::Remains::kLayersAndModels
                                   : WorkDirectory::Remains::kLayers;
  ZQFP_ASSIGN_OR_RETURN(
      const std::unique_ptr<WorkDirectory> work,
      WorkDirectory::Open(job.work_directory, job.rows, remains));
  ZQFP_ASSIGN_OR_RETURN(EvaluationTable table, StartTable(job));
  const int64_t num_found = NumDone(job, table);
  if (num_found > 0) {
    Print(stderr, "{} of {} rows are in {} already\n", num_found,
          job.wanted.size(), job.output);
  }
  ZQFP_RETURN_IF_ERROR(
      WriteOutputFile(job.output, ToJsonText(table, job.rows)));
  const absl::Status filled = FillTable(job, *work, &table);
  if (!filled.ok()) {
    Print(stderr,
          "{} of {} rows are in {}; the same command goes on with them, "
          "--rows leaves some out\n",
          NumDone(job, table), job.wanted.size(), job.output);
    return filled;
  }
  const std::string markdown = ToMarkdown(table, job.rows);
  Print("{}", WithoutControls(markdown));  // an earlier run wrote settings
  if (job.markdown.empty()) return absl::OkStatus();
  return WriteOutputFile(job.markdown, markdown);
}

}  // namespace

int RunEvaluate(int argc, char** argv) {
  return RunTool(argc, argv, Info(), Evaluate);
}

}  // namespace zqfp::tools
