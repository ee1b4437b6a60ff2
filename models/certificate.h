// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_CERTIFICATE_H_
#define ZQFP_MODELS_CERTIFICATE_H_

// What was measured of a model, bound to its files: certificate.json in the
// model's directory holds the measurement and a hash of every tensor and of
// every text that belongs to the model.
//
// XXH3 is no cryptographic hash: a certificate finds damage, mix-ups and edits.
// Whoever forges a model can forge its certificate along with it.

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/safetensors.h"

namespace zqfp {

inline constexpr char kCertificateName[] = "certificate.json";

// Hashes by name.
struct Fingerprint {
  // "F8_E4M3 [64, 256] " and the XXH3-128 of the bytes.
  std::map<std::string, std::string> tensors;
  // Config, tokenizer, template, generation settings: XXH3-128.
  std::map<std::string, std::string> files;
};

struct Certificate {
  // What was measured, by which protocol, on which text, by which version:
  // one JSON object, whose keys are its writer's (tools/certification.h).
  nlohmann::ordered_json measurement;
  Fingerprint fingerprint;
};

// Whether a file of this name beside the weights is part of the model: *.json
// but the certificate and the shards' index, *.model, *.tiktoken, *.jinja,
// merges.txt.
bool IsModelText(const std::string& file_name);

// Reads every byte, and lets go of its memory.
std::map<std::string, std::string> HashTensors(const Checkpoint& checkpoint);

// Reads every byte of the model. Errors as Checkpoint::Open's; InvalidArgument
// for a GGUF file, which has no directory of its own to be certified in.
absl::StatusOr<Fingerprint> TakeFingerprint(const std::string& directory);

// The text of certificate.json.
std::string ToText(const Certificate& certificate);

// NotFound where the directory has no certificate; InvalidArgument where it has
// another shape than ours.
absl::StatusOr<Certificate> ReadCertificate(const std::string& directory);

// DataLoss names the first tensor or file that is not what the certificate
// says, is missing, or is there in addition, and counts the others.
absl::Status CheckFingerprint(const Certificate& certificate,
                              const std::string& directory);

// Both: OK where there is a certificate and everything is as it says.
absl::Status VerifyCertificate(const std::string& directory);

}  // namespace zqfp

#endif  // ZQFP_MODELS_CERTIFICATE_H_
