// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_OPERATORS_H_
#define ZQFP_TOKENIZER_JINJA_OPERATORS_H_

// Python's operators. Integers are 64 bits wide: what Python would hold in
// more is an error.

#include "absl/status/statusor.h"
#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_value.h"

namespace zqfp::jinja {

// The arithmetic operators.
absl::StatusOr<Value> Binary(Budget& budget, Operator op, const Value& a,
                             const Value& b);
// The comparisons, `in` and `not in`.
absl::StatusOr<bool> Compare(Budget& budget, Operator op, const Value& a,
                             const Value& b);
absl::StatusOr<Value> Negate(const Value& value);
absl::StatusOr<Value> Plus(const Value& value);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_OPERATORS_H_
