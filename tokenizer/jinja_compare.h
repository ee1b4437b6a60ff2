// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_TOKENIZER_JINJA_COMPARE_H_
#define ZQFP_TOKENIZER_JINJA_COMPARE_H_

// Truth, equality, order, membership and iteration, as Python defines them.

#include <vector>

#include "absl/status/statusor.h"
#include "tokenizer/jinja_value.h"

namespace zqfp::jinja {

bool IsTrue(const Value& value);
bool Equal(Budget& budget, const Value& a, const Value& b);
// `a < b`; values without an order are an error that shows `symbol`.
absl::StatusOr<bool> Less(Budget& budget, const Value& a, const Value& b,
                          std::string_view symbol);
absl::StatusOr<bool> Contains(Budget& budget, const Value& container,
                              const Value& item);
// len(); an error where there is none.
absl::StatusOr<int64_t> Length(const Value& value);
// What `for` walks over: items, the keys of a dict, the characters of a
// string, nothing for undefined. Reads an iterator to its end.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value);
// Turns uses of an undefined value into an error that says why it is one.
absl::Status RequireDefined(const Value& value);

}  // namespace zqfp::jinja

#endif  // ZQFP_TOKENIZER_JINJA_COMPARE_H_
