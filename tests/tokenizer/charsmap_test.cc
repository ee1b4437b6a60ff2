// SPDX-License-Identifier: Apache-2.0
// Normalization rules whose walks would leave their memory.
#include "tokenizer/charsmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdint.h>
#include <string.h>

#include <string>
#include <vector>

#include "tokenizer/sentencepiece_tokenizer.h"

namespace zqfp {
namespace {

using ::testing::HasSubstr;

// Bits of a unit, as Darts-clone has them.
constexpr uint32_t kLeaf = 1 << 8, kWide = 1 << 9, kValue = 1u << 31;

// A trie whose units a test sets one by one: each base has a block of its own.
struct Rules {
  // No byte leads to a value; the zero byte would lead from 0 to 0.
  explicit Rules(size_t num_blocks) : units(num_blocks * 256, kValue) {}

  // Makes `byte` lead from the base of one block to that of another.
  void Edge(uint32_t from, uint8_t byte, uint32_t to, uint32_t flags = 0) {
    const uint32_t at = from * 256 + byte;
    units[at] = (at ^ to * 256) << 10 | flags | byte;
  }
  void Root(uint32_t to) { units[0] = to * 256 << 10; }
  // The rule that ends at the base of a block.
  void Text(uint32_t block, uint32_t at) { units[block * 256] = kValue | at; }

  std::string Bytes() const {
    const auto size = static_cast<uint32_t>(units.size() * 4);
    std::string bytes(4 + size, '\0');
    memcpy(bytes.data(), &size, 4);
    memcpy(bytes.data() + 4, units.data(), size);
    return bytes + texts;
  }

  std::vector<uint32_t> units;
  std::string texts = std::string("b\0", 2);
};

// a becomes b.
Rules Sound() {
  Rules rules(3);
  rules.Root(1);
  rules.Edge(1, 'a', 2, kLeaf);
  rules.Text(2, 0);
  return rules;
}

std::string Message(const std::string& rules) {
  return std::string(CheckCharsMap(rules, "map").message());
}

TEST(CharsMap, SoundRulesPass) {
  EXPECT_EQ(Message(""), "");
  EXPECT_EQ(Message(Sound().Bytes()), "");
  // What no walk reaches may be anything.
  Rules rules = Sound();
  rules.units[1 * 256 + 'b'] = ~0u;
  rules.units[2 * 256 + 'b'] = 0x12345600 | 'c';
  EXPECT_EQ(Message(rules.Bytes()), "");
}

TEST(CharsMap, SizesFit) {
  const std::string sound = Sound().Bytes();
  EXPECT_THAT(Message("ab"), HasSubstr("map: want more than 4 bytes, found 2"));
  for (const uint32_t size :
       {0u, 3u, 3070u, 3074u, 3076u, 0x7fffffffu, 0xfffffffcu}) {
    std::string rules = sound;
    memcpy(rules.data(), &size, 4);
    EXPECT_THAT(Message(rules), HasSubstr("want a trie of")) << size;
  }
  EXPECT_THAT(Message(sound.substr(0, sound.size() - 1)),
              HasSubstr("want texts that end in a zero byte"));
  EXPECT_THAT(Message(sound.substr(0, sound.size() - 2)),
              HasSubstr("want a trie of"));
}

TEST(CharsMap, WalksStayInTheTrie) {
  Rules root = Sound();
  root.units[0] = 0x3fffff << 10 | kWide;
  EXPECT_THAT(Message(root.Bytes()), HasSubstr("want steps within the 768"));
  Rules node = Sound();
  node.Edge(1, 'a', 3, kLeaf);
  EXPECT_THAT(Message(node.Bytes()), HasSubstr("found 1023"));
  // The base is inside, a byte later would not be.
  Rules short_block = Sound();
  short_block.units.resize(2 * 256 + 200);
  EXPECT_THAT(Message(short_block.Bytes()), HasSubstr("found 767"));
}

TEST(CharsMap, RulesLeadToTexts) {
  Rules rules = Sound();
  rules.Text(2, 2);
  EXPECT_THAT(Message(rules.Bytes()),
              HasSubstr("want texts within 2 bytes, found one at 2"));
  rules.Text(2, 0x7fffffff);
  EXPECT_THAT(Message(rules.Bytes()), HasSubstr("found one at 2147483647"));
  rules.Text(2, 0);
  rules.texts = std::string(1024, 'x') + '\0';
  EXPECT_EQ(Message(rules.Bytes()), "");
  rules.texts = std::string(1025, 'x') + '\0';
  EXPECT_THAT(Message(rules.Bytes()), HasSubstr("at most 1024 bytes"));
}

TEST(CharsMap, WalksEnd) {
  Rules rules = Sound();
  rules.Edge(2, 'x', 1);
  EXPECT_THAT(Message(rules.Bytes()), HasSubstr("a walk in circles"));
}

// The library keeps the rules that a text begins with in room for 32.
TEST(CharsMap, RulesThatBeginAlikeAreFew) {
  for (const uint32_t length : {32u, 33u}) {
    Rules rules(length + 2);
    rules.Root(1);
    for (uint32_t i = 1; i <= length; ++i) {
      rules.Edge(i, 'a', i + 1, kLeaf);
      // Another way to the same place: walks that meet are fine.
      rules.Edge(i, 'b', i + 1);
      rules.Text(i + 1, 0);
    }
    EXPECT_EQ(Message(rules.Bytes()).empty(), length == 32) << length;
  }
}

// Fields of protocol buffers that are shorter than 128 bytes, or 2^21.
std::string Field(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  for (size_t size = bytes.size(); true; size >>= 7) {
    field += static_cast<char>(size < 0x80 ? size : size | 0x80);
    if (size < 0x80) break;
  }
  return field + bytes;
}

TEST(CharsMap, IsFoundWhereverItIs) {
  Rules bad = Sound();
  bad.Text(2, 2);
  const std::string good = Field(2, Sound().Bytes());
  const std::string broken = Field(2, bad.Bytes());
  const std::string number("\x18\x01", 2);  // add_dummy_prefix
  const auto message = [](const std::string& model) {
    return std::string(CheckCharsMaps(model, "m").message());
  };
  EXPECT_EQ(message(""), "");
  EXPECT_EQ(message(Field(3, good)), "");
  EXPECT_EQ(message(Field(1, broken) + Field(4, broken)), "");
  for (const std::string& model :
       {Field(3, broken), Field(3, number + broken + number),
        Field(3, good + broken), Field(3, broken + good),
        Field(3, good) + Field(3, broken), Field(3, broken) + Field(3, good)}) {
    EXPECT_THAT(message(model),
                HasSubstr("m: normalizer: precompiled_charsmap: want texts"));
  }
  EXPECT_THAT(message(Field(5, broken)),
              HasSubstr("m: denormalizer: precompiled_charsmap: want texts"));
  for (const std::string& model :
       {std::string("\x1a"), std::string("\x1a\x05zz"), std::string("\x1b"),
        Field(3, "\x12\x7f"), std::string(11, '\xff'),
        // A number of 2^32 + 3: some parsers drop the upper bits.
        std::string("\x9a\x80\x80\x80\x80\x01\x00", 7),
        std::string("\x02\x00", 2)}) {
    EXPECT_THAT(message(model), HasSubstr("want a sentencepiece model"));
  }
}

// A tokenizer.model with one piece for each letter.
std::string ModelWith(const std::string& rules) {
  const auto piece = [](const std::string& text, char type) {
    return Field(1, Field(1, text) + std::string("\x15\0\0\x80\xbf\x18", 6) +
                        std::string(1, type));
  };
  return piece("<unk>", 2) + piece("a", 1) + piece("b", 1) +
         Field(2, "\x18\x02") +
         Field(3, Field(2, rules) + std::string("\x18\0\x20\0", 4));
}

TEST(CharsMap, ATokenizerWithSoundRulesFollowsThem) {
  const auto tokenizer =
      MakeSentencePieceTokenizer(ModelWith(Sound().Bytes()), {}, "m");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode("ab", {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, (std::vector<int32_t>{2, 2}));
}

TEST(CharsMap, ATokenizerWithOthersIsRefused) {
  Rules far = Sound();
  far.units[0] = 0x3fffff << 10 | kWide;
  const auto tokenizer =
      MakeSentencePieceTokenizer(ModelWith(far.Bytes()), {}, "m");
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("m: normalizer: precompiled_charsmap: want steps"));
}

}  // namespace
}  // namespace zqfp
