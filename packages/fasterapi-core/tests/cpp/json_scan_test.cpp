// json_chars.hpp and json_scan.hpp: every scan beside its plain twin, the cursor on good and bad texts.
#include <fasterapi/core/json_scan.hpp>

#include <array>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fasterapi::core::json {
namespace {

using std::string_view_literals::operator""sv;

/// A copy that ends at the end of its allocation, so that AddressSanitizer sees every read beyond it.
struct Exact {
  explicit Exact(std::string_view text) : size(text.size()), data(new char[text.size() + 1]) {
    std::memcpy(data.get() + 1, text.data(), size);
  }
  std::string_view view() const { return {data.get() + 1, size}; }
  std::size_t size;
  std::unique_ptr<char[]> data;
};

template <Stop stop>
void expect_twins(std::string_view text) {
  const Exact exact(text);
  const std::string_view view = exact.view();
  const std::size_t plain = scalar::find<stop>(view.data(), view.size());
  EXPECT_EQ(find<stop>(view.data(), view.size()), plain) << text;
#if FASTERAPI_X86_64
  EXPECT_EQ(detail::find_sse2<stop>(view.data(), view.size()), plain);
  if (__builtin_cpu_supports("avx2")) {
    EXPECT_EQ(detail::find_avx2<stop>(view.data(), view.size()), plain);
  }
#endif
}

TEST(JsonChars, VectorScansStopWhereThePlainLoopStops) {
  std::mt19937 random(7);
  for (std::size_t size = 0; size < 200; ++size) {
    for (int byte = 0; byte < 256; byte += 1) {
      std::string text(size, 'a');
      if (size > 0) text[random() % size] = static_cast<char>(byte);
      expect_twins<Stop::kEscape>(text);
      expect_twins<Stop::kText>(text);
    }
  }
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 100, '\0');
    for (char& c : text) c = static_cast<char>(random());
    expect_twins<Stop::kEscape>(text);
    expect_twins<Stop::kText>(text);
  }
}

TEST(JsonChars, Utf8LengthKnowsTheWellFormedSequences) {
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    char bytes[4];
    const auto n = static_cast<unsigned>(put_utf8(bytes, code) - bytes);
    EXPECT_EQ(utf8_length(bytes, n), code >= 0xD800 && code < 0xE000 ? 0u : n);
    if (n > 1) {
      EXPECT_EQ(utf8_length(bytes, n - 1), 0u);
    }
  }
  for (std::string_view bad : {"\xC0\x80"sv, "\xC1\xBF"sv, "\xE0\x9F\xBF"sv, "\xF0\x8F\xBF\xBF"sv, "\xF4\x90\x80\x80"sv,
                               "\xF5\x80\x80\x80"sv, "\x80"sv, "\xFF"sv, "\xED\xA0\x80"sv}) {
    EXPECT_EQ(utf8_length(bad.data(), bad.size()), 0u);
  }
  EXPECT_EQ(utf8_length("", 0), 0u);
}

TEST(JsonScan, ValidTexts) {
  for (std::string_view text :
       {"null"sv, " true "sv, "false"sv, "0"sv, "-0"sv, "12.5e-3"sv, "1E+2"sv, R"("")"sv, R"("a\n\u00e9\ud83d\ude00é")"sv, "[]"sv,
        "{}"sv, R"([1, [2], {"a" : [ ] }])"sv, R"({"a":{"b":{}},"c":null})"sv, "\t[\r\n1 ]\n"sv}) {
    const Exact exact(text);
    EXPECT_TRUE(valid(exact.view())) << text;
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      const Exact part(text.substr(0, cut));
      if (text.find_first_of("[{\"") != std::string_view::npos && text.back() != ' ' && text.back() != '\n') {
        EXPECT_FALSE(valid(part.view())) << part.view();
      } else {
        valid(part.view());
      }
    }
  }
}

TEST(JsonScan, InvalidTexts) {
  for (std::string_view text :
       {""sv, "  "sv, "nul"sv, "True"sv, "01"sv, "-"sv, "+1"sv, "1."sv, ".1"sv, "1e"sv, "NaN"sv, "\"\t\""sv, "\"\\x\""sv,
        "\"\\u12g4\""sv, "\"\\ud800\""sv, "\"\\udc00\""sv, "\"\\ud800\\ud800\""sv, "\"\xff\""sv, "\"\xED\xA0\x80\""sv, "[1,]"sv,
        "[1 2]"sv, "[,]"sv, "{\"a\"}"sv, "{\"a\":}"sv, "{a:1}"sv, "{\"a\":1,}"sv, "{\"a\":1"sv, "]"sv, "1 2"sv, "{}}"sv,
        "\xEF\xBB\xBF{}"sv, "\"abc"sv}) {
    const Exact exact(text);
    EXPECT_FALSE(valid(exact.view())) << text;
  }
}

TEST(JsonScan, DepthIsBounded) {
  const auto nest = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_TRUE(valid(nest(128)));
  EXPECT_FALSE(valid(nest(129)));
  EXPECT_FALSE(valid(std::string(1000000, '[')));
  EXPECT_TRUE(valid(nest(3), 3));
  EXPECT_FALSE(valid(nest(4), 3));
}

TEST(JsonScan, FieldsAreFoundWithoutBuildingAnything) {
  const Exact text(
      R"( {"jsonrpc":"2.0","id":"a\"7","meth\u006fd":"tools/call","params":{"name":"add","arguments":{"a":1}},"x":[1]} )");
  constexpr std::array names{"id"sv, "method"sv, "params"sv, "absent"sv, "x"sv};
  std::array<Span, 5> found;
  ASSERT_TRUE(find_fields(text.view(), names, found));
  EXPECT_EQ(found[0].text, R"("a\"7")");
  EXPECT_TRUE(equals(found[0].inside(), "a\"7"));
  EXPECT_EQ(found[1].inside(), "tools/call");
  EXPECT_EQ(found[2].kind, Kind::kObject);
  EXPECT_FALSE(found[3]);
  EXPECT_EQ(found[4].text, "[1]");
  constexpr std::array inner{"name"sv, "arguments"sv};
  std::array<Span, 2> params;
  ASSERT_TRUE(find_fields(found[2].text, inner, params));
  EXPECT_EQ(params[0].inside(), "add");
  EXPECT_EQ(params[1].text, R"({"a":1})");
}

TEST(JsonScan, LastDuplicateCountsAndDamageAnywhereIsRefused) {
  constexpr std::array names{"a"sv};
  std::array<Span, 1> found;
  ASSERT_TRUE(find_fields(R"({"a":1,"b":2,"a":3})", names, found));
  EXPECT_EQ(found[0].text, "3");
  EXPECT_FALSE(find_fields(R"({"a":1,"b":})", names, found));
  EXPECT_FALSE(find_fields(R"([1])", names, found));
  EXPECT_FALSE(find_fields(R"({"a":1} x)", names, found));
  EXPECT_FALSE(find_fields("", names, found));
}

TEST(JsonScan, StringsCompareAndUnescape) {
  EXPECT_TRUE(equals("abc", "abc"));
  EXPECT_TRUE(equals("", ""));
  EXPECT_FALSE(equals("abc", "abd"));
  EXPECT_FALSE(equals("", "a"));
  EXPECT_TRUE(equals(R"(\u0061b\/)", "ab/"));
  EXPECT_TRUE(equals(R"(\ud83d\ude00)", "\xF0\x9F\x98\x80"));
  EXPECT_FALSE(equals(R"(\\)", R"(\\)"));
  EXPECT_TRUE(equals(R"(\\)", R"(\)"));
  EXPECT_FALSE(equals(R"(a\n)", "a"));
  for (auto [raw, plain] : {std::pair{R"(a\tb\u00e9\ud83d\ude00c)"sv, "a\tb\xC3\xA9\xF0\x9F\x98\x80" "c"sv},
                            std::pair{"plain"sv, "plain"sv}, std::pair{""sv, ""sv}, std::pair{R"(\"\\\b\f\n\r)"sv, "\"\\\b\f\n\r"sv}}) {
    std::string out(raw.size(), '\0');
    out.resize(unescape(raw, out.data()));
    EXPECT_EQ(out, plain);
    EXPECT_TRUE(equals(raw, plain));
  }
}

TEST(JsonScan, CursorWalksContainers) {
  Cursor cursor(R"([ 1, "two", [3], {"k": 4} ] )");
  std::vector<std::string> seen;
  ASSERT_TRUE(cursor.elements([&](const Span& item) noexcept {
    seen.emplace_back(item.text);
    return true;
  }));
  EXPECT_EQ(seen, (std::vector<std::string>{"1", R"("two")", "[3]", R"({"k": 4})"}));
  cursor.skip_space();
  EXPECT_TRUE(cursor.at_end());
  Cursor broken("[1, x]");
  EXPECT_FALSE(broken.elements([](const Span&) noexcept { return true; }));
  EXPECT_EQ(broken.offset(), 4u);
}

TEST(JsonScan, IntegersAreTakenOnlyWhenTheyAreIntegers) {
  const auto read = [](std::string_view text) {
    Span span{text, Kind::kNumber};
    std::int64_t value = -1;
    return to_int(span, value) ? value : -999;
  };
  EXPECT_EQ(read("0"), 0);
  EXPECT_EQ(read("-20"), -20);
  EXPECT_EQ(read("999999999999999999"), 999999999999999999);
  EXPECT_EQ(read("1.0"), -999);
  EXPECT_EQ(read("1e3"), -999);
  EXPECT_EQ(read("1234567890123456789"), -999);
  std::int64_t value;
  EXPECT_FALSE(to_int(Span{"\"1\"", Kind::kString}, value));
}

TEST(JsonScan, DamagedTextsNeverReadOutside) {
  std::mt19937 random(11);
  const std::string text = R"({"a":[1,2.5e3,"x\u00e9\n"],"b":{"c":null,"d":[true,false]},"long":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})";
  for (int round = 0; round < 50000; ++round) {
    std::string damaged = text.substr(0, random() % (text.size() + 1));
    if (!damaged.empty()) damaged[random() % damaged.size()] = static_cast<char>(random());
    const Exact exact(damaged);
    constexpr std::array names{"b"sv, "long"sv};
    std::array<Span, 2> found;
    find_fields(exact.view(), names, found);
  }
}

}  // namespace
}  // namespace fasterapi::core::json
