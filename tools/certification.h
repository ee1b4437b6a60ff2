// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOOLS_CERTIFICATION_H_
#define ZQFP_TOOLS_CERTIFICATION_H_

// Makes a quality certificate (models/certificate.h): how far a quantized model
// is from its original on a text, for everyone who gets the model to see.

#include <stdint.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/corpus.h"
#include "models/certificate.h"

namespace zqfp::tools {

struct CertificationOptions {
  std::string text;        // a file: text, or .jsonl documents
  std::string split;       // text between documents, with C escapes
  int64_t window = 0;      // tokens; 0: the protocol's
  int64_t max_tokens = 0;  // 0: all
  int num_threads = 0;     // 0: physical cores
};

// The text, read and found long enough before hours of quantizing.
class Certification {
 public:
  // Errors of ReadCorpus and PlanEvaluation.
  static absl::StatusOr<Certification> Create(
      const std::string& original, const CertificationOptions& options);

  // Compares the model in `directory` with the original by the gptq protocol
  // (engine/protocol.h), keys and values in f32, and takes the directory's
  // fingerprint. `progress` as of EvaluationOptions. Errors of Compare.
  absl::StatusOr<Certificate> Measure(
      const std::string& directory,
      const std::function<bool(int64_t done, int64_t total)>& progress) const;

 private:
  Certification() = default;

  std::string original_;
  CertificationOptions options_;
  Corpus corpus_;
  std::string text_hash_;
};

// What zqfp-inspect shows: null where the directory has no certificate, else
// the measurement, and under "difference" what CheckFingerprint says of the
// files, null where they are as certified.
absl::StatusOr<nlohmann::ordered_json> CertificateSection(
    const std::string& directory);
std::string CertificateText(const nlohmann::ordered_json& section);
// The figures alone, of whatever shape the measurement has; "" for null.
std::string MeasurementText(const nlohmann::ordered_json& measurement);

}  // namespace zqfp::tools

#endif  // ZQFP_TOOLS_CERTIFICATION_H_
