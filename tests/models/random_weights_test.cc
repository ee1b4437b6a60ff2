// SPDX-License-Identifier: Apache-2.0
// Random weights that are made on a device are those of the host.
#include <gtest/gtest.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/core/device_lab.h"
#include "kernels/cuda/packed_weight.h"
#include "models/architectures.h"
#include "models/place_weights.h"
#include "models/weights.h"

namespace zqfp {
namespace {

Config SmallConfig(ScaleConstraint constraint, int64_t rank) {
  Config config;
  config.model_dim = 64;
  config.ffn_dim = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 100;
  config.max_positions = 64;
  config.norm_epsilon = 1e-5;
  config.quantization = QuantizationConfig();
  config.quantization->group_size = 32;
  config.quantization->constraint = constraint;
  config.quantization->lorc.rank = rank;
  return config;
}

// The emulator's memory is the host's.
void ExpectSameBytes(const void* a, const void* b, int64_t num_bytes,
                     const std::string& what) {
  ASSERT_NE(a, nullptr) << what;
  ASSERT_NE(b, nullptr) << what;
  EXPECT_NE(a, b) << what;
  EXPECT_EQ(memcmp(a, b, static_cast<size_t>(num_bytes)), 0) << what;
}

void ExpectSame(const LinearWeight& a, const LinearWeight& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.activations, b.activations);
  EXPECT_EQ(a.num_bytes(), b.num_bytes());
  if (kernels::cuda::HasPackedForm(a.view.format)) {
    ExpectSameBytes(a.view.packed, b.view.packed,
                    kernels::cuda::DescribePacked(a.view, nullptr).num_bytes,
                    a.name);
  } else {
    ExpectSameBytes(a.view.data, b.view.data, 2 * a.view.n * a.view.k, a.name);
  }
  EXPECT_EQ(a.view.lorc.rank, b.view.lorc.rank);
  if (a.view.lorc.rank == 0) return;
  ExpectSameBytes(a.view.lorc.u, b.view.lorc.u, a.view.lorc.rank * a.view.n,
                  a.name);
  ExpectSameBytes(a.view.lorc.v_scale, b.view.lorc.v_scale,
                  4 * a.view.lorc.rank, a.name);
}

TEST(RandomWeightsTest, MadeOnADeviceTheyAreThoseOfTheHost) {
  const auto backend = kernels::MakeBackend("cuda_emulated");
  ASSERT_TRUE(backend.ok()) << backend.status();
  kernels::ThreadPool pool(2);
  for (const auto& [constraint, rank] :
       {std::pair<ScaleConstraint, int64_t>{ScaleConstraint::kM2, 0},
        {ScaleConstraint::kFree, 4}}) {
    Config config = SmallConfig(constraint, rank);
    if (rank > 0) config.quantization->lm_head = HeadFormat::kBf16;
    absl::StatusOr<Weights> host = RandomWeights(config, 5, pool);
    absl::StatusOr<Weights> made = RandomWeights(config, 5, pool, backend->lab);
    ASSERT_TRUE(host.ok() && made.ok()) << made.status();
    for (Weights* weights : {&*host, &*made}) {
      const absl::Status status =
          PlaceWeights(config, {}, *backend->device, *weights);
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(host->StreamedBytes(), made->StreamedBytes());
    ExpectSameBytes(host->embedding, made->embedding,
                    2 * config.vocab_size * config.model_dim, "embedding");
    for (size_t i = 0; i < host->layers.size(); ++i) {
      for (const LinearRule& rule : TensorsOf(config.architecture).linears) {
        ExpectSame(host->layers[i].*rule.field, made->layers[i].*rule.field);
      }
      EXPECT_NE(made->layers[i].ffn_norm.placed_weight, nullptr);
    }
    ExpectSame(host->lm_head, made->lm_head);
  }
}

TEST(RandomWeightsTest, TooLargeForTheDeviceIsAnError) {
  const auto backend = kernels::MakeBackend("cuda_emulated");
  ASSERT_TRUE(backend.ok()) << backend.status();
  kernels::ThreadPool pool(1);
  Config config = SmallConfig(ScaleConstraint::kM2, 0);
  config.vocab_size = int64_t{1} << 40;
  const auto made = RandomWeights(config, 5, pool, backend->lab);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace zqfp
