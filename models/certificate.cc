// SPDX-License-Identifier: Apache-2.0
#include "models/certificate.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/core/status_macros.h"
#include "models/gguf.h"
#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVersion = 1;
// Some 200 bytes for each tensor.
constexpr int64_t kMaxBytes = int64_t{64} << 20;

std::string PathOf(const std::string& directory) {
  return (fs::path(directory) / kCertificateName).string();
}

std::string Hash(const uint8_t* data, size_t num_bytes) {
  const XXH128_hash_t hash = XXH3_128bits(data, num_bytes);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

// The hashes under `key`, each a string.
absl::StatusOr<std::map<std::string, std::string>> ReadHashes(
    const JsonReader& reader, const char* key) {
  ZQFP_ASSIGN_OR_RETURN(const JsonReader object, reader.Object(key));
  std::map<std::string, std::string> hashes;
  for (const auto& [name, value] : object.object().items()) {
    if (!value.is_string()) return object.Wrong(name.c_str(), "a hash");
    hashes.emplace(name, value.get<std::string>());
  }
  return hashes;
}

// What differs between two maps, as "NAME: want A, found B".
class Differences {
 public:
  void Compare(const std::map<std::string, std::string>& wanted,
               const std::map<std::string, std::string>& found) {
    for (const auto& [name, hash] : wanted) {
      const auto place = found.find(name);
      if (place == found.end()) {
        Add(name, hash, "nothing");
      } else if (place->second != hash) {
        Add(name, hash, place->second);
      }
    }
    for (const auto& [name, hash] : found) {
      if (!wanted.contains(name)) Add(name, "nothing", hash);
    }
  }

  absl::Status ToStatus(const std::string& directory) const {
    if (count_ == 0) return absl::OkStatus();
    const std::string others =
        count_ == 1 ? "" : fmt::format(" (and {} more differ)", count_ - 1);
    return absl::DataLossError(fmt::format("{}: not what its {} says: {}{}",
                                           directory, kCertificateName, first_,
                                           others));
  }

 private:
  void Add(const std::string& name, const std::string& wanted,
           const std::string& found) {
    if (count_++ == 0) {
      first_ = fmt::format("{}: want {}, found {}", name, wanted, found);
    }
  }

  int64_t count_ = 0;
  std::string first_;
};

}  // namespace

bool IsModelText(const std::string& file_name) {
  const fs::path path(file_name);
  const std::string extension = path.extension().string();
  if (extension == ".json") {
    return file_name != kCertificateName && file_name.front() != '.' &&
           !file_name.ends_with(".index.json");
  }
  return extension == ".model" || extension == ".tiktoken" ||
         extension == ".jinja" || file_name == "merges.txt";
}

std::map<std::string, std::string> HashTensors(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> hashes;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    hashes[name] =
        fmt::format("{} {}", Describe(tensor),
                    Hash(tensor.data, static_cast<size_t>(tensor.num_bytes)));
    DropPages(tensor.data, tensor.num_bytes);
  }
  return hashes;
}

absl::StatusOr<Fingerprint> TakeFingerprint(const std::string& directory) {
  ZQFP_ASSIGN_OR_RETURN(const std::string gguf, FindGguf(directory));
  if (!gguf.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want a directory with safetensors to certify, found a "
                    "GGUF file",
                    gguf));
  }
  Fingerprint fingerprint;
  ZQFP_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                        Checkpoint::Open(directory));
  fingerprint.tensors = HashTensors(checkpoint);
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (!IsModelText(name) || !fs::is_regular_file(entry->path(), ignored)) {
      continue;
    }
    ZQFP_ASSIGN_OR_RETURN(const MappedFile file,
                          MappedFile::Open(entry->path().string()));
    fingerprint.files[name] = Hash(file.bytes().data(), file.bytes().size());
  }
  if (error) {
    return absl::UnavailableError(
        fmt::format("{}: cannot list: {}", directory, error.message()));
  }
  return fingerprint;
}

std::string ToText(const Certificate& certificate) {
  const nlohmann::ordered_json json = {
      {"zqfp_certificate", kVersion},
      {"measurement", certificate.measurement},
      {"files", certificate.fingerprint.files},
      {"tensors", certificate.fingerprint.tensors}};
  return json.dump(1, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& directory) {
  const std::string path = PathOf(directory);
  ZQFP_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxBytes));
  ZQFP_ASSIGN_OR_RETURN(
      const nlohmann::json json,
      ParseJson(text.data(), text.data() + text.size(), path));
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: want an object, found {}", path, Excerpt(json)));
  }
  const JsonReader reader(json, path);
  int64_t version = 0;
  ZQFP_RETURN_IF_ERROR(
      reader.Require("zqfp_certificate", {kVersion, kVersion}, &version));
  ZQFP_RETURN_IF_ERROR(reader.RefuseUnknownKeys(
      {"zqfp_certificate", "measurement", "files", "tensors"}));
  Certificate certificate;
  ZQFP_ASSIGN_OR_RETURN(const JsonReader measurement,
                        reader.Object("measurement"));
  certificate.measurement = measurement.object();
  ZQFP_ASSIGN_OR_RETURN(certificate.fingerprint.files,
                        ReadHashes(reader, "files"));
  ZQFP_ASSIGN_OR_RETURN(certificate.fingerprint.tensors,
                        ReadHashes(reader, "tensors"));
  return certificate;
}

absl::Status CheckFingerprint(const Certificate& certificate,
                              const std::string& directory) {
  ZQFP_ASSIGN_OR_RETURN(const Fingerprint found, TakeFingerprint(directory));
  Differences differences;
  differences.Compare(certificate.fingerprint.files, found.files);
  differences.Compare(certificate.fingerprint.tensors, found.tensors);
  return differences.ToStatus(directory);
}

absl::Status VerifyCertificate(const std::string& directory) {
  const absl::StatusOr<Certificate> certificate = ReadCertificate(directory);
  if (absl::IsNotFound(certificate.status())) {
    return absl::NotFoundError(
        fmt::format("{}: want a {} to verify the model with, found none",
                    directory, kCertificateName));
  }
  ZQFP_RETURN_IF_ERROR(certificate.status());
  return CheckFingerprint(*certificate, directory);
}

}  // namespace zqfp
