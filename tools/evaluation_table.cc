// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluation_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/status_macros.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"

namespace zqfp::tools {
namespace {

using nlohmann::ordered_json;

constexpr char kFormatKey[] = "zqfp_evaluation";
constexpr int64_t kFormatVersion = 1;
constexpr int64_t kMaxFileBytes = 16 << 20;
constexpr double kMaxLoss = 1e6;
constexpr double kMaxExponent = 700;  // exp of more is infinite
constexpr double kMaxSeconds = 1e9;
constexpr size_t kMaxDifferences = 6;  // that a message names

// What a row is, for readers of the file.
ordered_json Describe(const EvaluationRow& row) {
  const auto name = [](auto value) { return std::string(ToString(value)); };
  ordered_json json = {{"name", row.name},
                       {"bits", row.bits},
                       {"types", row.types},
                       {"execution", name(row.execution())}};
  if (!row.scheme) return json;
  json["weights"] = name(row.scheme->grid.format);
  json["activations"] = name(row.scheme->activations);
  if (!row.scales.empty()) json["scales"] = row.scales;
  json["method"] = name(row.scheme->method);
  json["lorc_rank"] = row.scheme->lorc.rank;
  return json;
}

ordered_json ToJson(const TextScore& score) {
  return {{"num_tokens", score.num_tokens},
          {"loss", score.loss},
          {"standard_error", score.standard_error},
          {"perplexity", score.perplexity()}};
}

absl::StatusOr<TextScore> ReadScore(const JsonReader& reader) {
  TextScore score;
  ZQFP_RETURN_IF_ERROR(
      reader.Require("num_tokens", {1, int64_t{1} << 53}, &score.num_tokens));
  score.loss = score.standard_error = -1;
  ZQFP_RETURN_IF_ERROR(reader.Read("loss", {0, kMaxLoss}, &score.loss));
  ZQFP_RETURN_IF_ERROR(
      reader.Read("standard_error", {0, kMaxLoss}, &score.standard_error));
  double perplexity = -1;
  ZQFP_RETURN_IF_ERROR(
      reader.Read("perplexity", {1, std::exp(kMaxExponent)}, &perplexity));
  if (score.loss < 0) return reader.Wrong("loss", "a number");
  if (score.standard_error < 0)
    return reader.Wrong("standard_error", "a number");
  // Another machine's exp may differ in the last bit.
  if (!(std::fabs(perplexity / score.perplexity() - 1) < 1e-9)) {
    return reader.Wrong("perplexity",
                        fmt::format("exp(loss), {}", score.perplexity()));
  }
  return score;
}

absl::StatusOr<RowScore> ReadRow(const nlohmann::json& json,
                                 const std::string& where,
                                 const std::vector<std::string>& texts,
                                 const std::vector<EvaluationRow>& rows) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want an object, found {}", where, Excerpt(json)));
  }
  const JsonReader reader(json, where);
  RowScore row;
  ZQFP_RETURN_IF_ERROR(reader.Require("name", &row.name));
  if (FindRow(rows, row.name) == nullptr) {
    return reader.Wrong("name", "a row of this table");
  }
  ZQFP_RETURN_IF_ERROR(reader.Require("kernel", &row.kernel));
  ZQFP_RETURN_IF_ERROR(reader.Read("seconds", {0, kMaxSeconds}, &row.seconds));
  ZQFP_ASSIGN_OR_RETURN(const JsonReader scores, reader.Object("texts"));
  for (const std::string& text : texts) {
    ZQFP_ASSIGN_OR_RETURN(const JsonReader score, scores.Object(text.c_str()));
    ZQFP_ASSIGN_OR_RETURN(TextScore read, ReadScore(score));
    row.scores.emplace(text, read);
  }
  ZQFP_RETURN_IF_ERROR(scores.RefuseUnknownKeys(texts));
  return row;
}

}  // namespace

const EvaluationRow* FindRow(const std::vector<EvaluationRow>& rows,
                             const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(),
                   [&](const EvaluationRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

double TextScore::perplexity() const {
  return std::exp(std::min(loss, kMaxExponent));
}

double RowScore::mean_perplexity() const {
  double sum = 0;
  for (const auto& [text, score] : scores) sum += score.perplexity();
  return scores.empty() ? 0 : sum / static_cast<double>(scores.size());
}

const RowScore* EvaluationTable::Find(const std::string& row) const {
  const auto found =
      std::find_if(rows.begin(), rows.end(),
                   [&](const RowScore& score) { return score.name == row; });
  return found == rows.end() ? nullptr : &*found;
}

std::string ToJsonText(const EvaluationTable& table,
                       const std::vector<EvaluationRow>& rows) {
  ordered_json list = ordered_json::array();
  for (const EvaluationRow& row : rows) {
    const RowScore* score = table.Find(row.name);
    if (score == nullptr) continue;
    ordered_json json = Describe(row);
    json["kernel"] = score->kernel;
    json["seconds"] = score->seconds;
    json["texts"] = ordered_json::object();
    for (const std::string& text : table.texts) {
      json["texts"][text] = ToJson(score->scores.at(text));
    }
    json["mean_perplexity"] = score->mean_perplexity();
    list.push_back(std::move(json));
  }
  const ordered_json root = {{kFormatKey, kFormatVersion},
                             {"model", table.model},
                             {"settings", table.settings},
                             {"rows", std::move(list)}};
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<EvaluationTable> ReadEvaluationTable(
    const std::string& path, const std::vector<EvaluationRow>& rows) {
  ZQFP_ASSIGN_OR_RETURN(const std::string text,
                        ReadSmallFile(path, kMaxFileBytes));
  ZQFP_ASSIGN_OR_RETURN(
      const nlohmann::json root,
      ParseJson(text.data(), text.data() + text.size(), path));
  if (!root.is_object() || !root.contains(kFormatKey)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: want results of zqfp-evaluate, found {}", path, Excerpt(root)));
  }
  const JsonReader reader(root, path);
  int64_t version = 0;
  ZQFP_RETURN_IF_ERROR(
      reader.Require(kFormatKey, {kFormatVersion, kFormatVersion}, &version));
  EvaluationTable table;
  ZQFP_RETURN_IF_ERROR(reader.Require("model", &table.model));
  ZQFP_ASSIGN_OR_RETURN(const JsonReader settings, reader.Object("settings"));
  table.settings = settings.object();
  if (settings.Has("calibration")) {
    ZQFP_RETURN_IF_ERROR(settings.Object("calibration").status());
  }
  ZQFP_ASSIGN_OR_RETURN(const JsonReader texts, settings.Object("texts"));
  for (const auto& [name, hash] : texts.object().items()) {
    table.texts.push_back(name);
  }
  const nlohmann::json* list = reader.Find("rows");
  if (list == nullptr || !list->is_array()) {
    return reader.Wrong("rows", "a list");
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string where = fmt::format("{}: rows[{}]", path, i);
    ZQFP_ASSIGN_OR_RETURN(RowScore row,
                          ReadRow((*list)[i], where, table.texts, rows));
    if (table.Find(row.name) != nullptr) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: want every row once, found {} again", where, row.name));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

absl::Status CheckSameSettings(const ordered_json& wanted,
                               const ordered_json& found) {
  ordered_json here = wanted, there = found;
  if (!here.contains("calibration") || !there.contains("calibration")) {
    here.erase("calibration");
    there.erase("calibration");
  }
  here = here.flatten();
  there = there.flatten();
  std::vector<std::string> differences;
  const auto show = [](const ordered_json& in, const std::string& key) {
    return in.contains(key) ? Excerpt(in[key]) : "nothing";
  };
  ordered_json keys = here;
  keys.update(there);
  for (const auto& [key, value] : keys.items()) {
    if (here.contains(key) && there.contains(key) && here[key] == there[key]) {
      continue;
    }
    differences.push_back(fmt::format("{} {} (in the file: {})",
                                      key.empty() ? key : key.substr(1),
                                      show(here, key), show(there, key)));
  }
  if (differences.empty()) return absl::OkStatus();
  if (differences.size() > kMaxDifferences) {
    differences.resize(kMaxDifferences);
    differences.push_back("and more");
  }
  return absl::FailedPreconditionError(fmt::format(
      "want the settings of the file, found {}", fmt::join(differences, ", ")));
}

}  // namespace zqfp::tools
