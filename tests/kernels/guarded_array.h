// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_KERNELS_GUARDED_ARRAY_H_
#define ZQFP_TESTS_KERNELS_GUARDED_ARRAY_H_

// GuardedArray: memory that ends where the next page may not be touched, as
// the last tensor of a mapped file does. A kernel that reads or writes one
// element too far crashes here instead of at a user's.

#include <gtest/gtest.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <initializer_list>
#include <utility>
#include <vector>

#include "kernels/core/device.h"

namespace zqfp::kernels {

// Where set, new arrays can also be used by ops of this device.
struct SharedArrays {
  static inline Device* device = nullptr;
};

template <typename T>
class GuardedArray {
 public:
  GuardedArray() : GuardedArray(0) {}
  explicit GuardedArray(int64_t size, T fill = T{}) : size_(size) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int64_t bytes = size * static_cast<int64_t>(sizeof(T));
    mapped_bytes_ = (bytes + page - 1) / page * page + page;
    mapping_ = mmap(nullptr, static_cast<size_t>(mapped_bytes_),
                    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(mapping_, MAP_FAILED);
    char* guard = static_cast<char*>(mapping_) + mapped_bytes_ - page;
    EXPECT_EQ(mprotect(guard, static_cast<size_t>(page), PROT_NONE), 0);
    data_ = reinterpret_cast<T*>(guard - bytes);
    device_ = mapped_bytes_ > page ? SharedArrays::device : nullptr;
    if (device_ != nullptr) {
      EXPECT_TRUE(device_->Share(mapping_, mapped_bytes_ - page).ok());
    }
    for (T& value : *this) value = fill;
  }
  GuardedArray(const std::vector<T>& values)  // NOLINT: a vector is a source
      : GuardedArray(static_cast<int64_t>(values.size())) {
    for (int64_t i = 0; i < size_; ++i) data_[i] = values[i];
  }
  GuardedArray(std::initializer_list<T> values)
      : GuardedArray(std::vector<T>(values)) {}
  GuardedArray(GuardedArray&& other) noexcept { *this = std::move(other); }
  GuardedArray& operator=(GuardedArray&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~GuardedArray() {
    if (device_ != nullptr) device_->Unshare(mapping_);
    if (mapping_ != nullptr) munmap(mapping_, mapped_bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  std::vector<T> ToVector() const { return {begin(), end()}; }

 private:
  void* mapping_ = nullptr;
  int64_t mapped_bytes_ = 0;
  T* data_ = nullptr;
  int64_t size_ = 0;
  Device* device_ = nullptr;
};

}  // namespace zqfp::kernels

#endif  // ZQFP_TESTS_KERNELS_GUARDED_ARRAY_H_
