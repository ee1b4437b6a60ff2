// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_KERNELS_CORE_DEVICE_LAB_H_
#define ZQFP_KERNELS_CORE_DEVICE_LAB_H_

// DeviceLab: what measuring a device takes besides its ops. Its clock, random
// data that are made where they are needed, loops that show what the device can
// do at most, other people's matrix products, and single paths of our own.
//
// All of it goes to the stream of Device, in order with the ops.

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/core/device.h"
#include "kernels/core/library_gemm.h"
#include "kernels/core/ops.h"
#include "kernels/core/random_values.h"

namespace zqfp::kernels {

// Microseconds of one call.
struct Timing {
  double median_us = 0;
  double min_us = 0;
  double p90_us = 0;
  int64_t samples = 0;  // each of several calls
  int64_t calls = 0;
};

// How calls come to the device: each for itself, or a sample's at once, so that
// what takes less time than a launch is not measured as one.
enum class TimedAs : uint8_t { kLaunches, kRecordedOps };

// Points in the work of the stream, by the device's own clock. Ops between two
// of them run as they do alone: none begins before the one in front has ended.
class StreamMarks {
 public:
  virtual ~StreamMarks() = default;
  virtual void Add() = 0;
  // Waits for all of them; microseconds between each and the next. Forgets
  // them. Internal with the first error of any.
  virtual absl::StatusOr<std::vector<double>> Take() = 0;
};

// Whether a kernel may begin before the one in front of it has ended.
enum class LaunchOverlap : uint8_t { kNo, kYes };

struct TimeLimits {
  TimedAs as = TimedAs::kRecordedOps;
  // A sample is a multiple of so many calls, which read different copies of
  // what a cache could keep.
  int64_t rotation = 1;
  double sample_us =
      200;               // at least so long, so that starting it does not count
  int64_t samples = 50;  // fewer where the time is over, but 3 at least
  double most_seconds = 0.1;
};

// How memory is read: loads of 16 bytes of all threads, or copies of 16 KB to
// shared memory, each of one thread.
enum class ReadBy : uint8_t { kLoads, kBulkCopies };

// Our own ways of a MatmulA8.
enum class MatmulPath : uint8_t {
  kHmma,     // the one kernel of few tokens
  kLibrary,  // to e4m3 rows, then the library
  kWgmma,    // the one kernel between them, a variant for each of its tiles
};

class DeviceLab {
 public:
  virtual ~DeviceLab() = default;

  virtual Device& device() = 0;

  // What `enqueue` puts on the stream as call i, measured on the device: some
  // calls to get warm, then samples until a limit. An error of the calls is
  // one.
  virtual absl::StatusOr<Timing> TimeRepeated(
      const TimeLimits& limits,
      const std::function<void(int64_t call)>& enqueue) = 0;
  virtual std::unique_ptr<StreamMarks> MakeMarks() = 0;

  // --- Data -----------------------------------------------------------------

  // Elements [0, count) of that kind and seed.
  virtual void Fill(RandomKind kind, uint64_t seed, float unit, int64_t count,
                    void* memory) = 0;
  // Device::Place of a weight whose arrays are on the device already; they may
  // go when it returns. Formats with codes only.
  virtual absl::StatusOr<PlacedWeight> Pack(const WeightView& weight) = 0;

  // --- Ceilings -------------------------------------------------------------

  virtual void Copy(const void* from, int64_t num_bytes, void* to) = 0;
  // `sums` has kReadSumsBytes.
  static constexpr int64_t kReadSumsBytes = 65536;
  virtual void Read(ReadBy by, const void* from, int64_t num_bytes,
                    void* sums) = 0;
  // A kernel that does nothing.
  virtual void Nothing(LaunchOverlap overlap) = 0;
  // Products of 16-bit tensor-core fragments, from registers alone; returns
  // their flops. `sink` has kReadSumsBytes.
  virtual int64_t Multiply(int64_t rounds, void* sink) = 0;
  // The same of 8-bit fragments by warpgroups, 64 rows in registers times so
  // many columns in shared memory: 32, 64 or 128.
  virtual int64_t MultiplyFp8(int columns, int64_t rounds, void* sink) = 0;

  // --- Matrix products ------------------------------------------------------

  // How many algorithms the library offers, up to 4; 0: none, no library, or
  // arrays that are not 16-byte aligned.
  virtual int64_t NumAlgorithms(const LibraryGemm& gemm) = 0;
  // With the algorithm of that index; `workspace` has kLibraryWorkspaceBytes.
  // Internal where the library refuses.
  virtual absl::Status Multiply(const LibraryGemm& gemm, int64_t algorithm,
                                void* workspace) = 0;

  // Bytes of Exec::workspace for either path.
  virtual int64_t PathWorkspaceBytes(int64_t m, int64_t k) = 0;
  // "64 x 256", tokens and rows of a tile; "" where a path has no such variant.
  virtual std::string VariantName(MatmulPath path, int variant) = 0;
  // False, and nothing is done, where the path cannot.
  virtual bool MatmulA8On(MatmulPath path, int variant,
                          const MatmulA8Args& args, const Exec& exec) = 0;
  // Writes a placed weight as rows of e4m3, `to` [n, k]. False where the format
  // has no such form.
  virtual bool UnpackFp8(const WeightView& weight, void* to) = 0;

  // Over how many blocks the keys of one tile of queries are split.
  virtual int64_t AttentionSplits(const AttentionArgs& args) = 0;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_KERNELS_CORE_DEVICE_LAB_H_
