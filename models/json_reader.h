// SPDX-License-Identifier: Apache-2.0
#ifndef ZQFP_MODELS_JSON_READER_H_
#define ZQFP_MODELS_JSON_READER_H_

// Reads JSON that others wrote: no exceptions, no duplicate keys, bounded
// depth, every value typed and ranged.

#include <stdint.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zqfp {

// The whole text as one value. InvalidArgument with the place for a syntax
// error, a duplicate key, invalid UTF-8 or nesting deeper than 64.
absl::StatusOr<nlohmann::json> ParseJson(const char* begin, const char* end,
                                         const std::string& name);

// A value as it looks in the file, cut to a length that suits a message.
std::string Excerpt(const nlohmann::json& value);

struct IntRange {
  int64_t min = 0;
  int64_t max = 0;
};

// Both ends belong to the range; no NaN or infinity does.
struct RealRange {
  double min = 0;
  double max = 0;
};

// Named access to the members of one object. The Read functions leave *out
// alone where the key is absent or null, so that the caller's default stands.
class JsonReader {
 public:
  // `where` opens every message: "config.json", "config.json: rope_scaling".
  // `object` must be an object and outlive the reader.
  JsonReader(const nlohmann::json& object, std::string where);

  bool Has(const char* key) const;     // present and not null
  bool IsNull(const char* key) const;  // present and null
  // Null where the key is absent or null.
  const nlohmann::json* Find(const char* key) const;

  absl::Status Require(const char* key, IntRange range, int64_t* out) const;
  absl::Status Require(const char* key, std::string* out) const;
  absl::Status Read(const char* key, IntRange range, int64_t* out) const;
  absl::Status Read(const char* key, RealRange range, double* out) const;
  absl::Status Read(const char* key, bool* out) const;
  absl::Status Read(const char* key, std::string* out) const;
  // The member, which must be there and be an object.
  absl::StatusOr<JsonReader> Object(const char* key) const;

  // Unimplemented, naming it, where a key is none of `known`: it may change
  // what the others mean.
  absl::Status RefuseUnknownKeys(const std::vector<std::string>& known) const;

  // "WHERE: KEY: want WANTED, found VALUE".
  absl::Status Wrong(const char* key, const std::string& wanted) const;

  const nlohmann::json& object() const { return *object_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json* object_;
  std::string where_;
};

// `value` as an integer of the range; `what` opens the message.
absl::StatusOr<int64_t> ToInt(const nlohmann::json& value, IntRange range,
                              const std::string& what);

}  // namespace zqfp

#endif  // ZQFP_MODELS_JSON_READER_H_
