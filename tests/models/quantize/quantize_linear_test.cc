// SPDX-License-Identifier: Apache-2.0
// Every scheme: which tensors a linear becomes, that they stand for what is
// reported, that they survive a file, and what a matmul makes of them.
#include "models/quantize/quantize_linear.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "tests/models/quantize/calibrated_matrix.h"
#include "tests/models/quantize/exact_linear.h"
#include "tests/models/safetensors_file.h"

namespace zqfp {
namespace {

using kernels::ValueFormat;
using testing::CalibratedMatrix;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::ExactCodes;
using testing::ExactOutputError;
using testing::ExactWeights;
using ::testing::HasSubstr;
using testing::QuantizeBench;
using testing::ScratchDirectory;

constexpr int64_t kGroup = 32;

LinearScheme Scheme(GridFormat format, ScaleConstraint constraint,
                    int64_t rank = 0,
                    ValueFormat lorc_format = ValueFormat::kE4m3) {
  LinearScheme scheme;
  scheme.grid = {format, {kGroup, constraint, ScaleRounding::kSearch}};
  scheme.lorc = {.rank = rank, .format = lorc_format};
  return scheme;
}

// All that differ in their tensors, rounded to nearest.
std::vector<LinearScheme> Schemes() {
  std::vector<LinearScheme> schemes;
  for (const int64_t rank : {0, 3}) {
    for (const ValueFormat lorc : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
      if (rank == 0 && lorc == ValueFormat::kBf16) continue;
      for (const ScaleConstraint constraint :
           {ScaleConstraint::kFree, ScaleConstraint::kM1,
            ScaleConstraint::kM2}) {
        schemes.push_back(Scheme(GridFormat::kE2m1, constraint, rank, lorc));
      }
      schemes.push_back(
          Scheme(GridFormat::kE4m3, ScaleConstraint::kFree, rank, lorc));
    }
    for (const GridFormat format : {GridFormat::kInt4, GridFormat::kInt8}) {
      schemes.push_back(Scheme(format, ScaleConstraint::kFree, rank));
    }
  }
  return schemes;
}

std::string Describe(const LinearScheme& scheme) {
  return fmt::format(
      "{} {} {} rank {} {}", ToString(scheme.method),
      ToString(scheme.grid.format), ToString(scheme.grid.scales.constraint),
      scheme.lorc.rank,
      scheme.lorc.format == ValueFormat::kE4m3 ? "e4m3" : "bf16");
}

QuantizedLinear Quantize(const LinearScheme& scheme, const CalibratedMatrix& m,
                         bool calibrated = false, int num_threads = 2) {
  QuantizeBench bench(num_threads);
  LinearInput input = {.name = "a.b", .weights = m.weights, .k = m.k};
  absl::StatusOr<HessianFactors> factors;
  if (calibrated) {
    factors = m.hessian.Factor(scheme.column_order, scheme.damping,
                               bench.machine().exec);
    EXPECT_TRUE(factors.ok()) << factors.status();
    input.factors = &*factors;
  }
  return QuantizeLinear(scheme, input, bench.machine());
}

// "a.b.weight_shift U8 [5, 3]"
std::vector<std::string> Describe(const std::vector<TensorPlan>& plans) {
  std::vector<std::string> lines;
  for (const TensorPlan& plan : plans) {
    lines.push_back(fmt::format("{} {} [{}]", plan.name,
                                std::string(ToString(plan.dtype)),
                                fmt::join(plan.shape, ", ")));
  }
  return lines;
}

TEST(TensorsOfLinearTest, EveryScheme) {
  using Lines = std::vector<std::string>;
  const auto tensors = [](GridFormat format, ScaleConstraint constraint,
                          int64_t rank, ValueFormat lorc) {
    return Describe(
        TensorsOfLinear("l", 5, 71, Scheme(format, constraint, rank, lorc)));
  };
  const Lines codes = {"l.weight_packed U8 [5, 36]"};  // 71 nibbles
  const Lines free = {"l.weight_scale F32 [5, 3]"};
  const Lines shift = {"l.weight_row_scale F32 [5]",
                       "l.weight_shift U8 [5, 3]"};
  const Lines e4m3 = {"l.weight F8_E4M3 [5, 71]", "l.weight_row_scale F32 [5]"};
  const Lines lorc8 = {"l.lorc_u F8_E4M3 [5, 2]", "l.lorc_v F8_E4M3 [2, 71]",
                       "l.lorc_u_scale F32 [5]", "l.lorc_v_scale F32 [2]"};
  const Lines lorc16 = {"l.lorc_u BF16 [5, 2]", "l.lorc_v BF16 [2, 71]"};
  struct Case {
    GridFormat format;
    ScaleConstraint constraint;
    std::vector<Lines> parts;
  };
  for (const Case& c :
       {Case{GridFormat::kE2m1, ScaleConstraint::kFree, {codes, free}},
        Case{GridFormat::kE2m1, ScaleConstraint::kM1, {codes, shift}},
        Case{GridFormat::kE2m1, ScaleConstraint::kM2, {codes, shift}},
        Case{GridFormat::kE4m3, ScaleConstraint::kFree, {e4m3}},
        Case{GridFormat::kE4m3, ScaleConstraint::kM2, {e4m3}}}) {
    Lines wanted;
    for (const Lines& part : c.parts) {
      wanted.insert(wanted.end(), part.begin(), part.end());
    }
    EXPECT_EQ(tensors(c.format, c.constraint, 0, ValueFormat::kE4m3), wanted);
    for (const ValueFormat lorc : {ValueFormat::kE4m3, ValueFormat::kBf16}) {
      const Lines& more = lorc == ValueFormat::kE4m3 ? lorc8 : lorc16;
      Lines with = wanted;
      with.insert(with.end(), more.begin(), more.end());
      EXPECT_EQ(tensors(c.format, c.constraint, 2, lorc), with);
    }
  }
  // A simulation is f32, with whatever was added to it.
  for (const GridFormat format : {GridFormat::kInt4, GridFormat::kInt8}) {
    for (const int64_t rank : {0, 2}) {
      EXPECT_THAT(
          tensors(format, ScaleConstraint::kM2, rank, ValueFormat::kE4m3),
          ElementsAre("l.weight F32 [5, 71]"));
    }
  }
}

TEST(LinearSchemeTest, WhatNeedsACalibration) {
  struct Case {
    QuantizeMethod method;
    int64_t rank;
    LorcWeighting weighting;
    bool needed;
  };
  using enum QuantizeMethod;
  using enum LorcWeighting;
  for (const Case& c :
       {Case{kRtn, 0, kPlain, false}, Case{kRtn, 0, kWeighted, false},
        Case{kRtn, 8, kPlain, false}, Case{kRtn, 8, kWeighted, true},
        Case{kGptq, 0, kPlain, true}, Case{kGptq, 8, kPlain, true}}) {
    LinearScheme scheme;
    scheme.method = c.method;
    scheme.lorc = {.rank = c.rank, .weighting = c.weighting};
    EXPECT_EQ(scheme.needs_calibration(), c.needed);
  }
}

// The report is that of the tensors, whatever the scheme: low-rank factors
// included.
TEST(QuantizeLinearTest, TensorsStandForWhatIsReported) {
  for (const int64_t k : {1, 33, 71, 96}) {
    const CalibratedMatrix m(6, k, 50);
    for (LinearScheme scheme : Schemes()) {
      for (const bool gptq : {false, true}) {
        scheme.method = gptq ? QuantizeMethod::kGptq : QuantizeMethod::kRtn;
        const QuantizedLinear linear = Quantize(scheme, m, gptq);
        EXPECT_EQ(linear.n, 6);
        EXPECT_EQ(linear.k, k);
        std::vector<TensorPlan> plans;
        for (const auto& piece : linear.pieces) plans.push_back(piece.plan);
        EXPECT_THAT(
            Describe(plans),
            ElementsAreArray(Describe(TensorsOfLinear("a.b", 6, k, scheme))));
        const std::vector<double> exact = ExactWeights(linear, kGroup);
        ASSERT_EQ(exact.size(), m.weights.size());
        double error = 0, all = 0;
        for (size_t i = 0; i < exact.size(); ++i) {
          error += (m.weights[i] - exact[i]) * (m.weights[i] - exact[i]);
          all += double{m.weights[i]} * m.weights[i];
        }
        // Values, their product with f32 sums of 3 terms: a few u of each
        // weight, on errors of which the mean is far above 1e-3 of it.
        EXPECT_NEAR(linear.rounding.squared_error, error,
                    1e-3 * error + 1e-10 * all)
            << Describe(scheme) << " k " << k;
        EXPECT_NEAR(linear.rounding.squared_sum, all, 1e-9 * all);
        EXPECT_EQ(linear.rounding.num_weights, 6 * k);
        EXPECT_LE(error, 0.25 * all) << Describe(scheme);
        int max_shift = 0;
        for (const double s : testing::PieceValues(linear, ".weight_shift")) {
          max_shift = std::max(max_shift, static_cast<int>(s));
        }
        EXPECT_EQ(linear.rounding.max_shift, max_shift);
      }
    }
  }
}

TEST(QuantizeLinearTest, DoesNotDependOnTheNumberOfThreads) {
  const CalibratedMatrix m(35, 100, 60);
  for (LinearScheme scheme : Schemes()) {
    scheme.method = QuantizeMethod::kGptq;
    const QuantizedLinear one = Quantize(scheme, m, true, 1);
    const QuantizedLinear three = Quantize(scheme, m, true, 3);
    ASSERT_EQ(one.pieces.size(), three.pieces.size());
    for (size_t i = 0; i < one.pieces.size(); ++i) {
      EXPECT_EQ(one.pieces[i].bytes, three.pieces[i].bytes) << Describe(scheme);
    }
  }
}

// Row counts on both sides of the 64 that are looked at.
TEST(QuantizeLinearTest, OutputErrorIsItsDefinition) {
  for (const int64_t n : {1, 7, 64, 65, 150}) {
    const CalibratedMatrix m(n, 48, 200);
    const std::vector<double> x(m.x.begin(), m.x.end());
    for (const QuantizeMethod method :
         {QuantizeMethod::kRtn, QuantizeMethod::kGptq}) {
      for (const ColumnOrder order :
           {ColumnOrder::kByActivation, ColumnOrder::kAsStored}) {
        for (const double damping : {1e-8, 0.01, 0.3}) {
          LinearScheme scheme =
              Scheme(GridFormat::kE2m1, ScaleConstraint::kM2, 2);
          scheme.method = method;
          scheme.column_order = order;
          scheme.damping = damping;
          const QuantizedLinear linear = Quantize(scheme, m, true);
          const double wanted = ExactOutputError(
              x, m.weights, ExactWeights(linear, kGroup), n, 48, damping);
          // H and its root are f32: about k u of the norm of H, beside which
          // the outputs of E are at least a hundredth.
          EXPECT_NEAR(linear.output_error, wanted, 1e-3 * wanted)
              << "n " << n << " damping " << damping;
        }
      }
    }
    EXPECT_LT(Quantize(Scheme(GridFormat::kE2m1, ScaleConstraint::kM2), m)
                  .output_error,
              0);
  }
}

// int4 and int8: f32 numbers, as many different ones in a group as codes.
TEST(QuantizeLinearTest, DenseGridsHaveAsManyNumbersAsCodes) {
  const CalibratedMatrix m(4, 600, 20);
  for (const auto& [format, levels] :
       {std::pair(GridFormat::kInt4, 16), std::pair(GridFormat::kInt8, 256)}) {
    LinearScheme scheme = Scheme(format, ScaleConstraint::kFree);
    scheme.grid.scales.group_size = 256;
    const QuantizedLinear linear = Quantize(scheme, m);
    const std::vector<double> values = testing::PieceValues(linear, ".weight");
    for (int64_t row = 0; row < 4; ++row) {
      for (int64_t begin = 0; begin < 600; begin += 256) {
        std::set<double> numbers;
        for (int64_t i = begin; i < std::min<int64_t>(600, begin + 256); ++i) {
          numbers.insert(values[row * 600 + i]);
        }
        EXPECT_LE(numbers.size(), static_cast<size_t>(levels));
        EXPECT_GT(numbers.size(), 8u);
      }
    }
    LinearWeight target;
    target.activations = ActivationFormat::kE4m3;
    scheme.activations = ActivationFormat::kInt8;
    Attach(linear, scheme, &target);
    EXPECT_EQ(target.view.format, kernels::WeightFormat::kF32);
    EXPECT_FALSE(target.runs_a8());
  }
}

// A file of the linear's pieces, in which some may be changed or left out.
void WriteFile(const std::string& path, const QuantizedLinear& linear,
               const std::function<bool(QuantizedLinear::Piece*)>& edit) {
  std::vector<QuantizedLinear::Piece> pieces;
  for (QuantizedLinear::Piece piece : linear.pieces) {
    if (edit(&piece)) pieces.push_back(std::move(piece));
  }
  std::vector<TensorPlan> plan = {{"spare", DType::kU8, {1}}};
  for (const auto& piece : pieces) plan.push_back(piece.plan);
  auto writer = SafetensorsWriter::Create(path, plan);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->Append(std::vector<uint8_t>{0}).ok());
  for (const auto& piece : pieces)
    ASSERT_TRUE(writer->Append(piece.bytes).ok());
  ASSERT_TRUE(writer->Finish().ok());
}

absl::StatusOr<QuantizedLinear> ReadBack(const std::string& path,
                                         const LinearScheme& scheme,
                                         int64_t n = 5, int64_t k = 71) {
  auto file = Checkpoint::OpenFile(path);
  if (!file.ok()) return file.status();
  return ReadLinear(*file, "a.b", n, k, scheme);
}

TEST(ReadLinearTest, ReadsWhatWasWritten) {
  const CalibratedMatrix m(5, 71, 10);
  const ScratchDirectory scratch;
  for (const LinearScheme& scheme : Schemes()) {
    const QuantizedLinear linear = Quantize(scheme, m);
    WriteFile(scratch / "l", linear, [](auto*) { return true; });
    const auto read = ReadBack(scratch / "l", scheme);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->name, "a.b");
    EXPECT_EQ(read->n, 5);
    EXPECT_EQ(read->k, 71);
    ASSERT_EQ(read->pieces.size(), linear.pieces.size());
    for (size_t i = 0; i < linear.pieces.size(); ++i) {
      EXPECT_EQ(read->pieces[i].plan.name, linear.pieces[i].plan.name);
      EXPECT_EQ(read->pieces[i].bytes, linear.pieces[i].bytes);
    }
    EXPECT_EQ(read->Find(".nothing"), nullptr);
  }
}

// Each piece in turn: not there, of another shape, of another dtype.
TEST(ReadLinearTest, NamesThePieceThatIsNotAsTheSchemeSays) {
  const CalibratedMatrix m(5, 71, 10);
  const ScratchDirectory scratch;
  for (const LinearScheme& scheme : Schemes()) {
    const QuantizedLinear linear = Quantize(scheme, m);
    for (const auto& broken : linear.pieces) {
      const std::string& name = broken.plan.name;
      const auto message = [&](auto&& change) {
        WriteFile(scratch / "l", linear, [&](QuantizedLinear::Piece* piece) {
          return piece->plan.name != name || change(piece);
        });
        const auto read = ReadBack(scratch / "l", scheme);
        EXPECT_FALSE(read.ok()) << name;
        return std::string(read.status().message());
      };
      EXPECT_THAT(message([](auto*) { return false; }), HasSubstr(name));
      EXPECT_THAT(message([](QuantizedLinear::Piece* piece) {
                    piece->plan.shape.insert(piece->plan.shape.begin(), 1);
                    return true;
                  }),
                  HasSubstr(name + ": want"));
      EXPECT_THAT(message([](QuantizedLinear::Piece* piece) {
                    const bool wide = ByteSize(piece->plan.dtype) == 4;
                    piece->plan.dtype = wide ? DType::kI32 : DType::kI8;
                    piece->bytes.resize(piece->bytes.size());
                    if (!wide && piece->bytes.size() % 2 == 0) {
                      int64_t count = 1;
                      for (const int64_t d : piece->plan.shape) count *= d;
                      piece->bytes.resize(static_cast<size_t>(count));
                    }
                    return true;
                  }),
                  HasSubstr(name + ": want"));
    }
    EXPECT_FALSE(ReadBack(scratch / "l", scheme, 6, 71).ok());
    EXPECT_FALSE(ReadBack(scratch / "l", scheme, 5, 72).ok());
  }
}

// y of an attached linear on one backend, and of the exact weights.
class Attached {
 public:
  Attached(const LinearScheme& scheme, const QuantizedLinear& linear)
      : linear_(linear), exact_(ExactWeights(linear, kGroup)) {
    target_.bias = {1, 2, 3};
    Attach(linear, scheme, &target_);
  }
  const LinearWeight& target() const { return target_; }

  void ExpectExact(const std::string& name) const {
    const auto backend = kernels::MakeBackend(name);
    ASSERT_TRUE(backend.ok()) << backend.status();
    const int64_t n = linear_.n, k = linear_.k, m = 3;
    std::mt19937 random(8);
    std::normal_distribution<float> normal;
    std::vector<float> x, y(static_cast<size_t>(m * n));
    std::vector<uint8_t> codes;
    std::vector<double> exact_x;
    for (int64_t i = 0; i < m * k; ++i) {
      x.push_back(normal(random));
      const int code = static_cast<int>(random() % 256);
      codes.push_back(static_cast<uint8_t>((code & 0x7f) == 0x7f ? 1 : code));
      exact_x.push_back(target_.runs_a8() ? 0.5 * testing::E4m3Value(codes[i])
                                          : x[i]);
    }
    const std::vector<float> scale(static_cast<size_t>(m), 0.5f);
    std::vector<uint8_t> workspace(
        static_cast<size_t>(backend->WorkspaceBytes(
            {.num_tokens = m, .k = k, .n = n, .lorc_rank = 8})) +
        64);
    const auto misaligned = reinterpret_cast<uintptr_t>(workspace.data()) % 64;
    const kernels::Exec exec = {.workspace =
                                    workspace.data() + 64 - misaligned};
    if (target_.runs_a8()) {
      backend->ops.matmul_a8({.m = m,
                              .x = {codes.data(), scale.data()},
                              .weight = target_.view,
                              .y = y.data()},
                             exec);
    } else {
      backend->ops.matmul(
          {.m = m, .x = x.data(), .weight = target_.view, .y = y.data()}, exec);
    }
    Compare(exact_x, y, name);
  }

 private:
  // Sums of k and of `rank` products in f32, some scales: ErrorBound of the
  // kernels' tests.
  void Compare(const std::vector<double>& x, const std::vector<float>& y,
               const std::string& name) const {
    const int64_t n = linear_.n, k = linear_.k;
    const std::vector<double> codes = ExactCodes(linear_, kGroup);
    const double bound = std::ldexp(static_cast<double>(k) + 20, -24);
    for (size_t at = 0; at < y.size(); ++at) {
      const auto t = static_cast<int64_t>(at) / n;
      const auto i = static_cast<int64_t>(at) % n;
      double sum = 0, magnitude = 0;
      for (int64_t j = 0; j < k; ++j) {
        const double w = exact_[i * k + j], c = codes[i * k + j];
        sum += x[t * k + j] * w;
        // The parts of the branch: rank 3, each at most what U V and its
        // neighbours are.
        magnitude += std::fabs(x[t * k + j]) *
                     (std::fabs(c) + 4 * std::fabs(w - c) + 0.1);
      }
      EXPECT_NEAR(y[at], sum, bound * magnitude) << name << " at " << at;
    }
  }

  const QuantizedLinear& linear_;
  std::vector<double> exact_;
  LinearWeight target_;
};

TEST(AttachTest, TheMatmulIsThatOfTheDequantizedWeight) {
  const CalibratedMatrix m(9, 71, 10);
  for (LinearScheme scheme : Schemes()) {
    for (const ActivationFormat activations :
         {ActivationFormat::kE4m3, ActivationFormat::kNone}) {
      scheme.activations = activations;
      const QuantizedLinear linear = Quantize(scheme, m);
      const Attached attached(scheme, linear);
      EXPECT_EQ(attached.target().runs_a8(),
                !scheme.is_dense() && activations == ActivationFormat::kE4m3);
      EXPECT_EQ(attached.target().quantized(), !scheme.is_dense());
      EXPECT_THAT(attached.target().bias, ElementsAre(1, 2, 3));
      for (const std::string& backend : kernels::HostBackends()) {
        SCOPED_TRACE(Describe(scheme));
        attached.ExpectExact(backend);
      }
    }
  }
}

// What was attached before leaves nothing behind.
TEST(AttachTest, ReplacesWhatWasThere) {
  const CalibratedMatrix m(9, 71, 10);
  const LinearScheme with =
      Scheme(GridFormat::kE2m1, ScaleConstraint::kFree, 3, ValueFormat::kBf16);
  const LinearScheme without = Scheme(GridFormat::kE4m3, ScaleConstraint::kM2);
  const QuantizedLinear first = Quantize(with, m),
                        second = Quantize(without, m);
  LinearWeight target;
  Attach(first, with, &target);
  EXPECT_EQ(target.view.format, kernels::WeightFormat::kE2m1Free);
  EXPECT_EQ(target.view.lorc.rank, 3);
  Attach(second, without, &target);
  EXPECT_EQ(target.view.format, kernels::WeightFormat::kE4m3);
  EXPECT_EQ(target.view.lorc.rank, 0);
  EXPECT_EQ(target.view.group_scale, nullptr);
  EXPECT_EQ(target.view.shift, nullptr);
}

}  // namespace
}  // namespace zqfp
