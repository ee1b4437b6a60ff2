// SPDX-License-Identifier: Apache-2.0
#include "tools/certification.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "engine/comparison.h"
#include "engine/evaluation.h"
#include "engine/model_tokenizer.h"
#include "kernels/core/status_macros.h"
#include "models/config.h"
#include "tools/command_line.h"
#include "tools/evaluation_flags.h"
#include "tools/file_hash.h"
#include "tools/loaded_model.h"
#include "tools/perplexity_report.h"
#include "tools/terminal.h"

namespace zqfp::tools {
namespace {

EvaluationOptions EvaluationOptionsOf(const CertificationOptions& options) {
  return {.window = options.window, .max_tokens = options.max_tokens};
}

// A member of the measurement as a person reads it; "?" where another writer
// left it out or gave it another type.
std::string Word(const nlohmann::ordered_json& object, const char* key) {
  const auto place = object.find(key);
  if (place == object.end() || !place->is_string()) return "?";
  return WithoutControls(place->get<std::string>());
}

std::string Number(const nlohmann::ordered_json& object, const char* key,
                   int digits, double scale = 1) {
  const auto place = object.find(key);
  if (place == object.end() || !place->is_number()) return "?";
  return fmt::format("{:.{}f}", place->get<double>() * scale, digits);
}

nlohmann::ordered_json Object(const nlohmann::ordered_json& object,
                              const char* key) {
  const auto place = object.find(key);
  if (place == object.end() || !place->is_object()) {
    return nlohmann::ordered_json::object();
  }
  return *place;
}

}  // namespace

absl::StatusOr<Certification> Certification::Create(
    const std::string& original, const CertificationOptions& options) {
  Certification certification;
  certification.original_ = original;
  certification.options_ = options;
  ZQFP_ASSIGN_OR_RETURN(certification.corpus_,
                        ReadCorpus(options.text, options.split));
  ZQFP_ASSIGN_OR_RETURN(certification.text_hash_, HashOfFile(options.text));
  ZQFP_ASSIGN_OR_RETURN(const Config config, LoadConfig(original));
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        LoadModelTokenizer(original));
  ZQFP_RETURN_IF_ERROR(PlanEvaluation(config, *tokenizer, certification.corpus_,
                                      EvaluationOptionsOf(options))
                           .status());
  return certification;
}

absl::StatusOr<Certificate> Certification::Measure(
    const std::string& directory,
    const std::function<bool(int64_t done, int64_t total)>& progress) const {
  const ModelOptions models = {.num_threads = options_.num_threads};
  ZQFP_ASSIGN_OR_RETURN(const LoadedModel original,
                        LoadFrom(original_, models));
  ZQFP_ASSIGN_OR_RETURN(const LoadedModel model, LoadFrom(directory, models));
  std::unique_ptr<Model> rounded;
  if (WhyNoNoiseFloor(*original.model).empty()) {
    ZQFP_ASSIGN_OR_RETURN(rounded, LoadRounded(original_, models));
  }
  EvaluationOptions evaluation = EvaluationOptionsOf(options_);
  evaluation.progress = progress;
  ZQFP_ASSIGN_OR_RETURN(const ComparisonResult result,
                        Compare({.original = original.subject(),
                                 .model = model.subject(),
                                 .rounded_original = rounded.get()},
                                corpus_, evaluation));
  Certificate certificate;
  certificate.measurement = {
      {"zqfp_version", Version()},
      {"backend", model.model->options().backend},
      {"original", BaseName(original_)},
      {"text", std::filesystem::path(options_.text).filename().string()},
      {"text_xxh64", text_hash_},
      {"split", options_.split},
      {"comparison", ToJson(result)}};
  ZQFP_ASSIGN_OR_RETURN(certificate.fingerprint, TakeFingerprint(directory));
  return certificate;
}

absl::StatusOr<nlohmann::ordered_json> CertificateSection(
    const std::string& directory) {
  const absl::StatusOr<Certificate> certificate = ReadCertificate(directory);
  if (absl::IsNotFound(certificate.status())) return nullptr;
  ZQFP_RETURN_IF_ERROR(certificate.status());
  nlohmann::ordered_json section = {
      {"measurement", certificate->measurement},
      {"tensors", certificate->fingerprint.tensors.size()},
      {"files", certificate->fingerprint.files.size()},
      {"difference", nullptr}};
  const absl::Status status = CheckFingerprint(*certificate, directory);
  if (absl::IsDataLoss(status)) {
    section["difference"] = std::string(status.message());
  } else {
    ZQFP_RETURN_IF_ERROR(status);
  }
  return section;
}

std::string MeasurementText(const nlohmann::ordered_json& measurement) {
  if (measurement.is_null()) return "";
  const nlohmann::ordered_json compared = Object(measurement, "comparison");
  const nlohmann::ordered_json original = Object(compared, "original");
  const auto word = [&](const char* key) { return Word(measurement, key); };
  const auto number = [&](const char* key, int digits) {
    return Number(compared, key, digits);
  };
  std::string text = fmt::format(
      "certificate, against {}\n"
      "  text {} (xxh64 {}), protocol {}, window {}, {} tokens scored\n"
      "  perplexity {} +- {}, of the original {} (ratio {} +- {})\n",
      word("original"), word("text"), word("text_xxh64"),
      Word(compared, "protocol"), number("window", 0), number("num_tokens", 0),
      number("perplexity", 4), number("perplexity_standard_error", 4),
      Number(original, "perplexity", 4), number("perplexity_ratio", 4),
      number("perplexity_ratio_standard_error", 4));
  return text + fmt::format(
                    "  divergence mean {}, median {}, 99 % {}; noise floor {}; "
                    "same top token {} %\n"
                    "  measured by zqfp {} on {}\n",
                    number("kld_mean", 5), number("kld_median", 5),
                    number("kld_p99", 4), number("noise_floor", 5),
                    Number(compared, "top1_agreement", 2, 100),
                    word("zqfp_version"), word("backend"));
}

std::string CertificateText(const nlohmann::ordered_json& section) {
  if (section.is_null()) return "";
  std::string text = "\n";
  text += MeasurementText(section["measurement"]);
  if (!section["difference"].is_null()) {
    return text + "  the model is NOT the one that was certified\n";
  }
  return text + fmt::format("  {} tensors and {} files are as certified\n",
                            section["tensors"].get<size_t>(),
                            section["files"].get<size_t>());
}

}  // namespace zqfp::tools
