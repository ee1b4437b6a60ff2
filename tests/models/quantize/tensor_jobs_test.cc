// SPDX-License-Identifier: Apache-2.0
#include "models/quantize/tensor_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "tests/models/editable_checkpoint.h"
#include "tests/models/quantize/exact_linear.h"

namespace zqfp {
namespace {

using testing::EditableCheckpoint;
using ::testing::ElementsAre;
using testing::ExactWeights;
using ::testing::HasSubstr;
using testing::ScratchDirectory;

// Of one job: what it wrote, in the order of its outputs, and reported.
struct Result {
  absl::Status status;
  QuantizedLinear written;
  QuantizeReport report;
  std::vector<QuantizeProgress> progress;
};

// One tensor in a file, and jobs on it.
class TensorJobsTest : public ::testing::Test {
 protected:
  void Store(const std::string& dtype, std::vector<int64_t> shape,
             const std::string& bytes) {
    EditableCheckpoint file;
    file.config = nlohmann::json::object();
    file.tensors["a.weight"] = {dtype, std::move(shape), bytes};
    file.Write(scratch_);
    checkpoint_.emplace(*Checkpoint::Open(scratch_.path()));
  }
  void StoreFloats(std::vector<int64_t> shape, const std::vector<float>& w) {
    Store("F32", std::move(shape),
          std::string(reinterpret_cast<const char*>(w.data()), 4 * w.size()));
  }

  const Tensor* source() const { return checkpoint_->Find("a.weight"); }
  QuantizeJob Quantize(const LinearScheme& scheme, int64_t layer = -1) const {
    return {.name = "a",
            .source = source(),
            .treatment = Treatment::kQuantize,
            .scheme = scheme,
            .calibrated_layer = layer,
            .outputs = TensorsOfLinear("a", source()->shape[0],
                                       source()->shape[1], scheme)};
  }
  QuantizeJob Keep(Treatment treatment) const {
    const DType dtype =
        treatment == Treatment::kToBf16 ? DType::kBf16 : source()->dtype;
    return {.name = "a",
            .source = source(),
            .treatment = treatment,
            .outputs = {{"a.weight", dtype, source()->shape}}};
  }

  Result Run(const QuantizeJob& job, TensorJobs::Options options = {}) const {
    Result result;
    options.num_threads = 2;
    options.total_bytes = source()->num_bytes;
    if (!options.progress) {
      options.progress = [&](const QuantizeProgress& progress) {
        result.progress.push_back(progress);
        return absl::OkStatus();
      };
    }
    auto jobs = TensorJobs::Create(std::move(options));
    auto writer = SafetensorsWriter::Create(scratch_ / "out", job.outputs);
    EXPECT_TRUE(jobs.ok() && writer.ok());
    result.status = jobs->Run(job, *writer, result.report);
    if (!result.status.ok()) return result;
    const absl::Status finished = writer->Finish();
    EXPECT_TRUE(finished.ok()) << finished;
    const auto file = Checkpoint::OpenFile(scratch_ / "out");
    result.written = {
        .name = "a", .n = source()->shape[0], .k = source()->shape.back()};
    for (const TensorPlan& plan : job.outputs) {
      const Tensor* tensor = *file->Get(plan.name);
      result.written.pieces.push_back(
          {plan, {tensor->data, tensor->data + tensor->num_bytes}});
    }
    return result;
  }

  ScratchDirectory scratch_;
  std::optional<Checkpoint> checkpoint_;
};

std::vector<float> Random(int64_t count) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> w;
  for (int64_t i = 0; i < count; ++i) w.push_back(normal(random));
  return w;
}

LinearScheme Scheme(GridFormat format, ScaleConstraint constraint,
                    int64_t rank) {
  LinearScheme scheme;
  scheme.grid = {format, {32, constraint, ScaleRounding::kSearch}};
  scheme.lorc = {.rank = rank};
  return scheme;
}

TEST_F(TensorJobsTest, CopiesBytes) {
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    const bool wide = std::string(dtype) == "F32";
    std::string bytes(wide ? 60 : 30, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<char>(7 * i % 60);  // no NaN
    }
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{3, 5}, std::vector<int64_t>{15}}) {
      Store(dtype, shape, bytes);
      const Result result = Run(Keep(Treatment::kCopy));
      ASSERT_TRUE(result.status.ok()) << result.status;
      const auto& copied = result.written.pieces[0].bytes;
      EXPECT_EQ(std::string(copied.begin(), copied.end()), bytes);
      EXPECT_TRUE(result.report.tensors.empty());
    }
  }
}

// To nearest, ties to even: of 8 bits the last is worth 2^-7 at 1.
TEST_F(TensorJobsTest, RoundsToBf16) {
  StoreFloats({2, 4}, {1, 1.00390625f, 1.01171875f, -1.0039064f, 0.1f, -0.0f,
                       3.3e38f, 1e-40f});
  const Result result = Run(Keep(Treatment::kToBf16));
  ASSERT_TRUE(result.status.ok()) << result.status;
  const std::vector<double> found =
      testing::PieceValues(result.written, ".weight");
  EXPECT_THAT(std::vector<double>(found.begin(), found.begin() + 6),
              ElementsAre(1, 1, 1.015625, -1.0078125, 0.10009765625, 0));
  EXPECT_NEAR(found[6], 3.3e38, 3.3e38 / 256);
  EXPECT_NEAR(found[7], 1e-40, 1e-40);
  // The largest f32 numbers have no bf16.
  StoreFloats({1, 2}, {1, 3.4e38f});
  const absl::Status status = Run(Keep(Treatment::kToBf16)).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("a.weight: want weights within the range of bf16"));
}

// A block at a time or a tensor at a time, the report is that of the tensors.
TEST_F(TensorJobsTest, QuantizesInEveryScheme) {
  const std::vector<float> w = Random(9 * 71);
  StoreFloats({9, 71}, w);
  double all = 0;
  for (const float value : w) all += double{value} * value;
  for (const GridFormat format : {GridFormat::kE2m1, GridFormat::kE4m3,
                                  GridFormat::kInt4, GridFormat::kInt8}) {
    for (const ScaleConstraint constraint :
         {ScaleConstraint::kFree, ScaleConstraint::kM1, ScaleConstraint::kM2}) {
      for (const int64_t rank : {0, 2}) {
        const Result result = Run(Quantize(Scheme(format, constraint, rank)));
        ASSERT_TRUE(result.status.ok()) << result.status;
        const std::vector<double> exact = ExactWeights(result.written, 32);
        double error = 0;
        for (size_t i = 0; i < w.size(); ++i) {
          error += (w[i] - exact[i]) * (w[i] - exact[i]);
        }
        ASSERT_EQ(result.report.tensors.size(), 1u);
        const TensorReport& report = result.report.tensors[0];
        EXPECT_EQ(report.name, "a");
        EXPECT_EQ(report.format, ToString(format));
        EXPECT_EQ(report.rounding.num_weights, 9 * 71);
        EXPECT_NEAR(report.rounding.squared_error, error,
                    1e-3 * error + 1e-10 * all);
        EXPECT_NEAR(report.rounding.squared_sum, all, 1e-6 * all);
        EXPECT_LT(report.output_error, 0);
        EXPECT_LT(error, 0.03 * all) << ToString(format);
      }
    }
  }
}

// 2.2 million weights are two blocks, the second begins with row 2097.
TEST_F(TensorJobsTest, BlocksJoin) {
  const int64_t n = 2200, k = 1000;
  const std::vector<float> w = Random(n * k);
  StoreFloats({n, k}, w);
  const Result result =
      Run(Quantize(Scheme(GridFormat::kE4m3, ScaleConstraint::kFree, 0)));
  ASSERT_TRUE(result.status.ok()) << result.status;
  const auto codes = testing::PieceValues(result.written, ".weight");
  const auto scale = testing::PieceValues(result.written, ".weight_row_scale");
  ASSERT_EQ(scale.size(), static_cast<size_t>(n));
  for (const int64_t row : {0, 1, 2095, 2096, 2097, 2098, 2199}) {
    const std::vector<double> wanted =
        testing::RoundTokenToE4m3(w.data() + row * k, k);
    for (int64_t i = 0; i < k; ++i) {
      ASSERT_EQ(scale[row] * codes[row * k + i], wanted[i]) << row << " " << i;
    }
  }
  EXPECT_EQ(result.report.tensors[0].rounding.num_weights, n * k);
  ASSERT_EQ(result.progress.size(), 2u);
  EXPECT_NEAR(result.progress[0].share, 2097.0 / 2200, 1e-9);
  EXPECT_NEAR(result.progress[1].share, 1, 1e-9);
  EXPECT_EQ(result.progress[1].note, "a");
  // Anything but OK ends it.
  const Result stopped = Run(
      Quantize(Scheme(GridFormat::kE4m3, ScaleConstraint::kFree, 0)),
      {.progress = [](const auto&) { return absl::CancelledError("stop"); }});
  EXPECT_EQ(stopped.status.code(), absl::StatusCode::kCancelled);
}

// The element is counted from the tensor's start, whatever block it is in.
TEST_F(TensorJobsTest, NamesTheElementThatIsNotFinite) {
  std::vector<float> w(2200 * 1000, 0.5f);
  w[2150 * 1000 + 3] = NAN;
  StoreFloats({2200, 1000}, w);
  for (const LinearScheme& scheme :
       {Scheme(GridFormat::kE2m1, ScaleConstraint::kM2, 0),
        Scheme(GridFormat::kE2m1, ScaleConstraint::kM2, 2),
        Scheme(GridFormat::kInt4, ScaleConstraint::kFree, 0)}) {
    const absl::Status status = Run(Quantize(scheme)).status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a.weight"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("2150003"));
  }
  EXPECT_FALSE(Run(Keep(Treatment::kCopy)).status.ok());
  EXPECT_FALSE(Run(Keep(Treatment::kToBf16)).status.ok());
}

TEST_F(TensorJobsTest, CalibratedLinearsComeFromTheirLayer) {
  StoreFloats({4, 32}, Random(4 * 32));
  const LinearScheme scheme =
      Scheme(GridFormat::kE4m3, ScaleConstraint::kFree, 0);
  QuantizedLinear linear = Run(Quantize(scheme)).written;
  linear.pieces[0].bytes[5] = 0x11;
  linear.output_error = 0.25;
  std::vector<int64_t> asked;
  TensorJobs::Options options;
  options.layer =
      [&](int64_t layer) -> absl::StatusOr<TensorJobs::CalibratedLayer> {
    asked.push_back(layer);
    return TensorJobs::CalibratedLayer{{"a", linear}};
  };
  const Result result = Run(Quantize(scheme, 3), options);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(asked, ElementsAre(3));
  EXPECT_EQ(result.written.pieces[0].bytes, linear.pieces[0].bytes);
  EXPECT_EQ(result.report.tensors[0].output_error, 0.25);
  // A layer that went away, or is damaged, while the model is written.
  options.layer = [](int64_t) { return TensorJobs::CalibratedLayer(); };
  EXPECT_EQ(Run(Quantize(scheme, 3), options).status.code(),
            absl::StatusCode::kDataLoss);
  options.layer = [](int64_t) -> absl::StatusOr<TensorJobs::CalibratedLayer> {
    return absl::NotFoundError("gone");
  };
  EXPECT_EQ(Run(Quantize(scheme, 3), options).status.message(), "gone");
}

}  // namespace
}  // namespace zqfp
