// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TESTS_CUDA_EMULATOR_FIBER_H_
#define ZQFP_TESTS_CUDA_EMULATOR_FIBER_H_

// Fiber: a function with a stack of its own that can stop in its middle. One
// that has returned can be started again, which costs no new stack.

#include <stddef.h>

#include <boost/context/fiber.hpp>
#include <functional>

namespace zqfp::kernels::emulator {

class Fiber {
 public:
  Fiber();  // its stack stays until the program ends
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From outside: runs `body` (or what is left of it) until it suspends or
  // returns.
  void Resume(const std::function<void()>& body);
  // From inside: back to who called Resume.
  void Suspend();
  bool is_running() const { return body_ != nullptr; }

 private:
  boost::context::fiber Run(boost::context::fiber&& caller);

  void* stack_ = nullptr;
  boost::context::fiber self_;
  boost::context::fiber caller_;
  const std::function<void()>* body_ = nullptr;
  // What the address sanitizer has to know of a change of stacks.
  void* fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
};

}  // namespace zqfp::kernels::emulator

#endif  // ZQFP_TESTS_CUDA_EMULATOR_FIBER_H_
