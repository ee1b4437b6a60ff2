// SPDX-License-Identifier: Apache-2.0
#include "tools/model_flags.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "absl/flags/flag.h"
#include "kernels/backend.h"
#include "kernels/core/status_macros.h"
#include "tools/print.h"

ABSL_FLAG(
    std::string, model, "",
    "a model: a Hugging Face style directory, quantized or not, or a GGUF "
    "file (the bundled one)");
ABSL_FLAG(int32_t, threads, 0, "threads to use (all physical cores)");
ABSL_FLAG(std::string, backend, "",
          "kernels to use, as ZQFP_BACKEND: reference, avx2, avx512, "
          "avx512vnni, avx512bf16, amx, neon (the best of this machine)");
ABSL_FLAG(
    std::string, device, "auto",
    "where to run: cpu, cuda (an error where there is no such GPU), or "
    "auto: the CPU until the kernels for GPUs have been proved on a chip");
ABSL_FLAG(bool, strict, false,
          "end with an error wherever something would fall back");
ABSL_FLAG(bool, weight_only, false,
          "run a quantized model with f32 inputs and the cache of --kv, "
          "whatever its file asks for");
ABSL_FLAG(bool, fp8_fast_accum, false,
          "on a GPU, sum the FP8 products of prompts in the tensor cores' 14 "
          "bits: faster, errors grow with the width of a layer");
ABSL_FLAG(bool, resident_fp8, false,
          "on a GPU, keep an FP8 copy of the weights beside the packed ones, a "
          "byte a weight, so that prompts need not unpack them");

namespace zqfp::tools {
namespace {

// Where the bundled model stands, seen from bin/ of a build or a prefix.
std::string BundledModelDirectory() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path model = program.parent_path() / "../share/zqfp/models/demo";
  if (fs::exists(model / "config.json", error)) {
    return fs::weakly_canonical(model, error).string();
  }
  return "";
}

}  // namespace

FlagGroup ModelFlagGroup() {
  return {"model and machine",
          {"model", "threads", "device", "backend", "strict", "weight_only",
           "fp8_fast_accum", "resident_fp8"}};
}

absl::StatusOr<std::string> ModelDirectory() {
  const std::string named = absl::GetFlag(FLAGS_model);
  if (!named.empty()) return named;
  const std::string bundled = BundledModelDirectory();
  if (bundled.empty()) {
    return UsageError(
        "--model: want a model directory, found none, and the bundled model "
        "is not installed beside this program");
  }
  return bundled;
}

absl::StatusOr<ModelOptions> ModelOptionsFromFlags() {
  ModelOptions options;
  options.num_threads = absl::GetFlag(FLAGS_threads);
  if (options.num_threads < 0 || options.num_threads > kernels::kMaxThreads) {
    return UsageError(fmt::format("--threads: want 0..{}, found {}",
                                  kernels::kMaxThreads, options.num_threads));
  }
  options.backend = absl::GetFlag(FLAGS_backend);
  options.device = absl::GetFlag(FLAGS_device);
  if (!options.backend.empty() && options.device != "auto") {
    return UsageError(
        fmt::format("want --backend or --device, found both ({} and {})",
                    options.backend, options.device));
  }
  options.strict = absl::GetFlag(FLAGS_strict);
  options.weight_only = absl::GetFlag(FLAGS_weight_only);
  options.fp8_fast_accum = absl::GetFlag(FLAGS_fp8_fast_accum);
  options.resident_fp8 = absl::GetFlag(FLAGS_resident_fp8);
  return options;
}

absl::StatusOr<std::unique_ptr<Model>> LoadModelFromFlags() {
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(const ModelOptions options, ModelOptionsFromFlags());
  SayWhyNoDevice(options);
  return Model::Load(directory, options);
}

void SayWhyNoDevice(const ModelOptions& options) {
  if (!options.backend.empty() || options.device != "auto") return;
  const std::string reason = kernels::WhyNoDevice();
  if (reason.empty()) return;
  Print(stderr, "zqfp: note: runs on the CPU: {}\n", reason);
}

std::string DescribeMachine(const ModelInfo& info) {
  if (info.device != "cpu") {
    return fmt::format("{} on {}", info.backend, info.device);
  }
  return fmt::format("{} on {} threads", info.backend, info.num_threads);
}

}  // namespace zqfp::tools
