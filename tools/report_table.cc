// SPDX-License-Identifier: Apache-2.0
#include "tools/report_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace zqfp::tools {
namespace {

std::string CellText(const Cell& cell, int digits) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr) return "-";
  if (digits < 0) return fmt::format("{:.3g}", *number);
  return fmt::format("{:.{}f}", *number, digits);
}

// Columns of words begin at the left, of numbers end at the right.
bool HoldsWords(const ReportTable& table, size_t column) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const auto& row) {
                       return column < row.size() &&
                              std::holds_alternative<std::string>(row[column]);
                     });
}

std::string Padded(const std::string& text, size_t width, bool is_word) {
  return is_word ? fmt::format("{:<{}}", text, width)
                 : fmt::format("{:>{}}", text, width);
}

}  // namespace

std::string TableText(const ReportTable& table) {
  std::vector<std::vector<std::string>> lines(1);
  for (const ReportColumn& column : table.columns) {
    lines[0].push_back(column.heading);
  }
  for (const std::vector<Cell>& row : table.rows) {
    lines.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      lines.back().push_back(CellText(row[i], table.columns[i].digits));
    }
  }
  std::vector<size_t> widths(table.columns.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], line[i].size());
    }
  }
  std::string text =
      fmt::format("\n{} {} ({:.1f} s)\n", table.id, table.title, table.seconds);
  for (const auto& line : lines) {
    std::string joined;
    for (size_t i = 0; i < line.size(); ++i) {
      joined += i > 0 ? "  " : "";
      joined += Padded(line[i], widths[i], HoldsWords(table, i));
    }
    joined.erase(joined.find_last_not_of(' ') + 1);
    text += joined + "\n";
  }
  for (const std::string& note : table.notes) text += "  " + note + "\n";
  if (!table.left_out.empty()) {
    text += fmt::format(
        "  CUT, no time for {} of {} rows: {}\n", table.left_out.size(),
        table.left_out.size() + table.rows.size() + table.failed.size(),
        fmt::join(table.left_out, "; "));
  }
  for (const std::string& row : table.failed) text += "  FAILED " + row + "\n";
  return text;
}

nlohmann::ordered_json TableJson(const ReportTable& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::vector<Cell>& row : table.rows) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string& key = table.columns[i].key;
      if (const auto* text = std::get_if<std::string>(&row[i])) {
        object[key] = *text;
      } else if (const auto* number = std::get_if<double>(&row[i])) {
        object[key] = *number;
      }
    }
    rows.push_back(std::move(object));
  }
  return {{"id", table.id},
          {"title", table.title},
          {"rows", std::move(rows)},
          {"notes", table.notes},
          {"left_out", table.left_out},
          {"failed", table.failed},
          {"seconds", table.seconds}};
}

}  // namespace zqfp::tools
