// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_QUANTIZE_OUTPUT_DIRECTORY_H_
#define ZQFP_MODELS_QUANTIZE_OUTPUT_DIRECTORY_H_

// A model directory that appears under its name only when it is complete.

#include <stdint.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zqfp {

// What to do where the output is there already and not empty.
enum class IfExists : uint8_t { kRefuse, kReplace };

// InvalidArgument where `output` and `input` are the same or lie in each other.
absl::Status CheckApart(const std::string& output, const std::string& input);

// Files go to a sibling, OUTPUT.partial-PID, which Commit() renames to OUTPUT
// and which the destructor removes with all its content otherwise.
class OutputDirectory {
 public:
  // Errors: CheckApart's; AlreadyExists where `output` may not be replaced.
  static absl::StatusOr<OutputDirectory> Create(const std::string& output,
                                                const std::string& input,
                                                IfExists if_exists);
  OutputDirectory(OutputDirectory&& other) noexcept;
  OutputDirectory& operator=(OutputDirectory&&) = delete;
  ~OutputDirectory();

  // The sibling.
  const std::string& path() const { return partial_path_; }
  // Path for a file of this name in it.
  std::string PathOf(const std::string& name) const;
  // ResourceExhausted where the disk has less room than that.
  absl::Status CheckSpace(int64_t num_bytes) const;
  absl::Status WriteText(const std::string& name, std::string_view text);
  // What belongs to a model beside weights and config.json: tokenizer,
  // template, generation settings, licence. InvalidArgument where one of them
  // is a link out of `input`, but for the blobs of a hub's cache.
  absl::Status CopyCompanions(const std::string& input);
  // AlreadyExists where the output may not be replaced and came to be there
  // since Create().
  absl::Status Commit();

 private:
  OutputDirectory(std::string final_path, std::string partial_path,
                  IfExists if_exists)
      : final_path_(std::move(final_path)),
        partial_path_(std::move(partial_path)),
        if_exists_(if_exists) {}

  std::string final_path_;
  std::string partial_path_;  // empty: nothing to remove
  IfExists if_exists_;
};

}  // namespace zqfp

#endif  // ZQFP_MODELS_QUANTIZE_OUTPUT_DIRECTORY_H_
