// SPDX-License-Identifier: Apache-2.0
// Values: kinds and their names, keys, sharing, depth, and the budget they
// draw on.
#include "tokenizer/jinja_value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja_print.h"

namespace zqfp::jinja {
namespace {

Value Sequence(Budget& budget, Kind kind, std::vector<Value> items = {}) {
  return MakeSequence(budget, kind, std::move(items), "dict_keys");
}

// The names are type(x).__name__ of Python 3.11, for those that it has.
TEST(JinjaValue, KindsHavePythonsNames) {
  Budget budget;
  auto loop = std::make_shared<Loop>();
  const std::pair<Value, std::string_view> kCases[] = {
      {Undefined("why"), "Undefined"},
      {None(), "NoneType"},
      {Bool(true), "bool"},
      {Int(1), "int"},
      {Float(1), "float"},
      {MakeString(budget, "x"), "str"},
      {Sequence(budget, Kind::kList), "list"},
      {Sequence(budget, Kind::kTuple), "tuple"},
      {Sequence(budget, Kind::kRange), "range"},
      {Sequence(budget, Kind::kView), "dict_keys"},
      {Sequence(budget, Kind::kIterator), "generator"},
      {DictBuilder(budget).Build(), "dict"},
      {MakeLoop(budget, loop), "LoopContext"},
      {MakeMethod(budget, None(), "m"), "builtin_function_or_method"},
      {MakeFunction("range"), "function"},
  };
  for (const auto& [value, name] : kCases) EXPECT_EQ(TypeName(value), name);
  EXPECT_TRUE(budget.ok());
}

TEST(JinjaValue, GroupsOfKinds) {
  Budget budget;
  EXPECT_TRUE(Bool(true).IsIntegral() && Int(1).IsIntegral());
  EXPECT_FALSE(Float(1).IsIntegral());
  EXPECT_TRUE(Float(1).IsNumber() && Bool(false).IsNumber());
  EXPECT_FALSE(None().IsNumber() || MakeString(budget, "1").IsNumber());
  EXPECT_EQ(Bool(true).AsInteger(), 1);
  EXPECT_EQ(Int(INT64_MIN).AsInteger(), INT64_MIN);
  EXPECT_EQ(Bool(true).AsNumber(), 1.0);
  EXPECT_EQ(Int(-3).AsNumber(), -3.0);
  for (const Kind kind : {Kind::kList, Kind::kTuple, Kind::kRange, Kind::kView,
                          Kind::kIterator}) {
    EXPECT_TRUE(Sequence(budget, kind).IsSequence());
  }
  EXPECT_FALSE(MakeString(budget, "ab").IsSequence());
  EXPECT_FALSE(DictBuilder(budget).Build().IsSequence());
  EXPECT_TRUE(Value().IsUndefined());
}

TEST(JinjaValue, TextIsThatOfTheKindsThatHaveOne) {
  Budget budget;
  EXPECT_EQ(Undefined("why").text(), "why");
  EXPECT_EQ(MakeString(budget, "s").text(), "s");
  EXPECT_EQ(MakeFunction("dict").text(), "dict");
  EXPECT_EQ(MakeMethod(budget, Int(1), "upper").text(), "upper");
  EXPECT_EQ(MakeSequence(budget, Kind::kRange, {}, "range(0, 2)").text(),
            "range(0, 2)");
  EXPECT_EQ(MakeSequence(budget, Kind::kList, {}).text(), "");
  EXPECT_EQ(Int(1).text(), "");
  EXPECT_EQ(Value().text(), "");
}

TEST(JinjaValue, CopiesShareTheirHeapPart) {
  Budget budget;
  const Value inner = MakeString(budget, std::string(1000, 'x'));
  const Value list = Sequence(budget, Kind::kList, {inner, inner});
  const Value copy = list;
  EXPECT_EQ(copy.object, list.object);
  EXPECT_EQ(list.items()[0].object, list.items()[1].object);
  EXPECT_EQ(inner.object.use_count(), 3);
}

std::string KeyOf(const Value& key) {
  Budget budget;
  std::string out;
  const absl::Status status = DictKey(budget, key, &out);
  return status.ok() ? out : "error: " + std::string(status.message());
}

// Equal keys are those for which Python finds the same entry.
TEST(JinjaValue, KeysAreEqualWhereValuesAre) {
  Budget budget;
  const auto text = [&](std::string t) { return MakeString(budget, t); };
  const auto tuple = [&](std::vector<Value> items) {
    return Sequence(budget, Kind::kTuple, std::move(items));
  };
  EXPECT_EQ(KeyOf(Int(1)), KeyOf(Bool(true)));
  EXPECT_EQ(KeyOf(Int(1)), KeyOf(Float(1)));
  EXPECT_EQ(KeyOf(Int(0)), KeyOf(Float(-0.0)));
  EXPECT_EQ(KeyOf(tuple({Int(1), text("a")})),
            KeyOf(tuple({Float(1), text("a")})));
  EXPECT_NE(KeyOf(Int(1)), KeyOf(text("1")));
  EXPECT_NE(KeyOf(None()), KeyOf(text("N")));
  EXPECT_NE(KeyOf(None()), KeyOf(Bool(false)));
  EXPECT_NE(KeyOf(Float(1.5)), KeyOf(Int(1)));
  EXPECT_NE(KeyOf(Float(0.1)), KeyOf(Float(std::nextafter(0.1, 1))));
  EXPECT_NE(KeyOf(text("i1")), KeyOf(Int(1)));
  EXPECT_NE(KeyOf(tuple({text("a"), text("b")})), KeyOf(tuple({text("ab")})));
  EXPECT_NE(KeyOf(tuple({text("ab"), text("c")})),
            KeyOf(tuple({text("a"), text("bc")})));
  EXPECT_NE(KeyOf(tuple({tuple({})})), KeyOf(tuple({})));
  EXPECT_NE(KeyOf(tuple({Int(1)})), KeyOf(Int(1)));
  EXPECT_EQ(KeyOf(Sequence(budget, Kind::kList)),
            "error: unhashable type: 'list'");
  EXPECT_EQ(KeyOf(tuple({DictBuilder(budget).Build()})),
            "error: unhashable type: 'dict'");
}

TEST(JinjaValue, TheLastValueOfAKeyWinsInTheFirstsPlace) {
  Budget budget;
  DictBuilder builder(budget);
  builder.Set("b", Int(1));
  ASSERT_TRUE(builder.Set(Int(1), Int(2)).ok());
  builder.Set("b", Int(3));
  ASSERT_TRUE(builder.Set(Bool(true), Int(4)).ok());
  EXPECT_FALSE(builder.Set(Sequence(budget, Kind::kList), Int(5)).ok());
  const Value dict = builder.Build();
  // repr() of {'b': 1, 1: 2, 'b': 3, True: 4}: the first key stays, too.
  EXPECT_EQ(*ToRepr(budget, dict), "{'b': 3, 1: 4}");
  ASSERT_NE(FindInDict(dict, "b"), nullptr);
  EXPECT_EQ(FindInDict(dict, "b")->integer, 3);
  EXPECT_EQ(FindInDict(dict, "1"), nullptr);
  EXPECT_EQ(FindHashed(dict, "nope"), nullptr);
}

Value Nested(Budget& budget, int depth) {
  Value value = Sequence(budget, Kind::kList);
  for (int i = 1; i < depth; ++i) {
    value = Sequence(budget, Kind::kList, {value});
  }
  return value;
}

TEST(JinjaValue, DepthIsCountedAndBounded) {
  Budget budget;
  const Value deepest = Nested(budget, kMaxValueDepth);
  EXPECT_EQ(deepest.depth(), kMaxValueDepth);
  EXPECT_TRUE(budget.ok());
  EXPECT_EQ(Int(1).depth(), 1);
  Budget list_budget, dict_budget, method_budget, loop_budget;
  Sequence(list_budget, Kind::kTuple, {deepest});
  DictBuilder dict(dict_budget);
  dict.Set("k", deepest);
  MakeMethod(method_budget, deepest, "copy");
  auto loop = std::make_shared<Loop>();
  loop->items = {deepest};
  MakeLoop(loop_budget, loop);
  for (const Budget* spent :
       {&list_budget, &dict_budget, &method_budget, &loop_budget}) {
    EXPECT_EQ(spent->status().message(), "values nested deeper than 100");
  }
}

TEST(JinjaValue, WhatTheBudgetRefusesIsEmpty) {
  Budget budget;
  EXPECT_FALSE(budget.Bytes(kMaxValueBytes + 1));
  EXPECT_EQ(MakeString(budget, "text").text(), "");
  EXPECT_TRUE(MakeSequence(budget, Kind::kList, {Int(1)}).items().empty());
  DictBuilder builder(budget);
  builder.Set("k", Int(1));
  EXPECT_TRUE(AsDict(builder.Build()).entries.empty());
}

TEST(JinjaValue, StringsAreBoundedOneByOneToo) {
  Budget budget;
  EXPECT_EQ(MakeString(budget, std::string(kMaxTextBytes, 'x')).text().size(),
            static_cast<size_t>(kMaxTextBytes));
  EXPECT_TRUE(budget.ok());
  MakeString(budget, std::string(kMaxTextBytes + 1, 'x'));
  EXPECT_EQ(budget.status().message(),
            "a string needs more than 16 MiB of memory");
}

}  // namespace
}  // namespace zqfp::jinja
