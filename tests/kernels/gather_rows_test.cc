// SPDX-License-Identifier: Apache-2.0
// GatherRows of every backend: the rows named, bit for bit.
#include <string.h>

#include "tests/kernels/op_test.h"

namespace zqfp::kernels {
namespace {

class GatherRowsTest : public OpTest {};

TEST_P(GatherRowsTest, EveryShape) {
  std::mt19937 random(3);
  for (const int64_t dim : {1, 7, 64, 513}) {
    for (const int64_t num_rows : {0, 1, 2, 65}) {
      const int64_t num_x_rows = 70;
      const GuardedArray<float> x = RandomFloats(random, num_x_rows * dim);
      GuardedArray<int32_t> row(num_rows);
      for (int32_t& value : row) {
        value = static_cast<int32_t>(random() % num_x_rows);
      }
      if (num_rows > 1) row[1] = num_x_rows - 1;
      GuardedArray<float> y = Unwritten(num_rows * dim);
      ops().gather_rows({.num_rows = num_rows,
                         .num_x_rows = num_x_rows,
                         .dim = dim,
                         .row = row.data(),
                         .x = x.data(),
                         .y = y.data()},
                        MakeExec({.num_tokens = num_rows, .k = dim}));
      Wait();
      for (int64_t i = 0; i < num_rows; ++i) {
        ASSERT_EQ(memcmp(y.data() + i * dim, x.data() + row[i] * dim,
                         dim * sizeof(float)),
                  0)
            << "row " << i << " of " << num_rows << " x " << dim;
      }
    }
  }
}

ZQFP_FOR_ALL_MACHINES(GatherRowsTest);

}  // namespace
}  // namespace zqfp::kernels
