// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_EVALUATOR_GUARDS_H_
#define ZQFP_TOKENIZER_JINJA_EVALUATOR_GUARDS_H_

// What the evaluator enters and must leave on every path: scopes and levels
// of recursion.

#include <memory>
#include <utility>

#include "tokenizer/jinja_evaluator.h"

namespace zqfp::jinja {

class Evaluator::ScopeGuard {
 public:
  explicit ScopeGuard(Evaluator& evaluator)
      : ScopeGuard(evaluator, evaluator.scope_) {}
  ScopeGuard(Evaluator& evaluator, const Scope* parent)
      : evaluator_(evaluator),
        outer_(evaluator.scope_),
        scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
    evaluator_.scope_ = scope_.get();
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;
  ~ScopeGuard() {
    evaluator_.scope_ = outer_;
    if (!scope_->is_captured) return;
    constexpr int64_t kScopeBytes = 512;
    evaluator_.budget_.Bytes(kScopeBytes);
    evaluator_.captured_scopes_.push_back(std::move(scope_));
  }

 private:
  Evaluator& evaluator_;
  Scope* const outer_;
  std::unique_ptr<Scope> scope_;
};

class Evaluator::DepthGuard {
 public:
  explicit DepthGuard(Evaluator& evaluator) : evaluator_(evaluator) {
    ++evaluator_.depth_;
  }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  ~DepthGuard() { --evaluator_.depth_; }

  bool ok() const { return evaluator_.depth_ <= kMaxEvaluationDepth; }
  absl::Status status() const {
    return absl::ResourceExhaustedError(fmt::format(
        "evaluation is nested deeper than {}", kMaxEvaluationDepth));
  }

 private:
  Evaluator& evaluator_;
};

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_EVALUATOR_GUARDS_H_
