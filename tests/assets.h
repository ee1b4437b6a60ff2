// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_ASSETS_H_
#define ZQFP_TESTS_ASSETS_H_

// Where tests find real models and texts, which are not part of the tree.

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace zqfp::testing {

// Path of an asset such as "models/stories-260k", or "" where it is absent.
inline std::string AssetPath(const std::string& relative) {
  const std::filesystem::path path =
      std::filesystem::path(ZQFP_ASSETS) / relative;
  std::error_code error;
  return std::filesystem::exists(path, error) ? path.string() : std::string();
}

// Path of a file of this tree, such as "tests/golden/models/llama3.json". On
// another machine (tools/gpu_check.sh) the environment says where the tree is.
inline std::string SourcePath(const std::string& relative) {
  const char* moved = getenv("ZQFP_TEST_SOURCES");
  return (std::filesystem::path(moved != nullptr ? moved : ZQFP_SOURCE_DIR) /
          relative)
      .string();
}

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_ASSETS_H_
