// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_ENGINE_COMPARISON_PLOT_H_
#define ZQFP_ENGINE_COMPARISON_PLOT_H_

// A comparison as a picture: divergence by position and by confidence.

#include <string>

#include "engine/comparison.h"

namespace zqfp {

// One self-contained SVG document. The names are any text.
std::string PlotComparison(const ComparisonResult& result,
                           const std::string& original_name,
                           const std::string& model_name);

}  // namespace zqfp

#endif  // ZQFP_ENGINE_COMPARISON_PLOT_H_
