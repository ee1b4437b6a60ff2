// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/charsmap.h"

#include <fmt/format.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/core/status_macros.h"

namespace zqfp {
namespace {

// Of published models the largest trie has 0.4 MB, the longest text 33 bytes.
constexpr size_t kMaxTrieBytes = 16 << 20;
constexpr size_t kMaxTextBytes = 1024;
constexpr int kMaxResults = 32;  // the library's, on its stack

// A unit of Darts-clone. A node is left over base ^ byte, where base is its
// place ^ offset; where it ends a rule, its value stands at base itself.
struct Unit {
  uint32_t bits;

  bool has_leaf() const { return (bits & 0x100) != 0; }
  bool is_value() const { return bits >> 31 != 0; }
  uint32_t value() const { return bits & 0x7fffffff; }
  uint32_t label() const { return bits & 0xff; }
  uint32_t offset() const { return (bits >> 10) << ((bits & (1u << 9)) >> 6); }
};

// Follows all walks from the root at once. What a byte leads to depends on the
// base alone, and a unit belongs to one base (its place ^ its label): the bases
// are a graph with at most one edge a unit.
class TrieWalk {
 public:
  TrieWalk(std::string_view trie, std::string_view texts)
      : units_(trie.size() / 4), texts_(texts) {
    memcpy(units_.data(), trie.data(), units_.size() * 4);
    first_.assign(units_.size(), kNone);
    next_.assign(units_.size(), kNone);
    state_.assign(units_.size(), kNew);
    for (uint32_t at = 0; at < units_.size(); ++at) {
      const uint32_t base = at ^ units_[at].label();
      if (units_[at].is_value() || base >= units_.size()) continue;
      next_[at] = std::exchange(first_[base], at);
    }
  }

  // What is wrong, or nothing.
  std::optional<std::string> Problem();

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  // Of a base: not seen, on the current walk, or how many results the longest
  // walk from it has.
  static constexpr int8_t kNew = -2, kOpen = -1;

  struct Step {
    uint32_t base;
    uint32_t node;  // the next one to follow
    int8_t results = 0;
  };

  std::optional<std::string> Enter(uint32_t base);
  std::optional<std::string> CheckText(uint32_t base) const;

  std::vector<Unit> units_;
  std::string_view texts_;
  std::vector<uint32_t> first_, next_;  // nodes of a base, as a list
  std::vector<int8_t> state_;
  std::vector<Step> walk_;
};

std::optional<std::string> TrieWalk::Enter(uint32_t base) {
  if ((base | 0xff) >= units_.size()) {
    return fmt::format("want steps within the {} units of the trie, found {}",
                       units_.size(), base | 0xff);
  }
  state_[base] = kOpen;
  walk_.push_back({.base = base, .node = first_[base]});
  return std::nullopt;
}

std::optional<std::string> TrieWalk::CheckText(uint32_t base) const {
  const uint32_t at = units_[base].value();
  if (at >= texts_.size()) {
    return fmt::format("want texts within {} bytes, found one at {}",
                       texts_.size(), at);
  }
  if (texts_.substr(at, kMaxTextBytes + 1).find('\0') == texts_.npos) {
    return fmt::format("want texts of at most {} bytes, found more at {}",
                       kMaxTextBytes, at);
  }
  return std::nullopt;
}

std::optional<std::string> TrieWalk::Problem() {
  std::optional<std::string> problem = Enter(units_[0].offset());
  while (!problem && !walk_.empty()) {
    Step& step = walk_.back();
    if (step.node == kNone) {
      state_[step.base] = step.results;
      walk_.pop_back();
      continue;
    }
    const Unit unit = units_[step.node];
    const uint32_t base = step.node ^ unit.offset();
    if (base >= units_.size() || state_[base] == kNew) {
      problem = Enter(base);  // comes back to this node
      continue;
    }
    if (state_[base] == kOpen) return "want an end, found a walk in circles";
    const int results = state_[base] + (unit.has_leaf() ? 1 : 0);
    if (results > kMaxResults) {
      return fmt::format("want at most {} rules that begin alike, found more",
                         kMaxResults);
    }
    if (unit.has_leaf()) problem = CheckText(base);
    step.results = std::max(step.results, static_cast<int8_t>(results));
    step.node = next_[step.node];
  }
  return problem;
}

// How a field is encoded.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Reads the fields of a protocol buffer's message, one after another.
class MessageReader {
 public:
  explicit MessageReader(std::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }

  // The next field; its bytes where it has some. False for what is none.
  bool Next(uint64_t* field, std::string_view* bytes) {
    uint64_t tag, size = 0;
    if (!Varint(&tag) || tag >> 3 == 0 || tag > UINT32_MAX) return false;
    *field = tag >> 3;
    *bytes = {};
    switch (tag & 7) {
      case kVarint:
        return Varint(&size);
      case kFixed64:
        return Take(8, bytes);
      case kBytes:
        return Varint(&size) && Take(size, bytes);
      case kFixed32:
        return Take(4, bytes);
      default:  // groups: no such model has them
        return false;
    }
  }

 private:
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Take(uint64_t size, std::string_view* bytes) {
    if (size > rest_.size()) return false;
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
};

absl::Status NoMessage(const std::string& name) {
  return absl::InvalidArgumentError(fmt::format(
      "{}: want a sentencepiece model, found bytes that are none", name));
}

}  // namespace

absl::Status CheckCharsMap(std::string_view rules, const std::string& where) {
  if (rules.empty()) return absl::OkStatus();
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", where, what));
  };
  uint32_t size = 0;
  if (rules.size() <= sizeof(size)) {
    return bad(fmt::format("want more than 4 bytes, found {}", rules.size()));
  }
  memcpy(&size, rules.data(), sizeof(size));
  rules.remove_prefix(sizeof(size));
  if (size == 0 || size % 4 != 0 || size >= rules.size() ||
      size > kMaxTrieBytes) {
    return bad(
        fmt::format("want a trie of 4..{} bytes, a multiple of 4 and less than "
                    "the {} there are, found {}",
                    kMaxTrieBytes, rules.size(), size));
  }
  if (rules.back() != '\0') {
    return bad("want texts that end in a zero byte, found one that does not");
  }
  TrieWalk walk(rules.substr(0, size), rules.substr(size));
  const std::optional<std::string> problem = walk.Problem();
  return problem ? bad(*problem) : absl::OkStatus();
}

// A field may come several times: the library merges messages and takes the
// last rules. All of them are looked at.
absl::Status CheckCharsMaps(std::string_view model, const std::string& name) {
  // Numbers of sentencepiece_model.proto.
  constexpr uint64_t kNormalizer = 3, kDenormalizer = 5, kRules = 2;
  uint64_t field;
  std::string_view spec, rules;
  for (MessageReader fields(model); !fields.done();) {
    if (!fields.Next(&field, &spec)) return NoMessage(name);
    if (field != kNormalizer && field != kDenormalizer) continue;
    const std::string where =
        fmt::format("{}: {}: precompiled_charsmap", name,
                    field == kNormalizer ? "normalizer" : "denormalizer");
    for (MessageReader inner(spec); !inner.done();) {
      if (!inner.Next(&field, &rules)) return NoMessage(name);
      if (field == kRules) ZQFP_RETURN_IF_ERROR(CheckCharsMap(rules, where));
    }
  }
  return absl::OkStatus();
}

}  // namespace zqfp
