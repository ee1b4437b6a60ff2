// SPDX-License-Identifier: Apache-2.0
// Templates that mean harm end with an error that says why, and soon; so do
// broken arguments, and nothing is ever half rendered.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tokenizer/chat_template.h"

namespace zqfp {
namespace {

std::string Times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

absl::StatusOr<std::string> Render(const std::string& source,
                                   const ChatTemplateArgs& args = {}) {
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(args);
}

std::string ErrorOf(const std::string& source,
                    const ChatTemplateArgs& args = {}) {
  const absl::StatusOr<std::string> result = Render(source, args);
  if (result.ok()) return "rendered " + std::to_string(result->size());
  return std::string(result.status().message());
}

// Sanitizer and debug builds are slower by far more than the limit's slack.
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
constexpr double kSecondsAllowed = 3;
#else
constexpr double kSecondsAllowed = 60;
#endif

void ExpectSoon(const std::string& source, const std::string& wanted) {
  const auto start = std::chrono::steady_clock::now();
  const std::string error = ErrorOf(source);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  EXPECT_NE(error.find(wanted), std::string::npos)
      << source.substr(0, 120) << "\nwants: " << wanted << "\nhas: " << error;
  EXPECT_LT(seconds, kSecondsAllowed) << source.substr(0, 120);
}

constexpr char kSteps[] = "steps";
constexpr char kMemory[] = "MiB of memory";
constexpr char kNested[] = "nested deeper";

TEST(HostileTemplate, LoopsRunOutOfSteps) {
  ExpectSoon(
      Times(4, "{% for i in range(100000) %}") + "x" + Times(4, "{% endfor %}"),
      kSteps);
  ExpectSoon(
      "{% set ns = namespace(x=0) %}{% for i in range(90000) %}"
      "{% for j in range(90000) %}{% set ns.x = i %}{% endfor %}{% endfor %}",
      "");
  ExpectSoon("{{ range(100001)|list }}", "range() has more than 100000");
  ExpectSoon("{{ range(0, 9223372036854775807, 9)|list }}", "range()");
  ExpectSoon(
      "{% macro m(n) %}{{ m(n - 1) ~ m(n - 1) if n }}{% endmacro %}"
      "{{ m(50) }}",
      kSteps);
}

TEST(HostileTemplate, SearchesCountAsSteps) {
  ExpectSoon(
      "{% set x = 'ab' * 1000000 %}{% for i in range(100000) %}"
      "{{ 1 if 'zz' in x }}{% endfor %}",
      kSteps);
  ExpectSoon(
      "{% set x = 'a' * 2000000 %}{% set y = 'a' * 500000 + 'b' %}"
      "{% for i in range(100000) %}{{ x.find(y) }}{{ x.rfind(y) }}{% endfor %}",
      "");
  ExpectSoon(
      "{% set x = 'a' * 1000000 %}{% set y = 'a' * 1000000 %}"
      "{% for i in range(100000) %}{{ 1 if x == y ~ 'c' }}{% endfor %}",
      "");
  ExpectSoon(
      "{% set l = range(100000)|list %}{% for i in l %}"
      "{{ 1 if -1 in l }}{% endfor %}",
      kSteps);
}

TEST(HostileTemplate, StringsAndListsRunOutOfMemory) {
  ExpectSoon("{{ 'a' * 9223372036854775807 }}", kMemory);
  ExpectSoon("{{ 'ab' * 4611686018427387904 }}", kMemory);
  ExpectSoon("{{ [1] * 9223372036854775807 }}", kMemory);
  ExpectSoon("{{ [] * 9223372036854775807 }}{{ 1/0 }}", "division");
  ExpectSoon("{{ 'a'.ljust(9223372036854775807) }}", kMemory);
  ExpectSoon("{{ 'a'|indent(9223372036854775807) }}", kMemory);
  ExpectSoon("{{ 'a'|center(999999999999) }}", kMemory);
  ExpectSoon("{{ ('a' * 10000000).replace('a', 'b' * 1000000) }}", kMemory);
  ExpectSoon("{{ (('a' * 1000000)|list)|join('b' * 1000000) }}", "");
  ExpectSoon("{{ '%99999999d' % 1 }}", "wider");
  ExpectSoon(
      "{% set ns = namespace(x='ab') %}{% for i in range(64) %}"
      "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x|length }}",
      kMemory);
  ExpectSoon(
      "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}"
      "{% set ns.x = ns.x + ns.x %}{% endfor %}",
      kMemory);
  ExpectSoon(
      "{% macro m() %}{% endmacro %}{% for i in range(100000) %}"
      "{% macro n() %}{% endmacro %}{% set q = 'x' * 10000 %}{% endfor %}",
      "");
}

TEST(HostileTemplate, SharedPartsDoNotExplodeWhenPrinted) {
  const std::string doubling =
      "{% set ns = namespace(x=['0123456789']) %}{% for i in range(60) %}"
      "{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  ExpectSoon(doubling + "{{ ns.x }}", "");
  ExpectSoon(doubling + "{{ ns.x|tojson }}", "");
  ExpectSoon(doubling + "{{ ns.x|string|length }}", "");
  ExpectSoon(doubling +
                 "{% set a = ns.x %}{% set ns.x = ['0123456789'] %}"
                 "{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
                 "{% endfor %}{{ a == ns.x }}",
             kSteps);
  ExpectSoon(
      "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}"
      "{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
      "");
}

TEST(HostileTemplate, ValuesNestOnlySoDeep) {
  ExpectSoon(
      "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}"
      "{% set ns.x = [ns.x] %}{% endfor %}",
      "values nested deeper");
  ExpectSoon(
      "{% set ns = namespace(x={}) %}{% for i in range(100000) %}"
      "{% set ns.x = {'a': ns.x} %}{% endfor %}",
      "values nested deeper");
  ExpectSoon(
      "{% set ns = namespace(l=0) %}{% for i in range(1000) %}"
      "{% for x in [ns.l] %}{% set ns.l = loop %}{% endfor %}{% endfor %}",
      "values nested deeper");
  ExpectSoon("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
             "namespace cannot be printed");
  ExpectSoon("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns.me }}",
             "namespace cannot be printed");
}

TEST(HostileTemplate, SourceNestsOnlySoDeep) {
  constexpr int kDeep = 100000;
  ExpectSoon("{{ " + Times(kDeep, "(") + "1" + Times(kDeep, ")") + " }}",
             kNested);
  ExpectSoon("{{ " + Times(kDeep, "[") + Times(kDeep, "]") + " }}", kNested);
  ExpectSoon("{{ " + Times(kDeep, "{1:") + "1" + Times(kDeep, "}") + " }}",
             kNested);
  ExpectSoon("{{ " + Times(kDeep, "not ") + "1 }}", kNested);
  ExpectSoon("{{ " + Times(kDeep, "-") + "1 }}", kNested);
  ExpectSoon("{{ " + Times(kDeep / 2, "1 if 1 else ") + "1 }}", kNested);
  ExpectSoon("{{ 1" + Times(kDeep, "+1") + " }}", "too complex");
  ExpectSoon("{{ a" + Times(kDeep, ".a") + " }}", "too complex");
  ExpectSoon("{{ a" + Times(kDeep, "|d") + " }}", "too complex");
  ExpectSoon("{{ a" + Times(kDeep, "[1]") + " }}", "too complex");
  ExpectSoon("{{ a" + Times(kDeep, "()") + " }}", "too complex");
  ExpectSoon("{{ 1" + Times(kDeep, " and 1") + " }}", "too complex");
  ExpectSoon(Times(30000, "{% if 1 %}") + Times(30000, "{% endif %}"), kNested);
  ExpectSoon(Times(10000, "{% for i in x %}"), kNested);
  ExpectSoon(
      "{% set " + Times(kDeep, "(") + "a" + Times(kDeep, ")") + " = 1 %}",
      kNested);
  ExpectSoon("{{ " + Times(kDeep, "f(") + Times(kDeep, ")") + " }}", kNested);
  ExpectSoon("{{ " + Times(kDeep, "x|d(") + Times(kDeep, ")") + " }}", kNested);
}

TEST(HostileTemplate, LongSourcesEndSoon) {
  ExpectSoon(std::string((1 << 20) + 1, 'a'), "bytes, at most 1048576");
  ExpectSoon("{{ [" + Times(500000, "1,") + "] }}", "too complex");
  ExpectSoon(Times(205000, "{{1}}"), "too complex");
  ExpectSoon(Times(500000, "{%"), "expected");
  ExpectSoon(Times(300000, "{#"), "missing end of comment");
  ExpectSoon("{% raw %}" + Times(300000, "{% "), "missing end of raw");
  ExpectSoon("{{ '" + std::string(900000, 'x'), "closing");
  EXPECT_TRUE(Render(std::string(1 << 20, 'a')).ok());
  EXPECT_TRUE(Render("{{ " + Times(100000, "'a'") + "}}").ok());
}

TEST(HostileTemplate, RecursionEnds) {
  ExpectSoon("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deeper than");
  ExpectSoon(
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}"
      "{% endmacro %}{{ a() }}",
      "deeper than");
  ExpectSoon(
      "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{{ caller() }}"
      "{% endmacro %}{% call m() %}{% endcall %}",
      "");
  // The deepest recursion that is accepted, on a thread's small stack.
  const std::string deep = Times(70, "(0 or ") + "m()" + Times(70, ")");
  std::string error;
  std::thread thread([&] {
    error = ErrorOf("{% macro m() %}{{ " + deep + " }}{% endmacro %}{{ m() }}");
  });
  thread.join();
  EXPECT_NE(error.find("deeper than"), std::string::npos) << error;
}

TEST(HostileTemplate, OutputEnds) {
  ExpectSoon(
      "{% set x = 'a' * 1000000 %}{% for i in range(1000) %}{{ x }}"
      "{% endfor %}",
      "more than 16 MiB of text");
}

TEST(HostileTemplate, TheSandboxHolds) {
  for (const char* source :
       {"{{ ''.__class__ }}", "{{ x.__init__ }}", "{{ ().__class__.__base__ }}",
        "{{ []['__class__'] }}", "{{ {}|map(attribute='__class__')|list }}",
        "{{ [[]]|map(attribute='__class__')|list|first.x }}",
        "{{ messages.append(1) }}", "{{ messages.clear() }}",
        "{{ namespace(__class__=1) }}", "{% set ns.__class__ = 1 %}",
        "{{ lipsum.__globals__ }}", "{{ cycler }}", "{{ self.x }}",
        "{% include '/etc/passwd' %}", "{{ range.__self__ }}",
        "{{ dict.__mro__ }}", "{{ messages['append'](1) }}"}) {
    const absl::StatusOr<std::string> result = Render(source);
    if (result.ok()) {
      EXPECT_EQ(result->find("class"), std::string::npos) << source;
      EXPECT_TRUE(result->empty() || result->front() == '[') << *result;
    }
  }
}

TEST(HostileTemplate, ErrorsNameWhatAndWhere) {
  EXPECT_EQ(ErrorOf("a\n{{ b|nope }}"),
            "chat template: line 2, column 6: no filter named 'nope'");
  EXPECT_EQ(ErrorOf("{% if x is nope %}{% endif %}"),
            "chat template: line 1, column 12: no test named 'nope'");
  EXPECT_EQ(ErrorOf("é{% nope %}"),
            "chat template: line 1, column 5: the tag 'nope' is unknown here");
  EXPECT_EQ(ErrorOf("{{ 'a'.zfill(3) }}"),
            "chat template: line 1, column 8: str.zfill() is not known here");
  EXPECT_EQ(ErrorOf("{{ raise_exception('roles must alternate') }}"),
            "chat template: line 1, column 19: roles must alternate");
  EXPECT_EQ(ErrorOf("{{ nope.x }}"),
            "chat template: line 1, column 9: 'nope' is undefined");
  EXPECT_EQ(ErrorOf("{{ messages[0].role }}"),
            "chat template: line 1, column 16: 'list object' has no element 0");
  EXPECT_EQ(ErrorOf("{% if 1 %}\n\nx"),
            "chat template: line 1, column 4: 'if' is never closed: expected "
            "'endif'");
  EXPECT_EQ(ErrorOf("half {{ 1 }} {{ 1 / 0 }}"),
            "chat template: line 1, column 19: division by zero");
}

TEST(HostileTemplate, ArgumentsAreChecked) {
  ChatTemplateArgs args;
  args.messages = {{"user", "\xFF", ""}};
  EXPECT_EQ(ErrorOf("x", args),
            "chat template: message 0: content is not valid UTF-8");
  args.messages = {{"user", "a", "[1]"}};
  EXPECT_EQ(ErrorOf("x", args),
            "chat template: message 0: extra fields: want a JSON object, found "
            "list");
  args.messages.clear();
  args.tools_json = "[1";
  EXPECT_EQ(ErrorOf("x", args).rfind("chat template: tools: not valid JSON", 0),
            0u);
  args.tools_json = Times(100000, "[");
  EXPECT_NE(ErrorOf("x", args).find("nested deeper"), std::string::npos);
  args.tools_json = "123456789012345678901234567890";
  EXPECT_NE(ErrorOf("x", args).find("exceeds 64 bits"), std::string::npos);
  args.tools_json = "1e999";
  EXPECT_NE(ErrorOf("x", args).find("JSON"), std::string::npos);
  args.tools_json.clear();
  args.bos_token = "\xC0";
  EXPECT_EQ(ErrorOf("x", args), "chat template: bos_token is not valid UTF-8");
  EXPECT_EQ(ErrorOf("\xFF"), "chat template: the source is not valid UTF-8");
}

TEST(ChatTemplate, HashIsThatOfTheSource) {
  const auto a = ChatTemplate::Parse("a");
  const auto b = ChatTemplate::Parse("b");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->hash(), "d24ec4f1a98c6e5b");  // XXH64("a")
  EXPECT_NE(a->hash(), b->hash());
}

TEST(ChatTemplate, OneTemplateServesManyThreads) {
  const auto parsed = ChatTemplate::Parse(
      "{% for m in messages %}{{ m.content|upper }}{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  std::vector<std::thread> threads;
  std::vector<std::string> results(8);
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      ChatTemplateArgs args;
      args.messages.assign(50, {"user", std::string(1, 'a' + i), ""});
      results[i] = parsed->Render(args).value_or("error");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i], std::string(50, 'A' + i));
  }
}

TEST(ChatTemplate, LongConversationsFit) {
  const auto parsed = ChatTemplate::Parse(
      "{% set ns = namespace(n=0) %}{% for m in messages %}"
      "{% if m['role'] == 'user' and loop.index0 % 2 == 0 %}"
      "{% set ns.n = ns.n + 1 %}{% endif %}"
      "{{ '<|im_start|>' + m.role + '\\n' + m.content|trim + '<|im_end|>' }}"
      "{% endfor %}{{ ns.n }}");
  ASSERT_TRUE(parsed.ok());
  ChatTemplateArgs args;
  args.messages.assign(10000, {"user", std::string(500, 'x'), ""});
  const auto result = parsed->Render(args);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_TRUE(result->ends_with("5000"));
}

}  // namespace
}  // namespace zqfp
