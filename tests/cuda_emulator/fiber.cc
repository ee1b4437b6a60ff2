// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulator/fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <memory>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace zqfp::kernels::emulator {
namespace {

constexpr size_t kStackBytes = 128 * 1024;  // touched pages count only
constexpr size_t kGuardBytes = 4096;

void BeforeSwitch([[maybe_unused]] void** fake_stack,
                  [[maybe_unused]] const void* stack,
                  [[maybe_unused]] size_t num_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, num_bytes);
#endif
}

void AfterSwitch([[maybe_unused]] void* fake_stack,
                 [[maybe_unused]] const void** stack,
                 [[maybe_unused]] size_t* num_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, stack, num_bytes);
#endif
}

// A stack that ends at a page nobody may touch.
void* NewStack() {
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED || mprotect(stack, kGuardBytes, PROT_NONE) != 0) {
    perror("emulator: stack of a fiber");
    abort();
  }
  return stack;
}

// Boost wants somebody who gives the stack back; ours stays.
struct KeepStack {
  void deallocate(boost::context::stack_context&) {}
};

}  // namespace

Fiber::Fiber() : stack_(NewStack()) {
  boost::context::stack_context context;
  context.size = kStackBytes;
  context.sp = static_cast<char*>(stack_) + kStackBytes;
  self_ = boost::context::fiber(
      std::allocator_arg,
      boost::context::preallocated(context.sp, context.size, context),
      KeepStack{}, [this](boost::context::fiber&& caller) {
        return Run(std::move(caller));
      });
}

boost::context::fiber Fiber::Run(boost::context::fiber&& caller) {
  caller_ = std::move(caller);
  AfterSwitch(nullptr, &caller_stack_, &caller_stack_bytes_);
  for (;;) {
    (*body_)();
    body_ = nullptr;
    Suspend();
  }
}

void Fiber::Resume(const std::function<void()>& body) {
  if (body_ == nullptr) body_ = &body;
  void* fake_stack = nullptr;
  BeforeSwitch(&fake_stack, stack_, kStackBytes);
  self_ = std::move(self_).resume();
  AfterSwitch(fake_stack, nullptr, nullptr);
}

void Fiber::Suspend() {
  BeforeSwitch(&fake_stack_, caller_stack_, caller_stack_bytes_);
  caller_ = std::move(caller_).resume();
  AfterSwitch(fake_stack_, &caller_stack_, &caller_stack_bytes_);
}

}  // namespace zqfp::kernels::emulator
