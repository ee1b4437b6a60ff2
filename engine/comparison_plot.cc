// SPDX-License-Identifier: Apache-2.0
#include "engine/comparison_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/utf8.h"

namespace zqfp {
namespace {

// Pixels.
constexpr double kWidth = 1000, kHeight = 470;
constexpr double kTop = 126, kBottom = 380;
constexpr double kLeft = 78, kGap = 96, kPanelWidth = 400;

// Colours that stay apart for the colour-blind and in print.
constexpr const char* kColors[] = {"#0072b2", "#009e73", "#d55e00"};
constexpr const char* kNames[] = {"mean", "median", "99 %"};
constexpr const char* kDashes[] = {"", "6 3", "2 3"};
constexpr const char* kFloorColor = "#777777";

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : ReplaceInvalidUtf8(text)) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      // XML allows no control characters.
      escaped += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return escaped;
}

struct TextStyle {
  int size = 12;
  const char* anchor = "middle";  // start, middle or end
  const char* color = "#222";
};

std::string Text(double x, double y, const std::string& text,
                 const TextStyle& style = {}) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" text-anchor=\"{}\" "
      "fill=\"{}\">{}</text>\n",
      x, y, style.size, style.anchor, style.color, Escape(text));
}

struct Point {
  double x = 0, y = 0;
};

std::string Line(Point from, Point to, const char* color,
                 const char* dashes = "", double width = 1) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" "
      "stroke=\"{}\" stroke-width=\"{}\" stroke-dasharray=\"{}\"/>\n",
      from.x, from.y, to.x, to.y, color, width, dashes);
}

// Divergences span decades: the vertical axis is logarithmic, from a power of
// ten to a power of ten, shared by both panels.
struct Decades {
  int low = -4, high = 0;

  double Place(double value) const {
    const double exponent =
        value > 0 ? std::log10(value) : static_cast<double>(low);
    const double share = (std::clamp<double>(exponent, low, high) - low) /
                         static_cast<double>(high - low);
    return kBottom - share * (kBottom - kTop);
  }
};

// The three values of a bucket, in the order of kNames.
double Value(const DivergenceBucket& bucket, size_t series) {
  return series == 0 ? bucket.mean : series == 1 ? bucket.median : bucket.p99;
}

constexpr int kMostDecades = 8;  // more would flatten what matters

Decades MakeDecades(const ComparisonResult& result) {
  double least = HUGE_VAL, most = 0;
  const auto add = [&](double value) {
    if (value > 0) least = std::min(least, value);
    most = std::max(most, value);
  };
  for (const auto* buckets : {&result.by_position, &result.by_confidence}) {
    for (const DivergenceBucket& bucket : *buckets) {
      for (size_t series = 0; series < 3; ++series) add(Value(bucket, series));
    }
  }
  if (result.noise_floor) add(result.noise_floor->divergence.mean);
  if (most <= 0) return {};
  Decades decades = {.low = static_cast<int>(std::floor(std::log10(least))),
                     .high = static_cast<int>(std::ceil(std::log10(most)))};
  decades.high = std::max(decades.high, decades.low + 1);
  decades.low = std::max(decades.low, decades.high - kMostDecades);
  return decades;
}

// One of the two charts.
struct Panel {
  double left = 0;
  std::string title, label;
  double begin = 0, end = 1;  // of the horizontal axis
  Decades decades;

  double Place(double value) const {
    return left + (value - begin) / (end - begin) * kPanelWidth;
  }
  std::string Frame(const std::vector<double>& ticks) const;
  std::string Curve(const std::vector<DivergenceBucket>& buckets,
                    size_t series) const;
  std::string Floor(const ComparisonResult& result) const;
};

std::string Panel::Frame(const std::vector<double>& ticks) const {
  std::string svg =
      Text(left + kPanelWidth / 2, kTop - 24, title, {.size = 14});
  for (int decade = decades.low; decade <= decades.high; ++decade) {
    const double y = decades.Place(std::pow(10.0, decade));
    svg += Line({left, y}, {left + kPanelWidth, y}, "#dddddd");
    svg += Text(left - 8, y + 4,
                decade >= -3 && decade <= 2
                    ? fmt::format("{:g}", std::pow(10.0, decade))
                    : fmt::format("1e{}", decade),
                {.anchor = "end"});
  }
  for (const double tick : ticks) {
    const double x = Place(tick);
    svg += Line({x, kBottom}, {x, kBottom + 5}, "#222222");
    svg += Text(x, kBottom + 20, fmt::format("{:g}", tick));
  }
  svg += Line({left, kTop}, {left, kBottom}, "#222222");
  svg += Line({left, kBottom}, {left + kPanelWidth, kBottom}, "#222222");
  svg += Text(left + kPanelWidth / 2, kBottom + 42, label, {.size = 13});
  const double x = left - 56, y = (kTop + kBottom) / 2;
  svg +=
      fmt::format("<g transform=\"rotate(-90 {0:.1f} {1:.1f})\">{2}</g>\n", x,
                  y, Text(x, y, "KL divergence, nats per token", {.size = 13}));
  return svg;
}

// A line through the buckets that hold something, with a dot in each.
std::string Panel::Curve(const std::vector<DivergenceBucket>& buckets,
                         size_t series) const {
  std::string points, dots;
  for (const DivergenceBucket& bucket : buckets) {
    if (bucket.num_tokens == 0) continue;
    const double x = Place((bucket.begin + bucket.end) / 2);
    const double y = decades.Place(Value(bucket, series));
    points += fmt::format("{:.1f},{:.1f} ", x, y);
    dots += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" "
        "fill=\"{}\"/>\n",
        x, y, kColors[series]);
  }
  return fmt::format(
             "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" "
             "stroke-width=\"1.8\" stroke-dasharray=\"{}\"/>\n",
             points, kColors[series], kDashes[series]) +
         dots;
}

std::string Panel::Floor(const ComparisonResult& result) const {
  if (!result.noise_floor) return "";
  const double y = decades.Place(result.noise_floor->divergence.mean);
  return Line({left, y}, {left + kPanelWidth, y}, kFloorColor, "8 4", 1.5);
}

// Round numbers, some seven of them, from begin to end.
std::vector<double> RoundTicks(double begin, double end) {
  const double rough = std::max(1.0, (end - begin) / 7);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (step < rough) step = factor * power;
  }
  std::vector<double> ticks;
  for (double tick = std::ceil(begin / step) * step; tick <= end;
       tick += step) {
    ticks.push_back(tick);
  }
  return ticks;
}

// What the lines are, in one row below the charts.
std::string Legend(const ComparisonResult& result) {
  const double y = kHeight - 22;
  double x = kLeft;
  std::string svg;
  const auto add = [&](const std::string& name, const char* color,
                       const char* dashes, double width) {
    svg += Line({x, y - 4}, {x + 30, y - 4}, color, dashes, 2);
    svg += Text(x + 36, y, name, {.anchor = "start"});
    x += width;
  };
  for (size_t series = 0; series < 3; ++series) {
    add(kNames[series], kColors[series], kDashes[series], 110);
  }
  if (result.noise_floor) {
    add(fmt::format("noise floor, mean {:.3g}",
                    result.noise_floor->divergence.mean),
        kFloorColor, "8 4", 0);
  }
  return svg;
}

// Two lines under the title.
std::string Summary(const ComparisonResult& r) {
  const TextStyle grey = {.color = "#555555"};
  return Text(
             kWidth / 2, 48,
             fmt::format("protocol {}, window {}, {} tokens; perplexity "
                         "{:.4f}, {:.5f} +- {:.5f} times the original's",
                         std::string(ToString(r.model.protocol)),
                         r.model.window, r.model.num_tokens, r.model.perplexity,
                         r.perplexity_ratio, r.perplexity_ratio_standard_error),
             grey) +
         Text(kWidth / 2, 66,
              fmt::format("divergence: mean {:.4g} +- {:.2g}, median {:.4g}, "
                          "99 % {:.4g}, max {:.4g}; same top token {:.2f} %",
                          r.divergence.mean, r.divergence.standard_error,
                          r.divergence.median, r.divergence.p99,
                          r.divergence.max, r.top1_agreement * 100),
              grey);
}

// The share of all tokens that each bucket holds, as small numbers above it.
std::string Shares(const Panel& panel, const ComparisonResult& result) {
  std::string svg;
  for (const DivergenceBucket& bucket : result.by_confidence) {
    const double share = static_cast<double>(bucket.num_tokens) /
                         static_cast<double>(result.model.num_tokens);
    svg += Text(panel.Place((bucket.begin + bucket.end) / 2), kTop - 6,
                fmt::format("{:.0f} %", share * 100),
                {.size = 10, .color = "#777777"});
  }
  return svg;
}

}  // namespace

std::string PlotComparison(const ComparisonResult& result,
                           const std::string& original_name,
                           const std::string& model_name) {
  const Decades decades = MakeDecades(result);
  const Panel position = {.left = kLeft,
                          .title = "by position",
                          .label = "position of the token in its window",
                          .begin = result.by_position.front().begin,
                          .end = result.by_position.back().end,
                          .decades = decades};
  const Panel confidence = {
      .left = kLeft + kPanelWidth + kGap,
      .title = "by confidence (grey: share of the tokens)",
      .label = "probability of the original's likeliest token",
      .decades = decades};
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" "
      "width=\"{0}\" height=\"{1}\" font-family=\"Helvetica, Arial, "
      "sans-serif\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += Text(kWidth / 2, 26,
              fmt::format("KL({} || {})", original_name, model_name),
              {.size = 16});
  svg += Summary(result);
  svg += position.Frame(RoundTicks(position.begin, position.end));
  svg += confidence.Frame({0, 0.2, 0.4, 0.6, 0.8, 1});
  svg += Shares(confidence, result);
  for (size_t series = 0; series < 3; ++series) {
    svg += position.Curve(result.by_position, series);
    svg += confidence.Curve(result.by_confidence, series);
  }
  svg += position.Floor(result) + confidence.Floor(result) + Legend(result);
  return svg + "</svg>\n";
}

}  // namespace zqfp
