// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_TOKENIZER_TOKENIZER_DIRECTORY_H_
#define ZQFP_TESTS_TOKENIZER_TOKENIZER_DIRECTORY_H_

// A model directory that exists for one test.

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace zqfp::testing {

class TokenizerDirectory {
 public:
  TokenizerDirectory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "zqfp-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TokenizerDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TokenizerDirectory(const TokenizerDirectory&) = delete;
  TokenizerDirectory& operator=(const TokenizerDirectory&) = delete;

  void Link(const std::string& file, const std::string& name) {
    std::filesystem::create_symlink(file, path_ + "/" + name);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_TOKENIZER_TOKENIZER_DIRECTORY_H_
