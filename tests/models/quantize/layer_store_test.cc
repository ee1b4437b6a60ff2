// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/layer_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/models/quantize/calibrated_matrix.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

namespace fs = std::filesystem;
using testing::CalibratedMatrix;
using ::testing::HasSubstr;
using testing::QuantizeBench;
using testing::ScratchDirectory;

constexpr char kJob[] = "{\"what\": 1}\n";

LinearScheme Scheme() {
  LinearScheme scheme;
  scheme.grid.scales = {32, ScaleConstraint::kM2, ScaleRounding::kSearch};
  scheme.lorc = {.rank = 2};
  return scheme;
}

// Linears of two shapes, with reports that no field repeats.
std::vector<QuantizedLinear> Linears(uint32_t seed) {
  std::vector<QuantizedLinear> linears;
  QuantizeBench bench;
  for (const auto& [name, n, k] :
       {std::tuple("l.q", 5, 40), std::tuple("l.down", 3, 71)}) {
    const CalibratedMatrix m(n, k, 10, seed);
    linears.push_back(
        QuantizeLinear(Scheme(), {.name = name, .weights = m.weights, .k = k},
                       bench.machine()));
    linears.back().rounding = {.squared_error = 0.1 * seed,
                               .squared_sum = 1e300,
                               .num_weights = (int64_t{1} << 40) + n,
                               .max_shift = 13,
                               .clamped_groups = 7,
                               .clamped_rows = 2};
    linears.back().output_error = -1;
  }
  return linears;
}

std::vector<LayerStore::Shape> Shapes() {
  return {{"l.q", 5, 40}, {"l.down", 3, 71}};
}

void ExpectSame(const std::vector<QuantizedLinear>& found,
                const std::vector<QuantizedLinear>& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].name, wanted[i].name);
    ASSERT_EQ(found[i].pieces.size(), wanted[i].pieces.size());
    for (size_t p = 0; p < found[i].pieces.size(); ++p) {
      EXPECT_EQ(found[i].pieces[p].bytes, wanted[i].pieces[p].bytes);
    }
    const RoundingReport &a = found[i].rounding, &b = wanted[i].rounding;
    EXPECT_EQ(a.squared_error, b.squared_error);
    EXPECT_EQ(a.squared_sum, b.squared_sum);
    EXPECT_EQ(a.num_weights, b.num_weights);
    EXPECT_EQ(a.max_shift, b.max_shift);
    EXPECT_EQ(a.clamped_groups, b.clamped_groups);
    EXPECT_EQ(a.clamped_rows, b.clamped_rows);
    EXPECT_EQ(found[i].output_error, wanted[i].output_error);
  }
}

class LayerStoreTest : public ::testing::Test {
 protected:
  std::string output() const { return scratch_ / "out"; }
  std::string layers() const { return scratch_ / "out.layers"; }
  std::string layer(int index) const {
    return layers() + "/layer-0000" + std::to_string(index) + ".safetensors";
  }
  absl::StatusOr<LayerStore> Open(IfInterrupted what,
                                  const std::string& job = kJob) const {
    return LayerStore::Open(output(), job, what);
  }
  // Leaves two layers behind.
  void Interrupt() const {
    const auto store = Open(IfInterrupted::kRefuse);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE(store->Write(0, Linears(1)).ok());
    ASSERT_TRUE(store->Write(1, Linears(2)).ok());
  }
  std::string Message(IfInterrupted what, const std::string& job = kJob) const {
    return std::string(Open(what, job).status().message());
  }

  ScratchDirectory scratch_;
};

TEST_F(LayerStoreTest, LayersComeBackAsTheyWere) {
  const auto store = Open(IfInterrupted::kRefuse);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->path(), layers());
  EXPECT_EQ(store->num_layers(), 0);
  for (const int64_t index : {0, 1, 2}) {
    ASSERT_TRUE(store->Write(index, Linears(3 + index)).ok());
    EXPECT_EQ(store->num_layers(), index + 1);
  }
  for (const int64_t index : {2, 0, 1}) {
    const auto read = store->Read(index, Shapes(), Scheme());
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSame(*read, Linears(3 + index));
  }
  // One that is written again is the new one.
  ASSERT_TRUE(store->Write(1, Linears(9)).ok());
  ExpectSame(*store->Read(1, Shapes(), Scheme()), Linears(9));
  // Those that are not there are none, and no error.
  EXPECT_TRUE(store->Read(3, Shapes(), Scheme())->empty());
  store->Remove();
  EXPECT_FALSE(fs::exists(layers()));
}

TEST_F(LayerStoreTest, PathsEndAsUsersWriteThem) {
  for (const char* ending : {"", "/", "//", "/."}) {
    const auto store =
        LayerStore::Open(output() + ending, kJob, IfInterrupted::kStartOver);
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ(store->path(), layers()) << ending;
  }
}

TEST_F(LayerStoreTest, RefusesWhatAnotherRunLeft) {
  Interrupt();
  const auto refused = Open(IfInterrupted::kRefuse);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  const std::string message = Message(IfInterrupted::kRefuse);
  EXPECT_THAT(message, HasSubstr(layers()));
  EXPECT_THAT(message, HasSubstr("--resume"));
  EXPECT_THAT(message, HasSubstr("--overwrite"));
  EXPECT_TRUE(fs::exists(layer(1)));
}

TEST_F(LayerStoreTest, ResumesTheSameJob) {
  Interrupt();
  const auto store = Open(IfInterrupted::kResume);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->num_layers(), 2);
  ExpectSame(*store->Read(1, Shapes(), Scheme()), Linears(2));
}

// Where there is nothing to go on with, a job begins.
TEST_F(LayerStoreTest, ResumingNothingBegins) {
  const auto store = Open(IfInterrupted::kResume);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->num_layers(), 0);
  EXPECT_TRUE(Open(IfInterrupted::kResume).ok());
}

// A job that was killed before its file was whole left nothing to lose.
TEST_F(LayerStoreTest, AJobThatNeverBeganIsNoObstacle) {
  for (const IfInterrupted what :
       {IfInterrupted::kRefuse, IfInterrupted::kResume,
        IfInterrupted::kStartOver}) {
    fs::remove_all(layers());
    fs::create_directory(layers());
    EXPECT_TRUE(Open(what).ok()) << "an empty directory";
    fs::remove_all(layers());
    fs::create_directory(layers());
    scratch_.Write("out.layers/job.json.123.partial", "half a j");
    EXPECT_TRUE(Open(what).ok());
    EXPECT_FALSE(fs::exists(layers() + "/job.json.123.partial"));
  }
  // Beside layers it is ours to remove, and nothing to go on with.
  fs::remove_all(layers());
  Interrupt();
  fs::rename(layers() + "/job.json", layers() + "/job.json.123.partial");
  EXPECT_FALSE(Open(IfInterrupted::kResume).ok());
  EXPECT_TRUE(fs::exists(layer(0)));
  EXPECT_TRUE(Open(IfInterrupted::kStartOver).ok());
}

TEST_F(LayerStoreTest, RefusesToResumeAnotherJob) {
  for (const std::string& other :
       {std::string(), std::string(kJob) + " ", std::string("{}")}) {
    fs::remove_all(layers());
    Interrupt();
    const auto store = Open(IfInterrupted::kResume, other);
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Message(IfInterrupted::kResume, other),
                HasSubstr("found those of another"));
    EXPECT_TRUE(fs::exists(layer(1)));
  }
}

// A job file that is missing, cut short, a directory or endless.
TEST_F(LayerStoreTest, RefusesToResumeWithoutItsJob) {
  const auto expect_refused = [&] {
    const auto store = Open(IfInterrupted::kResume);
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(fs::exists(layer(0)));
  };
  Interrupt();
  fs::remove(layers() + "/job.json");
  expect_refused();
  scratch_.Write("out.layers/job.json", std::string(kJob).substr(0, 4));
  expect_refused();
  scratch_.Write("out.layers/job.json", std::string(3 << 20, ' '));
  expect_refused();
  fs::remove(layers() + "/job.json");
  fs::create_directory(layers() + "/job.json");
  expect_refused();
}

TEST_F(LayerStoreTest, StartsOver) {
  Interrupt();
  const auto store = Open(IfInterrupted::kStartOver, "another");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->num_layers(), 0);
  EXPECT_FALSE(fs::exists(layer(0)));
  EXPECT_TRUE(Open(IfInterrupted::kResume, "another").ok());
}

// What is called OUTPUT.layers but holds no job is somebody else's.
TEST_F(LayerStoreTest, StartingOverSparesWhatIsNoJob) {
  fs::create_directory(layers());
  scratch_.Write("out.layers/thesis.txt", "years of work");
  const auto store = Open(IfInterrupted::kStartOver);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("job.json"));
  EXPECT_TRUE(fs::exists(layers() + "/thesis.txt"));
  scratch_.Write("out.layers/job.json", kJob);
  EXPECT_FALSE(Open(IfInterrupted::kStartOver).ok());
  EXPECT_TRUE(fs::exists(layers() + "/thesis.txt"));
  fs::remove_all(layers());
  scratch_.Write("out.layers", "a file");
  EXPECT_FALSE(Open(IfInterrupted::kStartOver).ok());
  EXPECT_TRUE(fs::exists(layers()));
  // An empty one was made by a run that got no further.
  fs::remove(layers());
  fs::create_directory(layers());
  EXPECT_TRUE(Open(IfInterrupted::kStartOver).ok());
}

TEST_F(LayerStoreTest, DamagedLayersAreErrors) {
  Interrupt();
  const auto store = Open(IfInterrupted::kResume);
  ASSERT_TRUE(store.ok());
  const auto read = [&] { return store->Read(0, Shapes(), Scheme()); };
  std::ifstream file(layer(0), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(file)), {});
  const std::string name = "out.layers/layer-00000.safetensors";
  // A part of it, at every hundredth length; and not one of them crashes.
  for (size_t size = 0; size < whole.size(); size += whole.size() / 100) {
    scratch_.Write(name, whole.substr(0, size));
    EXPECT_FALSE(read().ok()) << size;
  }
  scratch_.Write(name, whole);
  EXPECT_TRUE(read().ok()) << read().status();
}

TEST_F(LayerStoreTest, LayersOfOtherShapesAreErrors) {
  Interrupt();
  const auto store = Open(IfInterrupted::kResume);
  ASSERT_TRUE(store.ok());
  const auto message = [&](const std::vector<LayerStore::Shape>& shapes,
                           const LinearScheme& scheme) {
    const auto read = store->Read(0, shapes, scheme);
    EXPECT_FALSE(read.ok());
    return std::string(read.status().message());
  };
  EXPECT_THAT(message({{"l.q", 6, 40}}, Scheme()), HasSubstr("l.q"));
  EXPECT_THAT(message({{"l.q", 5, 41}}, Scheme()), HasSubstr("l.q"));
  EXPECT_THAT(message({{"l.v", 5, 40}}, Scheme()), HasSubstr("l.v"));
  LinearScheme other = Scheme();
  other.lorc.rank = 3;
  EXPECT_THAT(message(Shapes(), other), HasSubstr("lorc"));
  other = Scheme();
  other.grid.format = GridFormat::kE4m3;
  EXPECT_THAT(message(Shapes(), other), HasSubstr("l.q.weight"));
}

// Numbers of a report that no rounding can give.
TEST_F(LayerStoreTest, ReportsThatCannotBeAreErrors) {
  Interrupt();
  const auto store = Open(IfInterrupted::kResume);
  ASSERT_TRUE(store.ok());
  std::vector<TensorPlan> plan = TensorsOfLinear("l.q", 5, 40, Scheme());
  size_t num_bytes = 0;
  for (const TensorPlan& tensor : plan) {
    int64_t count = ByteSize(tensor.dtype);
    for (const int64_t dim : tensor.shape) count *= dim;
    num_bytes += static_cast<size_t>(count);
  }
  const auto read = [&](DType dtype, const std::vector<double>& numbers) {
    std::vector<TensorPlan> all = plan;
    all.push_back(
        {"l.q.report",
         dtype,
         {static_cast<int64_t>(numbers.size()) * 8 / ByteSize(dtype)}});
    auto writer = SafetensorsWriter::Create(layer(0), all);
    EXPECT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(writer->Append(std::vector<uint8_t>(num_bytes)).ok());
    EXPECT_TRUE(writer
                    ->Append({reinterpret_cast<const uint8_t*>(numbers.data()),
                              8 * numbers.size()})
                    .ok());
    EXPECT_TRUE(writer->Finish().ok());
    return store->Read(0, {{"l.q", 5, 40}}, Scheme());
  };
  const std::vector<double> sound = {1, 2, 3, 4, 5, 6, 7};
  ASSERT_TRUE(read(DType::kF64, sound).ok());
  EXPECT_FALSE(read(DType::kF64, {1, 2, 3}).ok());
  EXPECT_FALSE(read(DType::kI64, sound).ok());
  for (size_t i = 0; i < sound.size(); ++i) {
    for (const double bad : {double{NAN}, double{INFINITY}, -1e300, 1e300}) {
      if (std::isfinite(bad) && (i < 2 || i == 6)) continue;  // real numbers
      std::vector<double> numbers = sound;
      numbers[i] = bad;
      const auto result = read(DType::kF64, numbers);
      EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss)
          << i << " " << bad;
      EXPECT_THAT(std::string(result.status().message()),
                  HasSubstr("l.q.report"));
    }
  }
}

// A layer all of whose linears are kept has no file.
TEST_F(LayerStoreTest, EmptyLayersLeaveNothing) {
  const auto store = Open(IfInterrupted::kRefuse);
  ASSERT_TRUE(store.ok());
  EXPECT_TRUE(store->Write(0, {}).ok());
  EXPECT_EQ(store->num_layers(), 0);
  EXPECT_TRUE(store->Read(0, {}, Scheme())->empty());
}

TEST_F(LayerStoreTest, PlacesThatCannotBeWritten) {
  scratch_.Write("file", "");
  for (const IfInterrupted what :
       {IfInterrupted::kRefuse, IfInterrupted::kResume,
        IfInterrupted::kStartOver}) {
    for (const std::string& place :
         {scratch_ / "file/out", std::string("/proc/nothing/out")}) {
      const auto store = LayerStore::Open(place, kJob, what);
      EXPECT_FALSE(store.ok());
      EXPECT_THAT(std::string(store.status().message()),
                  HasSubstr(place + ".layers"));
    }
  }
  // Gone while the job ran.
  const auto store = Open(IfInterrupted::kRefuse);
  ASSERT_TRUE(store.ok());
  fs::remove_all(layers());
  const absl::Status status = store->Write(0, Linears(1));
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(layer(0)));
}

}  // namespace
}  // namespace zqfp
