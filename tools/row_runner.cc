// SPDX-License-Identifier: Apache-2.0
#include "tools/row_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/file_output.h"
#include "tools/command_line.h"

namespace zqfp::tools {
namespace {

namespace fs = std::filesystem;

constexpr char kLayers[] = ".layers";
constexpr char kPartial[] = ".partial-";

// Whether a quantizer that writes a row's directory makes this name.
bool IsOfRow(const std::string& name, const EvaluationRow& row) {
  if (!name.starts_with(row.name)) return false;
  const std::string rest = name.substr(row.name.size());
  return rest.empty() || rest == kLayers || rest.starts_with(kPartial);
}

// Whether a job may do better without the layers it found.
bool MayBeTheLayers(const absl::Status& status) {
  return !status.ok() && !absl::IsCancelled(status) &&
         !absl::IsResourceExhausted(status) && !absl::IsUnavailable(status);
}

// The row's model in its directory.
absl::Status Quantize(const EvaluationRow& row, const RowRunnerArgs& args) {
  QuantizeOptions options = args.quantize;
  options.output = args.work->PathOf(row);
  options.linears = *row.scheme;
  options.if_interrupted = IfInterrupted::kResume;
  if (!row.needs_calibration()) options.calibration.clear();
  if (args.progress) {
    options.progress = [&args](const QuantizeProgress& progress) {
      return args.progress(progress.share, progress.note);
    };
  }
  const bool had_layers = args.work->HasLayers(row);
  absl::Status status = QuantizeCheckpoint(options).status();
  // Layers that are damaged, or of other options, are no reason to fail.
  if (had_layers && MayBeTheLayers(status)) {
    options.if_interrupted = IfInterrupted::kStartOver;
    status = QuantizeCheckpoint(options).status();
  }
  return status;
}

// What serves the decoder's linears.
std::string KernelOf(const Model& model) {
  const std::vector<LinearInfo> linears = model.Explain();
  if (linears.empty()) return "none";
  return linears.front().op + " " + linears.front().kernel;
}

absl::StatusOr<RowScore> Measure(const EvaluationRow& row,
                                 const RowRunnerArgs& args) {
  ModelOptions model_options = args.model;
  if (row.execution() == Execution::kSimulated) {
    model_options.simulated_activations = row.scheme->activations;
  }
  const std::string directory =
      row.scheme ? args.work->PathOf(row) : args.quantize.input;
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        Model::Load(directory, model_options));
  RowScore score = {.name = row.name, .kernel = KernelOf(*model)};
  for (const EvaluationText& text : *args.texts) {
    EvaluationOptions options = args.evaluation;
    // Why the evaluation was stopped.
    absl::Status stopped;
    options.progress = [&](int64_t done, int64_t total) {
      if (args.progress) {
        stopped = args.progress(
            static_cast<double>(done) / static_cast<double>(total), text.name);
      }
      return stopped.ok();
    };
    const auto result = Evaluate(*model, *args.tokenizer, text.corpus, options);
    ZQFP_RETURN_IF_ERROR(stopped);
    if (!result.ok()) return Prefix(text.name + ": ", result.status());
    score.scores[text.name] = {.num_tokens = result->num_tokens,
                               .loss = result->loss,
                               .standard_error = result->standard_error};
  }
  return score;
}

// How long a process that was killed may take to be gone, lock and all.
constexpr std::chrono::seconds kPatience(1);

// A descriptor of the directory, made where it is not there.
absl::StatusOr<int> OpenDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FileError(path, "create", error);
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) return descriptor;
  return FileError(path, "open",
                   std::error_code(errno, std::generic_category()));
}

// Whether the directory is ours now: locked, and not one that its last user
// removed meanwhile. The lock goes with the process, however that ends.
bool TryLock(const std::string& path, int descriptor) {
  struct stat locked = {}, named = {};
  return flock(descriptor, LOCK_EX | LOCK_NB) == 0 &&
         fstat(descriptor, &locked) == 0 && stat(path.c_str(), &named) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkDirectory>> WorkDirectory::Open(
    const std::string& path, const std::vector<EvaluationRow>& rows,
    Remains remains) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    ZQFP_ASSIGN_OR_RETURN(const int descriptor, OpenDirectory(path));
    if (TryLock(path, descriptor)) {
      std::unique_ptr<WorkDirectory> work(new WorkDirectory(path, descriptor));
      ZQFP_RETURN_IF_ERROR(work->CleanUp(rows, remains));
      return work;
    }
    close(descriptor);
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return absl::FailedPreconditionError(fmt::format(
      "{}: want a directory for this run alone, found another process at work "
      "in it",
      path));
}

absl::Status WorkDirectory::CleanUp(const std::vector<EvaluationRow>& rows,
                                    Remains remains) const {
  std::error_code error;
  std::vector<fs::path> useless;
  for (fs::directory_iterator at(path_, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool is_ours = std::any_of(
        rows.begin(), rows.end(),
        [&](const EvaluationRow& row) { return IsOfRow(name, row); });
    if (!is_ours) {
      return absl::FailedPreconditionError(fmt::format(
          "{}: want a new directory, or what an interrupted run left, found {} "
          "in it (--work_dir)",
          path_, name));
    }
    const bool is_whole = name.find(kPartial) == name.npos;
    const bool is_kept = name.ends_with(kLayers)
                             ? remains != Remains::kNothing
                             : remains == Remains::kLayersAndModels && is_whole;
    if (!is_kept) useless.push_back(at->path());
  }
  if (error) return FileError(path_, "list", error);
  for (const fs::path& path : useless) {
    fs::remove_all(path, error);
    if (error) return FileError(path.string(), "remove", error);
  }
  return absl::OkStatus();
}

WorkDirectory::~WorkDirectory() {
  std::error_code error;
  fs::remove(path_, error);  // where it is empty
  close(descriptor_);
}

std::string WorkDirectory::PathOf(const EvaluationRow& row) const {
  return path_ + "/" + row.name;
}

bool WorkDirectory::HasLayers(const EvaluationRow& row) const {
  std::error_code error;
  return fs::exists(PathOf(row) + kLayers, error);
}

bool WorkDirectory::HasModel(const EvaluationRow& row) const {
  std::error_code error;
  return fs::exists(PathOf(row), error);
}

void WorkDirectory::Remove(const EvaluationRow& row) const {
  std::error_code error;
  fs::remove_all(PathOf(row), error);
}

absl::StatusOr<RowScore> RunRow(const EvaluationRow& row,
                                const RowRunnerArgs& args) {
  const auto start = std::chrono::steady_clock::now();
  const auto prefixed = [&](const absl::Status& status) {
    return Prefix(row.name + ": ", status);
  };
  if (row.scheme && !args.work->HasModel(row)) {
    const absl::Status status = Quantize(row, args);
    if (!status.ok()) return prefixed(status);
  }
  absl::StatusOr<RowScore> score = Measure(row, args);
  if (!absl::IsCancelled(score.status())) args.work->Remove(row);
  if (!score.ok()) return prefixed(score.status());
  score->seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return score;
}

}  // namespace zqfp::tools
