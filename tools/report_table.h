// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_REPORT_TABLE_H_
#define ZQFP_TOOLS_REPORT_TABLE_H_

// ReportTable: one table, for people and for scripts. Both see the same cells.

#include <stdint.h>

#include <string>
#include <variant>
#include <vector>

#include "nlohmann/json.hpp"

namespace zqfp::tools {

// Nothing, where there is none; a number; a word.
using Cell = std::variant<std::monostate, double, std::string>;

struct ReportColumn {
  std::string key;      // in JSON: "median_us"
  std::string heading;  // for people: "us"
  int digits = 1;       // behind the point of a number; -1: three that count
};

struct ReportTable {
  std::string id;  // "T2"
  std::string title;
  std::vector<ReportColumn> columns;
  std::vector<std::vector<Cell>> rows;  // as many cells as columns, or fewer
  std::vector<std::string> notes;
  std::vector<std::string> left_out;  // rows there was no time for
  std::vector<std::string> failed;    // rows, and why
  double seconds = 0;
};

std::string TableText(const ReportTable& table);

// {"id", "title", "rows": [{key: cell}], "notes", "left_out", "failed",
// "seconds"}; a cell that holds nothing is absent.
nlohmann::ordered_json TableJson(const ReportTable& table);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_REPORT_TABLE_H_
