// Percent-encoding and query strings: the one documented rule of uri.hpp.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/http/uri.hpp>

namespace fasterapi::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs read(std::string_view query) {
  Pairs out;
  QueryReader reader(query);
  for (QueryPair pair; reader.next(pair);) out.emplace_back(form_decoded(pair.name), form_decoded(pair.value));
  return out;
}

TEST(Uri, DecodesWhatIsEncodedAndNothingElse) {
  EXPECT_EQ(percent_decoded("/a%20b"), "/a b");
  EXPECT_EQ(percent_decoded("%2F%2f"), "//");
  EXPECT_EQ(percent_decoded("a+b"), "a+b");
  EXPECT_EQ(percent_decoded("%C3%A9"), "\xc3\xa9");
  EXPECT_EQ(percent_decoded("%00"), std::string(1, '\0'));
  EXPECT_EQ(percent_decoded("%"), "%");
  EXPECT_EQ(percent_decoded("%4"), "%4");
  EXPECT_EQ(percent_decoded("%zz%41"), "%zzA");
  EXPECT_EQ(percent_decoded("%%41"), "%A");
  EXPECT_EQ(percent_decoded("%2541"), "%41");  // once, never twice
  EXPECT_EQ(form_decoded("a+b%2B"), "a b+");
}

TEST(Uri, DecodingInPlaceIsAllowed) {
  std::string text = "%41%42c";
  text.resize(percent_decode(text, text.data()));
  EXPECT_EQ(text, "ABc");
}

TEST(Uri, QueriesAreReadLikeForms) {
  EXPECT_EQ(read("a=1&b=2"), (Pairs{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(read(""), Pairs{});
  EXPECT_EQ(read("&&a&"), (Pairs{{"a", ""}}));
  EXPECT_EQ(read("a=b=c"), (Pairs{{"a", "b=c"}}));
  EXPECT_EQ(read("=x"), (Pairs{{"", "x"}}));
  EXPECT_EQ(read("a+b=%26&c=%3D"), (Pairs{{"a b", "&"}, {"c", "="}}));
  EXPECT_EQ(read("a=1;b=2"), (Pairs{{"a", "1;b=2"}}));
}

TEST(Uri, FormEqualsAgreesWithDecoding) {
  std::mt19937 random(5);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 12, ' ');
    for (char& c : text) c = "%+4aZ1=2"[random() % 8];
    std::string plain = form_decoded(text);
    EXPECT_TRUE(form_equals(text, plain)) << text;
    EXPECT_FALSE(form_equals(text, plain + "x"));
    if (!plain.empty()) {
      plain.back() ^= 1;
      EXPECT_FALSE(form_equals(text, plain)) << text;
    }
  }
}

}  // namespace
}  // namespace fasterapi::http
