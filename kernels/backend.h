// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_BACKEND_H_
#define ZQFP_KERNELS_BACKEND_H_

// Picks the kernels for this machine, and says which it picked.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/ops.h"

namespace zqfp::kernels {

class DeviceLab;  // kernels/core/device_lab.h

// One row of the op x backend matrix: which table serves the op.
struct OpSource {
  std::string op;     // "matmul_a8"
  std::string table;  // "avx512bf16"
};

// A complete table: every op is there, taken from the first table of the
// ordered list (best first) that has it.
struct Backend {
  std::string name;  // of the best table in it
  // No null slot but workspace_bytes, multiply, top_logits and the fused ones.
  OpTable ops;
  std::vector<OpSource> sources;
  // Bytes of workspace any op of any table in it may need.
  int64_t WorkspaceBytes(const WorkspaceQuery& query) const;
  std::vector<const OpTable*> tables;  // those it was made of, best first
  Device* device = nullptr;            // where its memory is; null: the host's
  DeviceLab* lab = nullptr;            // for measuring it, where there is one
};

// A backend with a device: complete in itself, it falls to no other table.
struct DeviceBackend {
  const OpTable* table;
  // The one device of the process; FailedPrecondition where there is none.
  absl::StatusOr<Device*> (*open)();
  bool automatic = true;  // "auto" may take it; else by name only
  absl::StatusOr<DeviceLab*> (*open_lab)() = nullptr;
};

// Makes a device backend known to MakeBackend by its table's name. Called
// before the first MakeBackend, once.
void RegisterDeviceBackend(const DeviceBackend& backend);

// Names of all tables that were built, best first; of those, the ones this
// machine can run; and of those, the ones whose memory is the host's.
std::vector<std::string> BuiltBackends();
std::vector<std::string> RunnableBackends();
std::vector<std::string> HostBackends();

// The backend with this name, made of that table and those below it.
// NotFound for an unknown name; FailedPrecondition where the machine lacks the
// instructions, naming them. Never substitutes another one.
absl::StatusOr<Backend> MakeBackend(const std::string& name);

// ZQFP_BACKEND where set and non-empty, else the best that runs on `device`:
// "cpu", the name of a device backend, or "auto", which is the first device
// that is there and else the CPU. InvalidArgument for another name.
absl::StatusOr<Backend> SelectBackend(const std::string& device = "auto");

// Why "auto" takes the CPU although this build has kernels for a device: it is
// not there, or it is and they are taken by name only. Empty where it does not,
// or there is nothing to say.
std::string WhyNoDevice();

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_BACKEND_H_
