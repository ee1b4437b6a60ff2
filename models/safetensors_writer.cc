// SPDX-License-Identifier: Apache-2.0
#include "models/safetensors_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

constexpr int64_t kDataAlignment = 64;
constexpr int64_t kLengthBytes = 8;

// Where one tensor of the plan lies, as offsets in the data.
struct Place {
  int64_t begin = 0;
  int64_t end = 0;
};

// Bytes of one tensor, checked as the reader will check them.
absl::StatusOr<int64_t> PlanBytes(const TensorPlan& tensor) {
  int64_t num_bytes = ByteSize(tensor.dtype);
  for (const int64_t dim : tensor.shape) {
    if (dim < 1 || dim > std::numeric_limits<int64_t>::max() / num_bytes) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: want dimensions of 1 and more whose product fits in 63 bits, "
          "found {}",
          tensor.name, dim));
    }
    num_bytes *= dim;
  }
  return num_bytes;
}

// Offsets in the order of the plan; wide dtypes lie first in the file.
absl::StatusOr<std::vector<Place>> LayOut(const std::vector<TensorPlan>& plan) {
  std::vector<size_t> order(plan.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return ByteSize(plan[a].dtype) > ByteSize(plan[b].dtype);
  });
  std::vector<Place> places(plan.size());
  std::set<std::string> names;
  int64_t next = 0;
  for (const size_t index : order) {
    ZQFP_ASSIGN_OR_RETURN(const int64_t num_bytes, PlanBytes(plan[index]));
    if (!names.insert(plan[index].name).second ||
        num_bytes > std::numeric_limits<int64_t>::max() - next) {
      return absl::InvalidArgumentError(
          fmt::format("{}: want each tensor once and a file below 2^63 bytes",
                      plan[index].name));
    }
    places[index] = {next, next + num_bytes};
    next += num_bytes;
  }
  return places;
}

// Length and text, padded so that the data after them starts aligned.
std::string MakeHeader(const std::vector<TensorPlan>& plan,
                       const std::vector<Place>& places) {
  nlohmann::json header = nlohmann::json::object();
  header["__metadata__"] = {{"format", "pt"}};
  for (size_t i = 0; i < plan.size(); ++i) {
    header[plan[i].name] = {{"dtype", std::string(ToString(plan[i].dtype))},
                            {"shape", plan[i].shape},
                            {"data_offsets", {places[i].begin, places[i].end}}};
  }
  std::string text =
      header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const size_t bytes = kLengthBytes + text.size();
  text.append((kDataAlignment - bytes % kDataAlignment) % kDataAlignment, ' ');
  std::string file_start;
  for (int i = 0; i < kLengthBytes; ++i) {
    file_start.push_back(static_cast<char>(text.size() >> (8 * i) & 0xff));
  }
  return file_start + text;
}

}  // namespace

// Owns the unfinished file: what the destructor still finds is removed.
struct SafetensorsWriter::State {
  std::string path;
  std::string partial_path;
  int descriptor = -1;
  int64_t data_begin = 0;  // byte of the file
  std::vector<TensorPlan> plan;
  std::vector<Place> places;
  size_t tensor_index = 0;  // the one that the next byte belongs to
  int64_t written = 0;      // bytes of it that are there

  ~State() {
    if (descriptor >= 0) close(descriptor);
    if (!partial_path.empty()) unlink(partial_path.c_str());
  }

  absl::Status SystemError(const char* action) const {
    const int code = errno;
    const std::string message =
        fmt::format("{}: cannot {}: {}", path, action, strerror(code));
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
      return absl::ResourceExhaustedError(message);
    }
    return absl::UnavailableError(message);
  }

  absl::Status WriteAt(const uint8_t* data, int64_t count, int64_t position) {
    // A short write is no error yet; the next one tells why.
    while (count > 0) {
      const ssize_t done =
          pwrite(descriptor, data, static_cast<size_t>(count), position);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) {
        if (done == 0) errno = ENOSPC;
        return SystemError("write");
      }
      data += done;
      count -= done;
      position += done;
    }
    return absl::OkStatus();
  }
};

SafetensorsWriter::SafetensorsWriter() : state_(std::make_unique<State>()) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) = default;
SafetensorsWriter::~SafetensorsWriter() = default;

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, std::vector<TensorPlan> plan) {
  SafetensorsWriter writer;
  State& state = *writer.state_;
  state.path = path;
  state.plan = std::move(plan);
  ZQFP_ASSIGN_OR_RETURN(state.places, LayOut(state.plan));
  const std::string header = MakeHeader(state.plan, state.places);
  const std::string partial = fmt::format("{}.partial-{}", path, getpid());
  state.descriptor =
      open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (state.descriptor < 0) return state.SystemError("create");
  state.partial_path = partial;
  state.data_begin = static_cast<int64_t>(header.size());
  ZQFP_RETURN_IF_ERROR(state.WriteAt(
      reinterpret_cast<const uint8_t*>(header.data()), state.data_begin, 0));
  return writer;
}

absl::Status SafetensorsWriter::Append(absl::Span<const uint8_t> bytes) {
  State& state = *state_;
  auto rest = static_cast<int64_t>(bytes.size());
  const uint8_t* data = bytes.data();
  // Offsets in the file jump from tensor to tensor; the plan's order does not.
  while (rest > 0) {
    if (state.tensor_index == state.plan.size()) {
      return absl::FailedPreconditionError(fmt::format(
          "{}: {} bytes more than the plan holds", state.path, rest));
    }
    const Place& place = state.places[state.tensor_index];
    const int64_t position = place.begin + state.written;
    const int64_t count = std::min(rest, place.end - position);
    ZQFP_RETURN_IF_ERROR(
        state.WriteAt(data, count, state.data_begin + position));
    data += count;
    rest -= count;
    state.written += count;
    if (position + count == place.end) {
      ++state.tensor_index;
      state.written = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  State& state = *state_;
  if (state.tensor_index != state.plan.size()) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: {} lacks bytes", state.path, state.plan[state.tensor_index].name));
  }
  // Some file systems report a full disk only here.
  if (fsync(state.descriptor) != 0) return state.SystemError("sync");
  const int descriptor = std::exchange(state.descriptor, -1);
  if (close(descriptor) != 0) return state.SystemError("close");
  if (rename(state.partial_path.c_str(), state.path.c_str()) != 0) {
    return state.SystemError("rename to it");
  }
  state.partial_path.clear();
  return absl::OkStatus();
}

}  // namespace zqfp
