// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_OP_TEST_H_
#define ZQFP_TESTS_KERNELS_OP_TEST_H_

// OpTest: a test that runs on every backend of this machine, on one thread and
// on several.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/backends.h"
#include "tests/kernels/error_bound.h"
#include "tests/kernels/guarded_array.h"

namespace zqfp::kernels {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Machine {
  std::string backend;
  int num_threads;
};

// A device is one machine, whatever the threads of the host.
inline std::vector<Machine> DeviceMachines() {
  std::vector<Machine> machines;
  for (const std::string& backend : testing::DeviceBackends()) {
    machines.push_back({backend, 1});
  }
  return machines;
}

inline std::vector<Machine> Machines() {
  std::vector<Machine> machines = DeviceMachines();
  for (const std::string& backend : HostBackends()) {
    machines.push_back({backend, 1});
    machines.push_back({backend, 3});
  }
  return machines;
}

inline std::string MachineName(const ::testing::TestParamInfo<Machine>& info) {
  return info.param.backend + "_threads" +
         std::to_string(info.param.num_threads);
}

class OpTest : public ::testing::TestWithParam<Machine> {
 protected:
  void SetUp() override {
    auto backend = MakeBackend(GetParam().backend);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *backend;
    SharedArrays::device = backend_.device;
  }
  void TearDown() override { SharedArrays::device = nullptr; }

  // Until the ops so far are done, where they run on a device.
  void Wait() {
    if (backend_.device == nullptr) return;
    const absl::Status status = backend_.device->Synchronize();
    ASSERT_TRUE(status.ok()) << status;
  }

  // The weight as the backend's matmuls want it.
  WeightView Place(const WeightView& weight) {
    if (backend_.device == nullptr) return weight;
    auto placed = backend_.device->Place(weight);
    EXPECT_TRUE(placed.ok()) << placed.status();
    if (!placed.ok()) return weight;
    EXPECT_TRUE(backend_.device->Synchronize().ok());
    placed_ = std::move(*placed);
    return placed_.view;
  }

  const OpTable& ops() const { return backend_.ops; }
  const Backend& backend() const { return backend_; }

  // With as much workspace as the query asks for and not a cache line more.
  Exec MakeExec(WorkspaceQuery query) {
    query.num_threads = GetParam().num_threads;
    const int64_t bytes = backend_.WorkspaceBytes(query);
    const int64_t alignment = backend_.device != nullptr ? 256 : 64;
    workspace_ = GuardedArray<uint8_t>(
        (bytes + alignment - 1) / alignment * alignment, 0xff);
    Exec exec = {.workspace = workspace_.data()};
    if (backend_.device != nullptr) exec.stream = backend_.device->stream();
    if (GetParam().num_threads > 1) exec.parallel = Pool().parallel();
    return exec;
  }

 private:
  static ThreadPool& Pool() {
    static ThreadPool pool(3);
    return pool;
  }

  Backend backend_;
  PlacedWeight placed_;
  GuardedArray<uint8_t> workspace_;
};

#define ZQFP_FOR_ALL_MACHINES(test_class)        \
  INSTANTIATE_TEST_SUITE_P(Backends, test_class, \
                           ::testing::ValuesIn(Machines()), MachineName)

inline GuardedArray<float> RandomFloats(std::mt19937& random, int64_t size,
                                        float spread = 1.0f) {
  std::normal_distribution<float> normal(0.0f, spread);
  GuardedArray<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// An output before the op ran: an element that is left alone shows.
inline GuardedArray<float> Unwritten(int64_t size) {
  return GuardedArray<float>(size, 12345.678f);
}

// One exact output and how far a backend may be from it.
struct Expected {
  double value;
  double tolerance;
};

inline void ExpectClose(const GuardedArray<float>& found,
                        const std::vector<Expected>& wanted,
                        const std::string& what) {
  ASSERT_EQ(found.size(), static_cast<int64_t>(wanted.size())) << what;
  for (int64_t i = 0; i < found.size(); ++i) {
    const Expected& want = wanted[i];
    // Written so that a NaN fails.
    if (std::fabs(found[i] - want.value) <= want.tolerance) continue;
    FAIL() << what << ": element " << i << " of " << found.size() << " is "
           << found[i] << ", want " << want.value << " +- " << want.tolerance;
  }
}

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_OP_TEST_H_
