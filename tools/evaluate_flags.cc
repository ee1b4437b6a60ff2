// SPDX-License-Identifier: Apache-2.0
#include "tools/evaluate_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "engine/model_tokenizer.h"
#include "kernels/backend.h"
#include "kernels/core/status_macros.h"
#include "models/quantize/quantized_config.h"
#include "tools/calibration_flags.h"
#include "tools/evaluation_flags.h"
#include "tools/file_hash.h"
#include "tools/flag_choice.h"
#include "tools/kv_flag.h"
#include "tools/model_flags.h"
#include "tools/output_file.h"
#include "tools/scheme_flags.h"

ABSL_FLAG(std::vector<std::string>, text, {},
          "NAME=FILE or FILE to predict: text, or .jsonl documents; a column "
          "each. Several with commas, or the flag again");
ABSL_FLAG(std::string, output, "",
          "FILE.json for the results; one that is there already, of the same "
          "settings, is gone on with");
ABSL_FLAG(bool, overwrite, false, "begin anew where --output exists");
ABSL_FLAG(std::string, markdown, "",
          "file for the table, which goes to standard output as well");
ABSL_FLAG(std::string, work_dir, "",
          "directory for one quantized model at a time, integers in f32 "
          "(OUTPUT.rows)");
ABSL_FLAG(std::string, rows, "",
          "regular expression: measure only rows whose name it matches, such "
          "as w4a8-fp-fp-m2-gptq-lorc (all)");
ABSL_FLAG(std::vector<std::string>, methods,
          (std::vector<std::string>{"rtn", "gptq"}),
          "of rtn (round to nearest) and gptq (needs --calibration)");
ABSL_FLAG(std::string, lm_head, "bf16",
          "format of the output projection in all quantized rows: bf16, e4m3 "
          "or e2m1");
ABSL_FLAG(int32_t, lorc_rank, 8,
          "rank of the low-rank compensation (0: no rows with it)");
ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, keep);

namespace zqfp::tools {
namespace {

constexpr size_t kMaxName = 64;

bool IsPlain(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

// A column and its file.
struct NamedFile {
  std::string name;
  std::string path;
};

absl::StatusOr<std::vector<NamedFile>> FilesFromFlag() {
  std::vector<NamedFile> files;
  for (const std::string& value : absl::GetFlag(FLAGS_text)) {
    const size_t equals = value.find('=');
    const bool is_named = equals < value.find('/');
    NamedFile file;
    file.path = is_named ? value.substr(equals + 1) : value;
    file.name = is_named ? value.substr(0, equals)
                         : std::filesystem::path(value).stem().string();
    if (!IsPlain(file.name) || file.path.empty()) {
      return UsageError(fmt::format(
          "--text: want NAME=FILE, with letters, digits and ._- in the name, "
          "found '{}'",
          value));
    }
    for (const NamedFile& other : files) {
      if (other.name != file.name) continue;
      return UsageError(fmt::format(
          "--text: want a name for each (NAME=FILE), found '{}' twice",
          file.name));
    }
    files.push_back(std::move(file));
  }
  if (!files.empty()) return files;
  return UsageError("--text: want a file, found none");
}

absl::StatusOr<std::vector<QuantizeMethod>> MethodsFromFlag() {
  std::vector<QuantizeMethod> methods;
  for (const std::string& name : absl::GetFlag(FLAGS_methods)) {
    ZQFP_ASSIGN_OR_RETURN(
        const QuantizeMethod method,
        Choice<QuantizeMethod>("methods", name,
                               {QuantizeMethod::kRtn, QuantizeMethod::kGptq}));
    methods.push_back(method);
  }
  return methods;
}

absl::Status ChooseRows(EvaluateJob* job) {
  ZQFP_ASSIGN_OR_RETURN(const std::vector<QuantizeMethod> methods,
                        MethodsFromFlag());
  const std::string pattern = absl::GetFlag(FLAGS_rows);
  std::function<bool(const std::string&)> matches;
  if (!pattern.empty()) {
    ZQFP_ASSIGN_OR_RETURN(matches, NameMatcher("rows", pattern));
  }
  std::string names;
  for (const EvaluationRow& row : job->rows) {
    names += "\n  " + row.name;
    const bool has_method =
        !row.scheme || std::find(methods.begin(), methods.end(),
                                 row.scheme->method) != methods.end();
    if (has_method && (!matches || matches(row.name))) {
      job->wanted.push_back(row);
    }
  }
  if (!job->wanted.empty()) return absl::OkStatus();
  return UsageError(fmt::format(
      "--rows, --methods: want some of these rows, found none that '{}' "
      "matches:{}",
      pattern, names));
}

// Of the rows wanted, which are what they are only with some of the others.
absl::Status CheckRows(const EvaluateJob& job,
                       const CalibrationOptions& calibration) {
  for (const EvaluationRow& row : job.wanted) {
    if (row.needs_calibration() && calibration.text.empty()) {
      return UsageError(fmt::format(
          "--calibration: want a text for gptq and weighted compensation "
          "({}), found none; --methods rtn does without",
          row.name));
    }
    if (row.scheme && job.quantize.lm_head != HeadFormat::kBf16 &&
        row.scheme->is_dense()) {
      return UsageError(fmt::format(
          "--lm_head: want bf16 for rows with integer weights ({}), found {}; "
          "--rows fp-fp leaves them out",
          row.name, std::string(ToString(job.quantize.lm_head))));
    }
    if (row.scheme && job.quantize.lm_head == HeadFormat::kE2m1 &&
        row.scheme->grid.format != GridFormat::kE2m1) {
      return UsageError(fmt::format(
          "--lm_head: want bf16 or e4m3 for rows with e4m3 weights ({}), found "
          "e2m1; --rows w4a8-fp-fp leaves them out",
          row.name));
    }
  }
  return absl::OkStatus();
}

// Every flag that can be judged without a file.
absl::Status ReadFlags(EvaluateJob* job) {
  job->quantize.input = absl::GetFlag(FLAGS_model);
  job->output = absl::GetFlag(FLAGS_output);
  job->markdown = absl::GetFlag(FLAGS_markdown);
  job->work_directory = absl::GetFlag(FLAGS_work_dir);
  if (job->quantize.input.empty()) {
    return UsageError("--model: want a model in full precision, found none");
  }
  if (job->output.empty()) {
    return UsageError("--output: want a file for the results, found none");
  }
  if (job->output == job->markdown) {
    return UsageError("--markdown: want another file than --output");
  }
  if (job->work_directory.empty()) job->work_directory = job->output + ".rows";
  if (absl::GetFlag(FLAGS_overwrite)) job->if_exists = IfExists::kReplace;
  ZQFP_RETURN_IF_ERROR(
      ReadSchemeFlags(absl::GetFlag(FLAGS_lorc_rank), &job->quantize));
  ZQFP_ASSIGN_OR_RETURN(
      job->quantize.lm_head,
      Choice<HeadFormat>(
          "lm_head", absl::GetFlag(FLAGS_lm_head),
          {HeadFormat::kBf16, HeadFormat::kE4m3, HeadFormat::kE2m1}));
  ZQFP_ASSIGN_OR_RETURN(job->evaluation, EvaluationOptionsFromFlags());
  ZQFP_ASSIGN_OR_RETURN(job->model, ModelOptionsFromFlags());
  // Some rows simulate their activations, which only the CPU does, and all rows
  // run in one place.
  if (job->model.device == "auto") job->model.device = "cpu";
  job->quantize.num_threads = job->model.num_threads;
  job->rows = AllRows(job->quantize.linears);
  return ChooseRows(job);
}

// The texts, and how they will be cut; the options get their defaults.
absl::Status ReadTexts(const std::vector<NamedFile>& files,
                       const Config& config, EvaluateJob* job) {
  nlohmann::ordered_json hashes = nlohmann::ordered_json::object();
  EvaluationOptions resolved;
  for (const NamedFile& file : files) {
    ZQFP_ASSIGN_OR_RETURN(Corpus corpus,
                          ReadCorpus(file.path, SplitFromFlags()));
    const auto plan =
        PlanEvaluation(config, *job->tokenizer, corpus, job->evaluation);
    if (!plan.ok()) return Prefix(file.path + ": ", plan.status());
    resolved = plan->options;
    ZQFP_ASSIGN_OR_RETURN(hashes[file.name], HashOfFile(file.path));
    job->texts.push_back({file.name, std::move(corpus)});
  }
  job->evaluation = resolved;
  job->settings["texts"] = std::move(hashes);
  return absl::OkStatus();
}

absl::Status ReadCalibrationText(const CalibrationOptions& options,
                                 EvaluateJob* job) {
  const bool is_read =
      std::any_of(job->wanted.begin(), job->wanted.end(),
                  [](const auto& row) { return row.needs_calibration(); });
  if (!is_read) return absl::OkStatus();
  ZQFP_ASSIGN_OR_RETURN(Calibration calibration,
                        ReadCalibration(job->quantize.input, options));
  // By name: the order in which a file is read again.
  job->settings["calibration"] = {
      {"sequences", calibration.sequences.size()},
      {"split", options.split},
      {"text_hash", calibration.source.text_hash},
      {"tokens", calibration.sequences.front().size()}};
  job->quantize.calibration = std::move(calibration.sequences);
  job->quantize.calibration_source = std::move(calibration.source);
  return absl::OkStatus();
}

absl::Status AddSettings(EvaluateJob* job) {
  const auto name = [](auto value) { return std::string(ToString(value)); };
  const LinearScheme& scheme = job->quantize.linears;
  ZQFP_ASSIGN_OR_RETURN(const kernels::Backend backend,
                        kernels::SelectBackend());
  ZQFP_ASSIGN_OR_RETURN(const std::string model_hash,
                        HashOfModel(job->quantize.input));
  const int threads = job->model.num_threads;
  nlohmann::ordered_json settings = {
      {"protocol", name(job->evaluation.protocol)},
      {"window", job->evaluation.window},
      {"stride", job->evaluation.stride},
      {"split", SplitFromFlags()},
      {"max_tokens", job->evaluation.max_tokens},
      {"kv", ToString(job->evaluation.kv_format)},
      {"group_size", scheme.grid.scales.group_size},
      {"scale_rounding", name(scheme.grid.scales.rounding)},
      {"lm_head", name(job->quantize.lm_head)},
      {"keep", absl::GetFlag(FLAGS_keep)},
      {"lorc_rank", scheme.lorc.rank},
      {"lorc", name(scheme.lorc.weighting)},
      {"lorc_format",
       scheme.lorc.format == kernels::ValueFormat::kE4m3 ? "e4m3" : "bf16"},
      {"damping", scheme.damping},
      {"act_order", scheme.column_order == ColumnOrder::kByActivation},
      {"true_sequential", job->quantize.stages == StageOrder::kTrueSequential},
      {"zqfp", Version()},
      {"backend", backend.name},
      {"threads", threads > 0 ? threads : kernels::PhysicalCores()},
      {"model_hash", model_hash},
      {"tokenizer_hash", job->tokenizer->hash()}};
  settings.update(job->settings);
  job->settings = std::move(settings);
  return absl::OkStatus();
}

std::string NameOfModel(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole =
      std::filesystem::weakly_canonical(path, error);
  std::string name = whole.has_filename()
                         ? whole.filename().string()
                         : whole.parent_path().filename().string();
  for (char& c : name) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = '_';
  }
  return name;
}

}  // namespace

std::vector<FlagGroup> EvaluateFlagGroups() {
  return {{"files", {"model", "output", "overwrite", "markdown", "work_dir"}},
          EvaluationFlagGroup(),
          {"rows", {"rows", "methods"}},
          {"how the rows are quantized",
           {"group_size", "scale_rounding", "lm_head", "keep"}},
          {"gptq",
           {"calibration", "calibration_split", "calibration_samples",
            "calibration_length", "damping", "act_order", "true_sequential"}},
          {"low-rank compensation", {"lorc_rank", "lorc", "lorc_format"}},
          {"running", {"threads"}}};
}

absl::StatusOr<EvaluateJob> EvaluateJobFromFlags() {
  EvaluateJob job;
  ZQFP_ASSIGN_OR_RETURN(const std::vector<NamedFile> files, FilesFromFlag());
  ZQFP_RETURN_IF_ERROR(ReadFlags(&job));
  ZQFP_ASSIGN_OR_RETURN(const CalibrationOptions calibration,
                        CalibrationOptionsFromFlags());
  ZQFP_RETURN_IF_ERROR(CheckRows(job, calibration));
  const std::string& input = job.quantize.input;
  ZQFP_ASSIGN_OR_RETURN(const Config config, LoadFullPrecisionConfig(input));
  ZQFP_RETURN_IF_ERROR(CheckApart(job.work_directory, input));
  ZQFP_RETURN_IF_ERROR(CheckOutputFile(job.output));
  if (!job.markdown.empty()) {
    ZQFP_RETURN_IF_ERROR(CheckOutputFile(job.markdown));
  }
  job.model_name = NameOfModel(input);
  ZQFP_ASSIGN_OR_RETURN(job.tokenizer, LoadModelTokenizer(input));
  ZQFP_RETURN_IF_ERROR(ReadTexts(files, config, &job));
  ZQFP_RETURN_IF_ERROR(ReadCalibrationText(calibration, &job));
  ZQFP_ASSIGN_OR_RETURN(job.quantize.companions, TokenizerFilesOfGguf(input));
  ZQFP_RETURN_IF_ERROR(AddSettings(&job));
  return job;
}

}  // namespace zqfp::tools
