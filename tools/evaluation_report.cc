// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluation_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <map>
#include <set>

#include "models/json_reader.h"
#include "tools/terminal.h"

namespace zqfp::tools {
namespace {

using nlohmann::ordered_json;

// "stories 6144" of each text.
std::string TokenCounts(const EvaluationTable& table) {
  std::vector<std::string> counts;
  for (const std::string& name : table.texts) {
    if (table.rows.empty()) break;
    const auto& scores = table.rows.front().scores;
    counts.push_back(fmt::format("{} {}", name, scores.at(name).num_tokens));
  }
  return fmt::format("{}", fmt::join(counts, ", "));
}

// The settings that are set, but hashes, in one line.
std::string SettingsLine(const ordered_json& settings, const char* separator) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : settings.items()) {
    if (key == "texts" || key.ends_with("_hash") || value == "" || value == 0) {
      continue;
    }
    if (value.is_object()) {
      parts.push_back(fmt::format("{} ({})", key, SettingsLine(value, ", ")));
      continue;
    }
    // What a user wrote may hold anything.
    const bool is_free = key == "split" || key == "keep";
    parts.push_back(fmt::format("{} {}", key,
                                value.is_string() && !is_free
                                    ? value.get<std::string>()
                                    : Excerpt(value)));
  }
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  return upper;
}

// The cells before the figures.
std::vector<std::string> Labels(const EvaluationRow& row) {
  return {row.bits, row.types, row.scales,
          row.scheme ? Upper(ToString(row.scheme->method)) : "",
          row.has_lorc() ? fmt::format("{}", row.scheme->lorc.rank) : ""};
}

std::string MarkdownRow(const EvaluationTable& table, const EvaluationRow& row,
                        const RowScore& score) {
  std::vector<std::string> cells = Labels(row);
  for (const std::string& text : table.texts) {
    cells.push_back(fmt::format("{:.4f}", score.scores.at(text).perplexity()));
  }
  if (table.texts.size() > 1) {
    cells.push_back(fmt::format("{:.4f}", score.mean_perplexity()));
  }
  const RowScore* original = table.Find("w16a16");
  cells.push_back(
      original == nullptr || !row.scheme
          ? ""
          : fmt::format("{:+.4f}",
                        score.mean_perplexity() - original->mean_perplexity()));
  cells.push_back(std::string(ToString(row.execution())));
  return fmt::format("| {} |\n", fmt::join(cells, " | "));
}

// What the words of the last column mean, with the kernels that ran.
std::string Notes(const EvaluationTable& table,
                  const std::vector<EvaluationRow>& rows) {
  std::map<Execution, std::set<std::string>> kernels;
  for (const RowScore& score : table.rows) {
    kernels[FindRow(rows, score.name)->execution()].insert(score.kernel);
  }
  std::string text;
  const auto note = [&](Execution execution, const char* meaning) {
    if (kernels.count(execution) == 0) return;
    text += fmt::format("* {}: {} Kernel of the linears: {}.\n",
                        std::string(ToString(execution)), meaning,
                        WithoutControls(fmt::format(
                            "{}", fmt::join(kernels[execution], ", "))));
  };
  note(Execution::kAsStored,
       "weights as the model's file has them, inputs in f32.");
  note(Execution::kNative,
       "weights as stored in E2M1 (groups) or E4M3 (one scale per row), inputs "
       "in E4M3 (one scale per token), low-rank branch computed beside.");
  note(Execution::kSimulated,
       "integer weights (asymmetric, groups) rounded and held in f32, the "
       "low-rank product added to them; inputs rounded to INT8 (asymmetric, "
       "per token) or E4M3 (one scale per token) and back, computed in f32.");
  if (const RowScore* original = table.Find("w16a16")) {
    std::vector<std::string> errors;
    for (const std::string& name : table.texts) {
      const TextScore& score = original->scores.at(name);
      errors.push_back(fmt::format("{} {:.4f}", name,
                                   score.perplexity() * score.standard_error));
    }
    text += fmt::format(
        "* Standard error of W16A16: {}. All rows see the same tokens, so "
        "their differences are surer than that.\n",
        fmt::join(errors, ", "));
  }
  return text;
}

}  // namespace

std::string ToMarkdown(const EvaluationTable& table,
                       const std::vector<EvaluationRow>& rows) {
  std::string text = fmt::format("Perplexity of {} (tokens: {})\n\n",
                                 table.model, TokenCounts(table));
  text += SettingsLine(table.settings, "; ") + "\n\n";
  std::vector<std::string> heads = {"bits", "weights-activations", "scales",
                                    "method", "LoRC rank"};
  std::vector<std::string> lines(heads.size(), "---");
  for (const std::string& name : table.texts) heads.push_back(name);
  if (table.texts.size() > 1) heads.push_back("mean");
  heads.push_back("to W16A16");
  lines.resize(heads.size(), "---:");
  heads.push_back("runs");
  lines.push_back("---");
  text += fmt::format("| {} |\n|{}|\n", fmt::join(heads, " | "),
                      fmt::join(lines, "|"));
  for (const EvaluationRow& row : rows) {
    const RowScore* score = table.Find(row.name);
    if (score != nullptr) text += MarkdownRow(table, row, *score);
  }
  return text + "\n" + Notes(table, rows);
}

double SecondsLeft(const EvaluationTable& table,
                   const std::vector<EvaluationRow>& wanted) {
  // By what a row costs: nothing, a method, a method with compensation.
  const auto kind = [](const EvaluationRow& row) {
    return row.scheme ? fmt::format("{} {}", ToString(row.scheme->method),
                                    row.has_lorc())
                      : "";
  };
  struct Times {
    double seconds = 0;
    double count = 0;
  };
  std::map<std::string, Times> times;
  Times all;
  for (const EvaluationRow& row : wanted) {
    const RowScore* score = table.Find(row.name);
    if (score == nullptr) continue;
    for (Times* sum : {&times[kind(row)], &all}) {
      sum->seconds += score->seconds;
      sum->count += 1;
    }
  }
  double left = 0;
  for (const EvaluationRow& row : wanted) {
    if (table.Find(row.name) != nullptr || all.count == 0) continue;
    const Times& like = times[kind(row)].count > 0 ? times[kind(row)] : all;
    left += like.seconds / like.count;
  }
  return left;
}

}  // namespace zqfp::tools
