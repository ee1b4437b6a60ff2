// SPDX-License-Identifier: Apache-2.0
#include "tools/perplexity_report.h"

#include <fmt/format.h>

#include "tools/kv_flag.h"

namespace zqfp::tools {
namespace {

constexpr double kPercent = 100;

// What was run, in one or two lines.
std::string DescribeRun(const EvaluationResult& result) {
  std::string text = fmt::format(
      "protocol {}, window {}{}, {} tokens scored in {} windows\n",
      std::string(ToString(result.protocol)), result.window,
      result.stride > 0 ? fmt::format(", stride {}", result.stride) : "",
      result.num_tokens, result.num_windows);
  if (result.num_documents > 1 || result.num_dropped_documents > 0) {
    text += fmt::format("documents {} ({} too short, left out)\n",
                        result.num_documents, result.num_dropped_documents);
  }
  return text;
}

std::string DescribeFloor(const std::optional<NoiseFloor>& floor) {
  if (!floor) return "";
  return fmt::format(
      "noise floor (the original, linear inputs rounded to bf16, {} tokens)\n"
      "  mean {:.3g} +- {:.1g}, median {:.3g}, 99 % {:.3g}, same top token "
      "{:.3f} %\n",
      floor->num_tokens, floor->divergence.mean,
      floor->divergence.standard_error, floor->divergence.median,
      floor->divergence.p99, floor->top1_agreement * kPercent);
}

nlohmann::ordered_json ToJson(const std::vector<DivergenceBucket>& buckets) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const DivergenceBucket& bucket : buckets) {
    list.push_back({{"begin", bucket.begin},
                    {"end", bucket.end},
                    {"num_tokens", bucket.num_tokens},
                    {"mean", bucket.mean},
                    {"median", bucket.median},
                    {"p99", bucket.p99}});
  }
  return list;
}

void AddDeltaP(const Spread& delta_p, nlohmann::ordered_json* json) {
  nlohmann::ordered_json& object = *json;
  object["delta_p_mean"] = delta_p.mean;
  object["delta_p_standard_error"] = delta_p.standard_error;
  object["delta_p_rms"] = delta_p.rms;
  object["delta_p_min"] = delta_p.min;
  object["delta_p_p01"] = delta_p.p01;
  object["delta_p_p05"] = delta_p.p05;
  object["delta_p_p25"] = delta_p.p25;
  object["delta_p_median"] = delta_p.median;
  object["delta_p_p75"] = delta_p.p75;
  object["delta_p_p95"] = delta_p.p95;
  object["delta_p_p99"] = delta_p.p99;
  object["delta_p_max"] = delta_p.max;
}

// noise_floor is its mean divergence, null where it was not measured.
void AddFloor(const std::optional<NoiseFloor>& floor,
              nlohmann::ordered_json* json) {
  nlohmann::ordered_json& object = *json;
  object["noise_floor"] = nullptr;
  if (!floor) return;
  object["noise_floor"] = floor->divergence.mean;
  object["noise_floor_standard_error"] = floor->divergence.standard_error;
  object["noise_floor_median"] = floor->divergence.median;
  object["noise_floor_p99"] = floor->divergence.p99;
  object["noise_floor_top1_agreement"] = floor->top1_agreement;
  object["noise_floor_num_tokens"] = floor->num_tokens;
}

}  // namespace

std::string Describe(const EvaluationResult& result) {
  std::string text = DescribeRun(result);
  text += fmt::format("loss {:.5f} +- {:.5f} nats per token\n", result.loss,
                      result.standard_error);
  text += fmt::format("perplexity {:.4f} +- {:.4f}\n", result.perplexity,
                      result.perplexity_standard_error);
  if (result.protocol == Protocol::kLmEval) {
    text += fmt::format(
        "word perplexity {:.4f}, byte perplexity {:.4f}, bits per byte {:.4f} "
        "({} words, {} bytes)\n",
        result.word_perplexity, result.byte_perplexity, result.bits_per_byte,
        result.num_words, result.num_bytes);
  }
  return text + fmt::format("kv {}, tokenizer {}\n", ToString(result.kv_format),
                            result.tokenizer_hash);
}

nlohmann::ordered_json ToJson(const EvaluationResult& result) {
  nlohmann::ordered_json json = {
      {"protocol", std::string(ToString(result.protocol))},
      {"window", result.window},
      {"stride", result.stride},
      {"num_tokens", result.num_tokens},
      {"num_windows", result.num_windows},
      {"num_documents", result.num_documents},
      {"num_dropped_documents", result.num_dropped_documents},
      {"loss", result.loss},
      {"perplexity", result.perplexity},
      {"standard_error", result.standard_error},
      {"perplexity_standard_error", result.perplexity_standard_error},
      {"kv", ToString(result.kv_format)},
      {"tokenizer_hash", result.tokenizer_hash}};
  if (result.protocol == Protocol::kLmEval) {
    json["num_words"] = result.num_words;
    json["num_bytes"] = result.num_bytes;
    json["word_perplexity"] = result.word_perplexity;
    json["byte_perplexity"] = result.byte_perplexity;
    json["bits_per_byte"] = result.bits_per_byte;
  }
  return json;
}

std::string Describe(const ComparisonResult& r) {
  std::string text = DescribeRun(r.model);
  text += fmt::format(
      "perplexity {:.4f} +- {:.4f}, of the original {:.4f} +- {:.4f}\n"
      "ratio {:.5f} +- {:.5f} (ln {:.5f} +- {:.5f}, paired)\n",
      r.model.perplexity, r.model.perplexity_standard_error,
      r.original.perplexity, r.original.perplexity_standard_error,
      r.perplexity_ratio, r.perplexity_ratio_standard_error,
      r.ln_perplexity_ratio, r.ln_perplexity_ratio_standard_error);
  text += fmt::format(
      "KL(original || model), nats per token\n"
      "  mean {:.5g} +- {:.2g}, median {:.4g}, 95 % {:.4g}, 99 % {:.4g}, "
      "99.9 % {:.4g}, max {:.4g}\n",
      r.divergence.mean, r.divergence.standard_error, r.divergence.median,
      r.divergence.p95, r.divergence.p99, r.divergence.p999, r.divergence.max);
  text += DescribeFloor(r.noise_floor);
  text += fmt::format("same top token {:.3f} +- {:.3f} %\n",
                      r.top1_agreement * kPercent,
                      r.top1_agreement_standard_error * kPercent);
  const Spread& d = r.delta_p;
  text += fmt::format(
      "delta p of the text's tokens, %\n"
      "  mean {:.4f} +- {:.4f}, RMS {:.4f}; min {:.2f}, 1 % {:.3f}, 5 % "
      "{:.3f}, 25 % {:.3f}, median {:.3f}, 75 % {:.3f}, 95 % {:.3f}, 99 % "
      "{:.3f}, max {:.2f}\n",
      d.mean * kPercent, d.standard_error * kPercent, d.rms * kPercent,
      d.min * kPercent, d.p01 * kPercent, d.p05 * kPercent, d.p25 * kPercent,
      d.median * kPercent, d.p75 * kPercent, d.p95 * kPercent, d.p99 * kPercent,
      d.max * kPercent);
  return text + fmt::format("kv {}, of the original {}; tokenizer {}\n",
                            ToString(r.model.kv_format),
                            ToString(r.original.kv_format),
                            r.model.tokenizer_hash);
}

nlohmann::ordered_json ToJson(const ComparisonResult& result) {
  nlohmann::ordered_json json = ToJson(result.model);
  json["original"] = ToJson(result.original);
  json["perplexity_ratio"] = result.perplexity_ratio;
  json["perplexity_ratio_standard_error"] =
      result.perplexity_ratio_standard_error;
  json["ln_perplexity_ratio"] = result.ln_perplexity_ratio;
  json["ln_perplexity_ratio_standard_error"] =
      result.ln_perplexity_ratio_standard_error;
  json["kld_mean"] = result.divergence.mean;
  json["kld_standard_error"] = result.divergence.standard_error;
  json["kld_median"] = result.divergence.median;
  json["kld_p95"] = result.divergence.p95;
  json["kld_p99"] = result.divergence.p99;
  json["kld_p999"] = result.divergence.p999;
  json["kld_max"] = result.divergence.max;
  json["top1_agreement"] = result.top1_agreement;
  json["top1_agreement_standard_error"] = result.top1_agreement_standard_error;
  AddDeltaP(result.delta_p, &json);
  AddFloor(result.noise_floor, &json);
  json["kld_by_position"] = ToJson(result.by_position);
  json["kld_by_confidence"] = ToJson(result.by_confidence);
  return json;
}

std::string Describe(const TaskResult& result) {
  std::string text = fmt::format("task {}, {} examples, {} tokens scored\n",
                                 std::string(ToString(result.task)),
                                 result.num_examples, result.num_tokens);
  if (result.num_truncated > 0) {
    text += fmt::format(
        "{} examples lost their beginning: longer than the "
        "model's context\n",
        result.num_truncated);
  }
  const auto line = [&](const char* name, const Score& score, double scale,
                        const char* unit) {
    text += fmt::format("{} {:.4f} +- {:.4f}{}\n", name, score.value * scale,
                        score.standard_error * scale, unit);
  };
  line("accuracy", result.accuracy, kPercent, " %");
  if (result.task == Task::kLambada) {
    line("perplexity of the target", result.perplexity, 1, "");
  } else {
    line("accuracy, normalised by length", result.normalised_accuracy, kPercent,
         " %");
  }
  return text + fmt::format("kv {}, tokenizer {}\n", ToString(result.kv_format),
                            result.tokenizer_hash);
}

nlohmann::ordered_json ToJson(const TaskResult& result) {
  nlohmann::ordered_json json = {
      {"task", std::string(ToString(result.task))},
      {"num_examples", result.num_examples},
      {"num_truncated", result.num_truncated},
      {"num_tokens", result.num_tokens},
      {"accuracy", result.accuracy.value},
      {"accuracy_standard_error", result.accuracy.standard_error}};
  if (result.task == Task::kLambada) {
    json["perplexity"] = result.perplexity.value;
    json["perplexity_standard_error"] = result.perplexity.standard_error;
  } else {
    json["normalised_accuracy"] = result.normalised_accuracy.value;
    json["normalised_accuracy_standard_error"] =
        result.normalised_accuracy.standard_error;
  }
  json["kv"] = ToString(result.kv_format);
  json["tokenizer_hash"] = result.tokenizer_hash;
  return json;
}

}  // namespace zqfp::tools
