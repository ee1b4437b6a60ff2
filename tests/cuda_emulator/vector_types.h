// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_VECTOR_TYPES_H_
#define ZQFP_TESTS_CUDA_EMULATOR_VECTOR_TYPES_H_

// CUDA's small vectors, aligned as on the chip: the sanitizer of undefined
// behaviour reports an access that the chip would fault on.

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1,  // NOLINT: as CUDA's
                 unsigned z = 1)
      : x(x), y(y), z(z) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

#endif  // ZQFP_TESTS_CUDA_EMULATOR_VECTOR_TYPES_H_
