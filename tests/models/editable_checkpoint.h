// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_MODELS_EDITABLE_CHECKPOINT_H_
#define ZQFP_TESTS_MODELS_EDITABLE_CHECKPOINT_H_

// A model directory in memory, to be changed in one place and written again.

#include <string.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/quantize/quantize_checkpoint.h"
#include "models/safetensors.h"
#include "tests/assets.h"
#include "tests/models/safetensors_file.h"

namespace zqfp::testing {

struct EditableTensor {
  std::string dtype;  // as in the file: "F32"
  std::vector<int64_t> shape;
  std::string bytes;

  template <typename T>
  void Set(size_t index, T value) {
    memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
  }
};

struct EditableCheckpoint {
  nlohmann::json config;
  std::map<std::string, EditableTensor> tensors;

  static EditableCheckpoint Read(const std::string& directory) {
    EditableCheckpoint result;
    std::ifstream file(directory + "/config.json");
    result.config = nlohmann::json::parse(file);
    const auto checkpoint = Checkpoint::Open(directory);
    for (const auto& [name, tensor] : checkpoint->tensors()) {
      result.tensors[name] = {
          std::string(ToString(tensor.dtype)), tensor.shape,
          std::string(reinterpret_cast<const char*>(tensor.data),
                      static_cast<size_t>(tensor.num_bytes))};
    }
    return result;
  }
  // A tiny model of tests/golden/models.
  static EditableCheckpoint Golden(const std::string& variant) {
    return Read(SourcePath("tests/golden/models/" + variant));
  }
  // The same, rounded to nearest.
  static EditableCheckpoint Quantized(const std::string& variant,
                                      ScaleConstraint constraint,
                                      HeadFormat head,
                                      int64_t group_size = 32) {
    QuantizeOptions options;
    options.linears.grid.scales = {group_size, constraint,
                                   ScaleRounding::kSearch};
    options.lm_head = head;
    return Quantized(variant, std::move(options));
  }
  // The same, as the options say.
  static EditableCheckpoint Quantized(const std::string& variant,
                                      QuantizeOptions options) {
    const ScratchDirectory scratch;
    options.input = SourcePath("tests/golden/models/" + variant);
    options.output = scratch / "quantized";
    options.num_threads = 1;
    const auto report = QuantizeCheckpoint(options);
    return report.ok() ? Read(options.output) : EditableCheckpoint();
  }

  // Tensors lie with the widest dtypes first, so that each is aligned.
  void Write(const ScratchDirectory& directory) const {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    std::string data;
    for (const char* width : {"64", "32", "16", ""}) {
      for (const auto& [name, tensor] : tensors) {
        if (header.contains(name) || !tensor.dtype.ends_with(width)) continue;
        header[name] = {
            {"dtype", tensor.dtype},
            {"shape", tensor.shape},
            {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
        data += tensor.bytes;
      }
    }
    directory.Write("config.json", config.dump());
    directory.Write("model.safetensors", SafetensorsFile(header.dump(), data));
  }
};

}  // namespace zqfp::testing

#endif  // ZQFP_TESTS_MODELS_EDITABLE_CHECKPOINT_H_
