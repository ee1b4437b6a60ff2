// SPDX-License-Identifier: Apache-2.0
#include "kernels/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu/tables.h"
#include "kernels/reference/reference.h"

namespace zqfp::kernels {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Sets ZQFP_BACKEND for the life of one test and puts back what was there.
class Override {
 public:
  explicit Override(const char* value) {
    const char* before = getenv("ZQFP_BACKEND");
    if (before != nullptr) before_ = before;
    was_set_ = before != nullptr;
    if (value != nullptr) {
      setenv("ZQFP_BACKEND", value, 1);
    } else {
      unsetenv("ZQFP_BACKEND");
    }
  }
  ~Override() {
    if (was_set_) {
      setenv("ZQFP_BACKEND", before_.c_str(), 1);
    } else {
      unsetenv("ZQFP_BACKEND");
    }
  }

 private:
  bool was_set_ = false;
  std::string before_;
};

// The backends without a device; which of the others there are is the build's
// business.
std::vector<std::string> OfTheHost(std::vector<std::string> names) {
  std::erase_if(
      names, [](const std::string& name) { return name.starts_with("cuda"); });
  return names;
}

bool CudaIsBuilt() {
  const std::vector<std::string> built = BuiltBackends();
  return std::count(built.begin(), built.end(), "cuda") > 0;
}

TEST(BackendTest, TheReferenceIsAlwaysBuiltAndLast) {
  EXPECT_EQ(OfTheHost(BuiltBackends()).back(), "reference");
  EXPECT_EQ(HostBackends().back(), "reference");
}

#if defined(__x86_64__)
TEST(BackendTest, TheListIsOrderedBestFirst) {
  EXPECT_THAT(OfTheHost(BuiltBackends()),
              ::testing::ElementsAre("amx", "avx512bf16", "avx512vnni",
                                     "avx512", "avx2", "reference"));
}

// Tiles before all; then BF16 dots, but on Intel's cores.
TEST(BackendTest, WithoutOverrideTheBestIsChosen) {
  const std::vector<std::string> here = HostBackends();
  const bool has_vnni = std::count(here.begin(), here.end(), "avx512vnni") > 0;
  const bool intel = __builtin_cpu_is("intel");
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const Override environment(value);
    const auto backend = SelectBackend("cpu");
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_EQ(backend->name, here.front() != "amx" && intel && has_vnni
                                 ? "avx512vnni"
                                 : here.front());
  }
}

// A second opinion about this machine: what the operating system says.
TEST(BackendTest, RunnableIsWhatTheProcessorHas) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line) && !line.starts_with("flags")) {
  }
  if (line.empty()) GTEST_SKIP() << "NOT RUN: /proc/cpuinfo lists no flags";
  std::istringstream words(line);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words),
                                    {}};
  const auto all = [&](std::initializer_list<const char*> needed) {
    return std::all_of(needed.begin(), needed.end(),
                       [&](const char* flag) { return flags.contains(flag); });
  };
  std::vector<std::string> expected;
  const bool avx2 = all({"avx2", "fma", "f16c"});
  const bool avx512 =
      avx2 && all({"avx512f", "avx512bw", "avx512vl", "avx512dq"});
  const std::vector<std::string> found = HostBackends();
  // A container may keep the tile registers from its processes.
  constexpr int kGetPermissions = 0x1022;  // ARCH_GET_XCOMP_PERM
  uint64_t permitted = 0;
  if (syscall(SYS_arch_prctl, kGetPermissions, &permitted) != 0) permitted = 0;
  if (avx512 && (permitted >> 18 & 1) != 0 &&
      all({"amx_tile", "amx_bf16", "avx512_bf16", "avx512_vnni"})) {
    expected.push_back("amx");
  }
  if (avx512 && all({"avx512_bf16"})) expected.push_back("avx512bf16");
  if (avx512 && all({"avx512_vnni"})) expected.push_back("avx512vnni");
  if (avx512) expected.push_back("avx512");
  if (avx2) expected.push_back("avx2");
  expected.push_back("reference");
  EXPECT_EQ(found, expected);
}
#elif defined(__aarch64__)
TEST(BackendTest, EveryAArch64HasNeonForEveryOp) {
  EXPECT_THAT(HostBackends(), ::testing::ElementsAre("neon", "reference"));
  const auto backend = MakeBackend("neon");
  ASSERT_TRUE(backend.ok()) << backend.status();
  for (const OpSource& source : backend->sources) {
    EXPECT_EQ(source.table, "neon") << source.op;
  }
}
#endif

// What zqfp-bench holds matmuls against: as many flops as rounds say, and not
// as fast as no work at all.
TEST(BackendTest, MultiplyingTakesTimeAndCountsItsFlops) {
  for (const std::string& name : HostBackends()) {
    const auto backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok()) << backend.status();
    const auto multiply = backend->ops.multiply;
    if (name == "reference") {
      EXPECT_EQ(multiply, nullptr);
      continue;
    }
    ASSERT_NE(multiply, nullptr) << name;
    EXPECT_GT(multiply(1), 0) << name;
    EXPECT_EQ(multiply(1000), 1000 * multiply(1)) << name;
    const auto start = std::chrono::steady_clock::now();
    const double flop = static_cast<double>(multiply(1 << 20));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    EXPECT_LT(flop / seconds, 1e13) << name;  // no core does 10 TFLOP/s
  }
}

TEST(BackendTest, EveryRunnableBackendIsComplete) {
  for (const std::string& name : RunnableBackends()) {
    const auto backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_EQ(backend->name, name);
    EXPECT_EQ(std::string(backend->ops.name), name);
    const OpTable& ops = backend->ops;
    EXPECT_TRUE(ops.embed && ops.gather_rows && ops.add_positions &&
                ops.rms_norm && ops.layer_norm && ops.quantize_tokens &&
                ops.matmul && ops.matmul_a8 && ops.rope && ops.store_kv &&
                ops.attention && ops.activate && ops.softcap)
        << name;
    std::set<std::string> named;
    for (const OpSource& source : backend->sources) {
      EXPECT_TRUE(named.insert(source.op).second) << source.op << " twice";
      EXPECT_THAT(BuiltBackends(), Contains(source.table));
      // A device cannot read what another table's op would write.
      EXPECT_TRUE(backend->device == nullptr || source.table == name);
    }
    EXPECT_EQ(named.size(), 13u) << name;
  }
}

TEST(BackendTest, TheReferenceBackendIsNothingButTheReference) {
  const auto backend = MakeBackend("reference");
  ASSERT_TRUE(backend.ok()) << backend.status();
  for (const OpSource& source : backend->sources) {
    EXPECT_EQ(source.table, "reference") << source.op;
  }
#if defined(NDEBUG)
  EXPECT_EQ(backend->ops.matmul_a8, kReferenceTable.matmul_a8);
  EXPECT_EQ(backend->ops.attention, kReferenceTable.attention);
#endif
  EXPECT_EQ(backend->WorkspaceBytes({.num_tokens = 512, .k = 4096, .n = 4096}),
            0);
}

// Tables never take from those above them.
TEST(BackendTest, AnEmptySlotFallsDownNotUp) {
  const std::vector<std::string> order = BuiltBackends();
  const auto rank = [&](const std::string& name) {
    return std::find(order.begin(), order.end(), name) - order.begin();
  };
  for (const std::string& name : RunnableBackends()) {
    const auto backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok());
    for (const OpSource& source : backend->sources) {
      EXPECT_GE(rank(source.table), rank(name)) << name << " " << source.op;
    }
  }
}

#if !defined(NDEBUG)
// A debug build asks whether the arguments are what the op's card wants.
TEST(BackendDeathTest, AnOpWithoutItsInputEndsADebugBuild) {
  for (const std::string& name : HostBackends()) {
    const auto backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok());
    float y[4];
    EXPECT_DEATH(
        backend->ops.softcap({.num_rows = 1, .dim = 4, .cap = -1, .x = y}, {}),
        "softcap.cap: want > 0, found -1");
  }
}
#endif

#if defined(__x86_64__) && defined(NDEBUG)
// The matrix tells the truth about matmul_a8, the op that matters most.
TEST(BackendTest, SourcesNameTheTableThatServes) {
  for (const std::string& name : RunnableBackends()) {
    const auto backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok());
    for (const OpSource& source : backend->sources) {
      if (source.op != "matmul_a8") continue;
      for (const OpTable* table :
           {&kAvx512Bf16Table, &kAvx512VnniTable, &kAvx512Table, &kAvx2Table,
            &kReferenceTable}) {
        if (source.table != table->name) continue;
        EXPECT_EQ(backend->ops.matmul_a8, table->matmul_a8) << name;
      }
    }
  }
}
#endif

#if defined(__aarch64__)
constexpr const char* kOfAnotherMachine = "avx2";
#else
constexpr const char* kOfAnotherMachine = "neon";
#endif

TEST(BackendTest, UnknownNamesAreErrorsThatListTheKnown) {
  for (const std::string name :
       {"avx", "AVX2", "", " reference", "sse2", kOfAnotherMachine}) {
    const auto backend = MakeBackend(name);
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kNotFound) << name;
    EXPECT_THAT(std::string(backend.status().message()),
                HasSubstr("reference"));
    EXPECT_THAT(std::string(backend.status().message()),
                HasSubstr("'" + name + "'"));
  }
}

TEST(BackendTest, CudaWithoutItsKernelsIsAnErrorThatSaysSo) {
  if (CudaIsBuilt()) GTEST_SKIP() << "NOT RUN: this build has CUDA kernels";
  const auto backend = MakeBackend("cuda");
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(backend.status().message()), HasSubstr("no CUDA"));
}

// Only machines without a GPU can show this.
TEST(BackendTest, CudaWithoutAGpuIsAnErrorThatNamesWhatWasFound) {
  if (!CudaIsBuilt()) GTEST_SKIP() << "NOT RUN: no CUDA kernels in this build";
  const auto backend = MakeBackend("cuda");
  if (backend.ok()) GTEST_SKIP() << "NOT RUN: this machine has a GPU";
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(backend.status().message()),
              HasSubstr("want a GPU of compute capability 9.x, found "));
}

// Only machines without some instruction set can show this.
TEST(BackendTest, AMissingInstructionSetIsAnError) {
  const std::vector<std::string> runnable = RunnableBackends();
  int num_missing = 0;
  for (const std::string& name : OfTheHost(BuiltBackends())) {
    if (std::count(runnable.begin(), runnable.end(), name) > 0) continue;
    ++num_missing;
    const auto backend = MakeBackend(name);
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(backend.status().message()), HasSubstr("AVX"));
  }
  if (num_missing == 0) {
    GTEST_SKIP() << "NOT RUN: this machine has every instruction set";
  }
}

TEST(BackendTest, TheOverrideForcesEachBackend) {
  for (const std::string& name : RunnableBackends()) {
    const Override environment(name.c_str());
    const auto backend = SelectBackend();
    ASSERT_TRUE(backend.ok()) << backend.status();
    EXPECT_EQ(backend->name, name);
  }
}

TEST(BackendTest, ABadOverrideIsAnErrorNotAFallback) {
  for (const char* value : {"cuda9", "nonsense", "avx512,reference"}) {
    const Override environment(value);
    const auto backend = SelectBackend();
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kNotFound) << value;
    EXPECT_THAT(std::string(backend.status().message()), HasSubstr(value));
  }
}

}  // namespace
}  // namespace zqfp::kernels
