// SPDX-License-Identifier: Apache-2.0
#include "kernels/backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/validate.h"
#include "kernels/cpu/tables.h"
#include "kernels/reference/reference.h"
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#if defined(ZQFP_WITH_CUDA)
#include "kernels/cuda/device.h"
#include "kernels/cuda/lab.h"
#include "kernels/cuda/table.h"
#endif

namespace zqfp::kernels {
namespace {

// One entry of the ordered list: what it needs and whether it is here.
struct Implementation {
  const OpTable* table;
  const char* needs;
  bool (*runs_here)();
  // Whether the next one that runs here is faster on this machine.
  bool (*is_slow_here)();
};

bool Always() { return true; }
bool Never() { return false; }

#if defined(__x86_64__)
// clang 14's __builtin_cpu_supports does not know the name "f16c".
bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
// __builtin_cpu_supports also asks whether the kernel saves the registers.
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         HasF16c();
}
bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}
bool HasAvx512Vnni() {
  return HasAvx512() && __builtin_cpu_supports("avx512vnni");
}
bool HasAvx512Bf16() {
  return HasAvx512() && __builtin_cpu_supports("avx512bf16");
}
// The kernel hands a process the tile registers only when asked to; it is,
// here, once. Threads have what their process has.
bool MayUseTiles() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool granted =
      syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}
bool HasAmx() {
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return HasAvx512Bf16() && HasAvx512Vnni() &&
         __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & kAmxBf16) != 0 && (edx & kAmxTile) != 0 && MayUseTiles();
}
// Intel's cores start a BF16 dot every other cycle, two of 16-bit integers in
// each (Emerald Rapids: 1.36 and 5.8 G/s, November 2026); AMD's as many of one
// kind as of the other, and those of BF16 need no second plane.
bool HasSlowBf16() { return __builtin_cpu_is("intel") && HasAvx512Vnni(); }
#endif

// Best first, on most machines; at most kMostImplementations.
const std::vector<Implementation>& Implementations() {
  static const std::vector<Implementation>& list =
      *new std::vector<Implementation> {
#if defined(__x86_64__)
    {&kAmxTable, "AMX for BF16, AVX-512 with BF16 and VNNI", HasAmx, Never},
        {&kAvx512Bf16Table, "AVX-512 F, BW, VL, DQ and BF16", HasAvx512Bf16,
         HasSlowBf16},
        {&kAvx512VnniTable, "AVX-512 F, BW, VL, DQ and VNNI", HasAvx512Vnni,
         Never},
        {&kAvx512Table, "AVX-512 F, BW, VL and DQ", HasAvx512, Never},
        {&kAvx2Table, "AVX2, FMA and F16C", HasAvx2, Never},
#elif defined(__aarch64__)
    {&kNeonTable, "NEON, which every AArch64 has", Always, Never},
#endif
        {&kReferenceTable, "nothing", Always, Never},
  };
  return list;
}

// Those with a device: what this build has and what somebody registered.
std::vector<DeviceBackend>& DeviceBackends() {
  static std::vector<DeviceBackend>& list = *new std::vector<DeviceBackend> {
#if defined(ZQFP_WITH_CUDA)
    // Until tools/gpu_check.sh has passed on a chip, by name only.
    {&cuda::kTable, cuda::OpenDevice, /*automatic=*/false, cuda::OpenLab},
#endif
  };
  return list;
}

#if !defined(NDEBUG)
constexpr size_t kMostImplementations = 8;

// Stands in kSlot of debug builds: the op of Implementations()[kIndex], once
// its arguments are what its card wants.
template <auto kSlot, size_t kIndex, typename Args>
void ValidateAndRun(const Args& args, const Exec& exec) noexcept {
  const absl::Status valid = Validate(args);
  if (!valid.ok()) fmt::print(stderr, "{}\n", std::string(valid.message()));
  ZQFP_CHECK(valid.ok());
  (Implementations()[kIndex].table->*kSlot)(args, exec);
}

template <auto kSlot, typename Args, size_t... kIndex>
void AddValidation(const OpTable& table,
                   void (*&slot)(const Args&, const Exec&) noexcept,
                   std::index_sequence<kIndex...>) {
  constexpr decltype(&ValidateAndRun<kSlot, 0, Args>) kOps[] = {
      ValidateAndRun<kSlot, kIndex, Args>...};
  for (size_t i = 0; i < Implementations().size(); ++i) {
    if (Implementations()[i].table == &table) slot = kOps[i];
  }
}
#endif

// Fills one empty slot of `backend` from `table` and notes who filled it.
template <auto kSlot>
void Fill(Backend& backend, const OpTable& table, const char* name) {
  if (backend.ops.*kSlot != nullptr || table.*kSlot == nullptr) return;
  backend.ops.*kSlot = table.*kSlot;
#if !defined(NDEBUG)
  AddValidation<kSlot>(table, backend.ops.*kSlot,
                       std::make_index_sequence<kMostImplementations>());
#endif
  backend.sources.push_back({name, table.name});
}

void Merge(Backend& backend, const OpTable& table) {
  if (backend.tables.empty()) {
    backend.ops.fused = table.fused;
    backend.ops.top_logits = table.top_logits;
  }
  backend.tables.push_back(&table);
  if (backend.ops.multiply == nullptr) backend.ops.multiply = table.multiply;
  Fill<&OpTable::embed>(backend, table, "embed");
  Fill<&OpTable::gather_rows>(backend, table, "gather_rows");
  Fill<&OpTable::add_positions>(backend, table, "add_positions");
  Fill<&OpTable::rms_norm>(backend, table, "rms_norm");
  Fill<&OpTable::layer_norm>(backend, table, "layer_norm");
  Fill<&OpTable::quantize_tokens>(backend, table, "quantize_tokens");
  Fill<&OpTable::matmul>(backend, table, "matmul");
  Fill<&OpTable::matmul_a8>(backend, table, "matmul_a8");
  Fill<&OpTable::rope>(backend, table, "rope");
  Fill<&OpTable::store_kv>(backend, table, "store_kv");
  Fill<&OpTable::attention>(backend, table, "attention");
  Fill<&OpTable::activate>(backend, table, "activate");
  Fill<&OpTable::softcap>(backend, table, "softcap");
}

// ZQFP_BACKEND, "" where it is not set.
std::string BackendOfEnvironment() {
  const char* name = getenv("ZQFP_BACKEND");
  return name != nullptr ? name : "";
}

absl::StatusOr<Backend> OpenDevice(const DeviceBackend& entry) {
  Backend backend = {.name = entry.table->name};
  backend.ops.name = entry.table->name;
  ZQFP_ASSIGN_OR_RETURN(backend.device, entry.open());
  if (entry.open_lab != nullptr) {
    ZQFP_ASSIGN_OR_RETURN(backend.lab, entry.open_lab());
  }
  Merge(backend, *entry.table);
  return backend;
}

}  // namespace

void RegisterDeviceBackend(const DeviceBackend& backend) {
  DeviceBackends().push_back(backend);
}

int64_t Backend::WorkspaceBytes(const WorkspaceQuery& query) const {
  int64_t bytes = 0;
  for (const OpTable* table : tables) {
    if (table->workspace_bytes != nullptr) {
      bytes = std::max(bytes, table->workspace_bytes(query));
    }
  }
  return bytes;
}

std::vector<std::string> BuiltBackends() {
  std::vector<std::string> names;
  for (const DeviceBackend& entry : DeviceBackends()) {
    if (entry.automatic) names.push_back(entry.table->name);
  }
  for (const Implementation& entry : Implementations()) {
    names.push_back(entry.table->name);
  }
  for (const DeviceBackend& entry : DeviceBackends()) {
    if (!entry.automatic) names.push_back(entry.table->name);
  }
  return names;
}

std::vector<std::string> RunnableBackends() {
  std::vector<std::string> names;
  for (const std::string& name : BuiltBackends()) {
    if (MakeBackend(name).ok()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> HostBackends() {
  std::vector<std::string> names;
  for (const Implementation& entry : Implementations()) {
    if (entry.runs_here()) names.push_back(entry.table->name);
  }
  return names;
}

absl::StatusOr<Backend> MakeBackend(const std::string& name) {
  for (const DeviceBackend& entry : DeviceBackends()) {
    if (name == entry.table->name) return OpenDevice(entry);
  }
  Backend backend = {.name = name};
  backend.ops.name = "";
  for (const Implementation& entry : Implementations()) {
    const bool found = !backend.tables.empty() || name == entry.table->name;
    if (!found) continue;
    if (!entry.runs_here()) {
      return absl::FailedPreconditionError(
          fmt::format("backend {}: want a processor with {}, this one lacks it",
                      name, entry.needs));
    }
    if (backend.tables.empty()) backend.ops.name = entry.table->name;
    Merge(backend, *entry.table);
  }
  if (backend.tables.empty()) {
    return absl::NotFoundError(
        fmt::format("backend: want one of {}, found '{}'{}",
                    fmt::join(BuiltBackends(), ", "), name,
                    name == "cuda" ? " (this build has no CUDA kernels)" : ""));
  }
  return backend;
}

absl::StatusOr<Backend> SelectBackend(const std::string& device) {
  const std::string wanted = BackendOfEnvironment();
  if (!wanted.empty()) return MakeBackend(wanted);
  std::vector<std::string> known = {"auto", "cpu"};
  for (const DeviceBackend& entry : DeviceBackends()) {
    known.push_back(entry.table->name);
    const bool automatic =
        device == "auto" && entry.automatic && entry.open().ok();
    if (automatic || device == entry.table->name) return OpenDevice(entry);
  }
  if (device != "auto" && device != "cpu") {
    return absl::InvalidArgumentError(fmt::format(
        "device: want one of {}, found '{}'{}", fmt::join(known, ", "), device,
        device == "cuda" ? " (this build has no CUDA kernels)" : ""));
  }
  for (const Implementation& entry : Implementations()) {
    if (entry.runs_here() && !entry.is_slow_here()) {
      return MakeBackend(entry.table->name);
    }
  }
  return MakeBackend("reference");
}

std::string WhyNoDevice() {
  std::string reasons;
  if (!BackendOfEnvironment().empty()) return reasons;
  for (const DeviceBackend& entry : DeviceBackends()) {
    const absl::Status status = entry.open().status();
    if (entry.automatic && status.ok()) return "";
    if (entry.automatic) reasons = std::string(status.message());
    if (!entry.automatic && status.ok()) {
      reasons = fmt::format(
          "the kernels of {0} have not been proved on a chip yet, --device {0} "
          "takes them",
          entry.table->name);
    }
  }
  return reasons;
}

}  // namespace zqfp::kernels
