// SPDX-License-Identifier: Apache-2.0
// zqfp-inspect: what a model is, what it takes, and how it will run.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "absl/flags/flag.h"
#include "kernels/core/status_macros.h"
#include "tools/certification.h"
#include "tools/command_line.h"
#include "tools/inspection.h"
#include "tools/kv_flag.h"
#include "tools/model_flags.h"
#include "tools/print.h"
#include "tools/terminal.h"

ABSL_FLAG(bool, explain, false,
          "each layer: formats, kernel, whether its products are exact");
ABSL_FLAG(bool, tensors, false, "each tensor: dtype, shape, bytes, file");
ABSL_FLAG(bool, ops, false, "which kernels serve each op on this machine");
ABSL_FLAG(int64_t, context, 0,
          "plan memory for so many tokens (the model's, at most 4096)");
ABSL_FLAG(std::string, kv, "auto",
          "plan memory for keys and values in auto, f32, bf16 or e4m3");
ABSL_FLAG(bool, json, false, "print one JSON object");

namespace zqfp::tools {
namespace {

constexpr int64_t kDefaultContext = 4096;

const ToolInfo& Info() {
  static const ToolInfo& info = *new ToolInfo{
      "zqfp-inspect",
      "What a model is, what memory it takes, how it will run here, and "
      "whether "
      "its files are what its certificate says.",
      "zqfp-inspect [--model DIR] [--explain] [--tensors] [--ops] [--json]",
      {{"what is shown",
        {"explain", "tensors", "ops", "context", "kv", "json"}},
       ModelFlagGroup()},
      "  zqfp-inspect --model my-model --explain\n"
      "  zqfp-inspect --ops\n"};
  return info;
}

absl::StatusOr<int64_t> PlannedContext(const Model& model) {
  const int64_t most = model.config().max_positions;
  const int64_t context = absl::GetFlag(FLAGS_context);
  if (context == 0) return std::min(most, kDefaultContext);
  if (context >= 2 && context <= most) return context;
  return UsageError(fmt::format(
      "--context: want 2 .. {} tokens (the model's), found {}", most, context));
}

void PrintSections(const Section& all) {
  if (absl::GetFlag(FLAGS_json)) {
    Print("{}\n", all.dump(-1, ' ', false, Section::error_handler_t::replace));
    return;
  }
  std::string text = SummaryText(all["model"]) + MemoryText(all["memory"]) +
                     TokensText(all["text"]) +
                     CertificateText(all["certificate"]);
  if (all.contains("layers")) text += ExplainText(all["layers"]);
  if (all.contains("tensors")) text += TensorsText(all["tensors"]);
  if (all.contains("ops")) text += OpsText(all["ops"]);
  Print("{}", WithoutControls(text));  // names and texts are the model's
}

absl::Status Run() {
  ZQFP_ASSIGN_OR_RETURN(const KvFormat kv,
                        ParseKvFormat(absl::GetFlag(FLAGS_kv)));
  ZQFP_ASSIGN_OR_RETURN(const std::string directory, ModelDirectory());
  ZQFP_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                        LoadModelFromFlags());
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                        Checkpoint::Open(directory));
  ZQFP_ASSIGN_OR_RETURN(const int64_t context, PlannedContext(*model));
  Section all = {
      {"model", SummarySection(*model)},
      {"memory", MemorySection(*model, kv, context, checkpoint.total_bytes())}};
  ZQFP_ASSIGN_OR_RETURN(all["text"], TextSection(directory));
  ZQFP_ASSIGN_OR_RETURN(all["certificate"], CertificateSection(directory));
  if (absl::GetFlag(FLAGS_explain)) all["layers"] = ExplainSection(*model);
  if (absl::GetFlag(FLAGS_tensors)) all["tensors"] = TensorsSection(checkpoint);
  if (absl::GetFlag(FLAGS_ops)) all["ops"] = OpsSection();
  PrintSections(all);
  const Section& certificate = all["certificate"];
  if (certificate.is_null() || certificate["difference"].is_null()) {
    return absl::OkStatus();
  }
  return absl::DataLossError(certificate["difference"].get<std::string>());
}

}  // namespace
}  // namespace zqfp::tools

int main(int argc, char** argv) {
  return zqfp::tools::RunTool(argc, argv, zqfp::tools::Info(),
                              zqfp::tools::Run);
}
