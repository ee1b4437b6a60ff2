// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_PERPLEXITY_REPORT_H_
#define ZQFP_TOOLS_PERPLEXITY_REPORT_H_

// What zqfp-perplexity prints: for people, and as one JSON object.

#include <string>

#include "engine/comparison.h"
#include "engine/evaluation.h"
#include "engine/tasks.h"
#include "nlohmann/json.hpp"

namespace zqfp::tools {

std::string Describe(const EvaluationResult& result);
nlohmann::ordered_json ToJson(const EvaluationResult& result);

std::string Describe(const ComparisonResult& result);
// The keys of the model's own evaluation, and those of the comparison.
nlohmann::ordered_json ToJson(const ComparisonResult& result);

std::string Describe(const TaskResult& result);
nlohmann::ordered_json ToJson(const TaskResult& result);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_PERPLEXITY_REPORT_H_
