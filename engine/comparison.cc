// SPDX-License-Identifier: Apache-2.0
#include "engine/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/engine.h"
#include "engine/statistics.h"
#include "engine/window_runner.h"
#include "kernels/core/parallel.h"
#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr int64_t kMaxPositionBuckets = 64;
constexpr int64_t kConfidenceBuckets = 10;

absl::Status CheckAlike(const ComparisonArgs& args) {
  const std::string& hash = args.original.tokenizer->hash();
  const std::string& model_hash = args.model.tokenizer->hash();
  if (hash != model_hash) {
    return absl::InvalidArgumentError(
        fmt::format("tokenizer: want the same in both models, found hash {} "
                    "in the original and {} in the model",
                    hash, model_hash));
  }
  const int64_t vocab_size = args.original.model->config().vocab_size;
  const int64_t model_vocab_size = args.model.model->config().vocab_size;
  if (vocab_size != model_vocab_size) {
    return absl::InvalidArgumentError(
        fmt::format("vocab_size: want the same in both models, found {} in "
                    "the original and {} in the model",
                    vocab_size, model_vocab_size));
  }
  if (args.rounded_original != nullptr &&
      args.rounded_original->config().vocab_size != vocab_size) {
    return absl::InvalidArgumentError(
        "noise floor: want the original itself, found another model");
  }
  if (args.noise_floor_stride < 1) {
    return absl::InvalidArgumentError(
        fmt::format("noise_floor_stride: want 1 or more windows, found {}",
                    args.noise_floor_stride));
  }
  return absl::OkStatus();
}

// Scored predictions of two models, and where each stands in its window.
struct Pairs {
  std::vector<PredictionPair> pairs;
  std::vector<int64_t> positions;  // of the predicted token
};

absl::Status CheckFinitePair(const PredictionPair& pair, int64_t position) {
  absl::Status status =
      CheckFinite(pair.original.loss, "loss of the original", position);
  status.Update(CheckFinite(pair.model.loss, "loss of the model", position));
  status.Update(CheckFinite(pair.divergence, "divergence", position));
  return status;
}

// Two or three models that run the same windows step by step.
class SideBySide {
 public:
  static absl::StatusOr<SideBySide> Create(const ComparisonArgs& args,
                                           const EvaluationOptions& options) {
    SideBySide self;
    const auto add = [&](Model* model) -> absl::Status {
      ZQFP_ASSIGN_OR_RETURN(
          WindowRunner runner,
          WindowRunner::Create(model,
                               ResolveKvFormat(options.kv_format, *model),
                               options.window));
      self.runners_.push_back(std::move(runner));
      return absl::OkStatus();
    };
    ZQFP_RETURN_IF_ERROR(add(args.original.model));
    ZQFP_RETURN_IF_ERROR(add(args.model.model));
    if (args.rounded_original != nullptr) {
      ZQFP_RETURN_IF_ERROR(add(args.rounded_original));
    }
    return self;
  }

  // Appends the pairs (original, model); with `floor`, also (original, rounded
  // original) to that.
  absl::Status Run(const Window& window, absl::Span<const int32_t> ids,
                   Pairs* pairs, Pairs* floor) {
    const int64_t num_inputs = static_cast<int64_t>(ids.size()) - 1;
    for (const StepRange& step : Steps(num_inputs, window.first_scored)) {
      ZQFP_ASSIGN_OR_RETURN(const auto original, runners_[0].Step(ids, step));
      ZQFP_ASSIGN_OR_RETURN(const auto model, runners_[1].Step(ids, step));
      ZQFP_RETURN_IF_ERROR(Score(ids, step, original, model, pairs));
      if (floor == nullptr) continue;
      ZQFP_ASSIGN_OR_RETURN(const auto rounded, runners_[2].Step(ids, step));
      ZQFP_RETURN_IF_ERROR(Score(ids, step, original, rounded, floor));
    }
    return absl::OkStatus();
  }

 private:
  // Steps that every model can take.
  std::vector<StepRange> Steps(int64_t num_inputs, int64_t first_scored) const {
    std::vector<StepRange> smallest;
    for (const WindowRunner& runner : runners_) {
      std::vector<StepRange> own = runner.Steps(num_inputs, 0, first_scored);
      if (own.size() > smallest.size()) smallest = std::move(own);
    }
    return smallest;
  }

  absl::Status Score(absl::Span<const int32_t> ids, const StepRange& step,
                     absl::Span<const float> original,
                     absl::Span<const float> model, Pairs* out) {
    const int64_t vocab_size = runners_[0].model().config().vocab_size;
    const int64_t num_rows = step.num_rows();
    const int64_t first = step.end - num_rows;
    const size_t before = out->pairs.size();
    out->pairs.resize(before + static_cast<size_t>(num_rows));
    const auto row_of = [&](absl::Span<const float> logits, int64_t row) {
      return logits.subspan(static_cast<size_t>(row * vocab_size),
                            static_cast<size_t>(vocab_size));
    };
    kernels::ParallelFor(
        {.parallel = runners_[0].model().pool().parallel()}, num_rows,
        kernels::GrainFor(vocab_size), [&](int64_t row, int64_t end, int) {
          for (; row < end; ++row) {
            out->pairs[before + static_cast<size_t>(row)] =
                PredictPair(row_of(original, row), row_of(model, row),
                            ids[static_cast<size_t>(first + row + 1)]);
          }
        });
    for (int64_t row = 0; row < num_rows; ++row) {
      ZQFP_RETURN_IF_ERROR(CheckFinitePair(
          out->pairs[before + static_cast<size_t>(row)], first + row));
      out->positions.push_back(first + row + 1);
    }
    return absl::OkStatus();
  }

  std::vector<WindowRunner> runners_;  // original, model, rounded original
};

template <typename Get>
std::vector<double> Collect(const Pairs& pairs, const Get& get) {
  std::vector<double> values;
  values.reserve(pairs.pairs.size());
  for (const PredictionPair& pair : pairs.pairs) values.push_back(get(pair));
  return values;
}

double Divergence(const PredictionPair& pair) { return pair.divergence; }

double Agreement(const PredictionPair& pair) {
  return pair.original.top_id == pair.model.top_id ? 1 : 0;
}

// One bucket for each of `num_buckets` equal parts of [0, end).
std::vector<DivergenceBucket> Bucket(const Pairs& pairs, double end,
                                     int64_t num_buckets,
                                     const std::vector<double>& places) {
  const double width = end / static_cast<double>(num_buckets);
  std::vector<std::vector<double>> values(static_cast<size_t>(num_buckets));
  for (size_t i = 0; i < places.size(); ++i) {
    const int64_t bucket = static_cast<int64_t>(places[i] / width);
    values[static_cast<size_t>(std::clamp<int64_t>(bucket, 0, num_buckets - 1))]
        .push_back(pairs.pairs[i].divergence);
  }
  std::vector<DivergenceBucket> buckets;
  for (int64_t i = 0; i < num_buckets; ++i) {
    std::vector<double>& own = values[static_cast<size_t>(i)];
    const int64_t count = static_cast<int64_t>(own.size());
    const Spread spread = MeasureSpread(std::move(own));
    buckets.push_back({.begin = static_cast<double>(i) * width,
                       .end = static_cast<double>(i + 1) * width,
                       .num_tokens = count,
                       .mean = spread.mean,
                       .median = spread.median,
                       .p99 = spread.p99});
  }
  return buckets;
}

void FillBuckets(const Pairs& pairs, int64_t window, ComparisonResult* result) {
  // Positions 1 .. window; whole positions to a bucket.
  const int64_t width =
      (window + kMaxPositionBuckets - 1) / kMaxPositionBuckets;
  const int64_t num_buckets = (window + width - 1) / width;
  std::vector<double> places;
  for (const int64_t position : pairs.positions) {
    places.push_back(static_cast<double>(position - 1));
  }
  result->by_position = Bucket(pairs, static_cast<double>(num_buckets * width),
                               num_buckets, places);
  for (DivergenceBucket& bucket : result->by_position) {
    bucket.begin += 1;
    bucket.end = std::min(bucket.end, static_cast<double>(window)) + 1;
  }
  result->by_confidence = Bucket(pairs, 1, kConfidenceBuckets,
                                 Collect(pairs, [](const PredictionPair& pair) {
                                   return pair.original.top_probability;
                                 }));
}

void FillRatio(const Pairs& pairs, ComparisonResult* result) {
  const std::vector<double> differences =
      Collect(pairs, [](const PredictionPair& pair) {
        return pair.model.loss - pair.original.loss;
      });
  result->ln_perplexity_ratio = Mean(differences);
  result->ln_perplexity_ratio_standard_error = StandardError(differences);
  result->perplexity_ratio = std::exp(result->ln_perplexity_ratio);
  result->perplexity_ratio_standard_error =
      result->perplexity_ratio * result->ln_perplexity_ratio_standard_error;
}

NoiseFloor MeasureFloor(const Pairs& pairs) {
  return {.num_tokens = static_cast<int64_t>(pairs.pairs.size()),
          .divergence = MeasureSpread(Collect(pairs, Divergence)),
          .top1_agreement = Mean(Collect(pairs, Agreement))};
}

}  // namespace

Spread MeasureSpread(std::vector<double> values) {
  if (values.empty()) return {};
  Spread spread = {.mean = Mean(values),
                   .standard_error = StandardError(values)};
  double squares = 0;
  for (const double value : values) squares += value * value;
  spread.rms = std::sqrt(squares / static_cast<double>(values.size()));
  std::sort(values.begin(), values.end());
  spread.min = values.front();
  spread.p01 = Quantile(values, 0.01);
  spread.p05 = Quantile(values, 0.05);
  spread.p25 = Quantile(values, 0.25);
  spread.median = Quantile(values, 0.5);
  spread.p75 = Quantile(values, 0.75);
  spread.p95 = Quantile(values, 0.95);
  spread.p99 = Quantile(values, 0.99);
  spread.p999 = Quantile(values, 0.999);
  spread.max = values.back();
  return spread;
}

absl::StatusOr<ComparisonResult> Compare(const ComparisonArgs& args,
                                         const Corpus& corpus,
                                         const EvaluationOptions& options) {
  ZQFP_RETURN_IF_ERROR(CheckAlike(args));
  Config config = args.original.model->config();
  config.max_positions =
      std::min(config.max_positions, args.model.model->config().max_positions);
  ZQFP_ASSIGN_OR_RETURN(
      const EvaluationPlan plan,
      PlanEvaluation(config, *args.original.tokenizer, corpus, options));
  ZQFP_ASSIGN_OR_RETURN(SideBySide models,
                        SideBySide::Create(args, plan.options));
  Pairs pairs, floor;
  int64_t window_index = 0;
  ZQFP_RETURN_IF_ERROR(ForEachWindow(plan, [&](const Window& window,
                                               absl::Span<const int32_t> ids) {
    const bool measures_floor = args.rounded_original != nullptr &&
                                window_index++ % args.noise_floor_stride == 0;
    return models.Run(window, ids, &pairs, measures_floor ? &floor : nullptr);
  }));
  const auto summarise = [&](Model* model, const std::vector<double>& losses) {
    return Summarise(plan, corpus, ResolveKvFormat(options.kv_format, *model),
                     losses);
  };
  ComparisonResult result;
  result.original = summarise(
      args.original.model,
      Collect(pairs, [](const auto& pair) { return pair.original.loss; }));
  result.model = summarise(
      args.model.model,
      Collect(pairs, [](const auto& pair) { return pair.model.loss; }));
  result.divergence = MeasureSpread(Collect(pairs, Divergence));
  const std::vector<double> agreements = Collect(pairs, Agreement);
  result.top1_agreement = Mean(agreements);
  result.top1_agreement_standard_error = StandardError(agreements);
  result.delta_p = MeasureSpread(Collect(pairs, [](const auto& pair) {
    return std::exp(-pair.model.loss) - std::exp(-pair.original.loss);
  }));
  FillRatio(pairs, &result);
  FillBuckets(pairs, plan.options.window, &result);
  if (args.rounded_original != nullptr) {
    result.noise_floor = MeasureFloor(floor);
  }
  return result;
}

}  // namespace zqfp
