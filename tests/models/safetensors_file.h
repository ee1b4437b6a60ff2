// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_SAFETENSORS_FILE_H_
#define ZQFP_TESTS_MODELS_SAFETENSORS_FILE_H_

// Makes safetensors files, sound and broken ones, and directories for them.

#include <stdint.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace zqfp::testing {

// Length, header and data as they lie in a file; the header is padded so that
// the data starts at a multiple of 8.
inline std::string SafetensorsFile(std::string header,
                                   const std::string& data) {
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<char>(header.size() >> (8 * i) & 0xff));
  }
  return file + header + data;
}

// A directory that goes away with its content.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "zqfp_test_XXXXXX").string();
    path_ = mkdtemp(name.data()) == nullptr ? "" : name;
  }
  ~ScratchDirectory() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
  }

 private:
  std::string path_;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_SAFETENSORS_FILE_H_
