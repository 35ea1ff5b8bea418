// Dates, entity tags, ranges and codings by table.
#include <fasterapi/http/conditional.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include <fasterapi/http/negotiate.hpp>
#include <fasterapi/http/static_directory.hpp>

namespace fasterapi::http {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

struct RangeCase {
  const char* field;
  RangeResult result;
  Ranges ranges = {};
};

TEST(Ranges, by_table_for_ten_bytes) {
  using enum RangeResult;
  const RangeCase cases[] = {
      {"bytes=0-", satisfiable, {{0, 10}}},
      {"bytes=0-0", satisfiable, {{0, 1}}},
      {"bytes=2-4", satisfiable, {{2, 5}}},
      {"bytes=9-99", satisfiable, {{9, 10}}},
      {"bytes=-3", satisfiable, {{7, 10}}},
      {"bytes=-99", satisfiable, {{0, 10}}},
      {"BYTES = 1-2 , 5-6", satisfiable, {{1, 3}, {5, 7}}},
      {"bytes=5-6,1-2", satisfiable, {{1, 3}, {5, 7}}},
      {"bytes=0-4,2-6", satisfiable, {{0, 7}}},  // overlapping
      {"bytes=0-1,2-3", satisfiable, {{0, 4}}},  // adjacent
      {"bytes=0-1,,20-30,", satisfiable, {{0, 2}}},
      {"bytes=10-", unsatisfiable},
      {"bytes=-0", unsatisfiable},
      {"bytes=99999999999999999999999999-", unsatisfiable},
      {"bytes=0-99999999999999999999999999", satisfiable, {{0, 10}}},
      {"bytes=", malformed},
      {"bytes=-", malformed},
      {"bytes", malformed},
      {"bytes=4-2", malformed},
      {"bytes=a-b", malformed},
      {"bytes=+1-2", malformed},
      {"bytes=1-2-3", malformed},
      {"bytes=0x1-2", malformed},
      {"lines=1-2", ignored},
      {"bytes=0-0,2-2,4-4,6-6,8-8", ignored},  // more than four
  };
  for (const RangeCase& one : cases) {
    std::vector<ByteRange> out;
    EXPECT_EQ(parse_ranges(one.field, 10, 4, out), one.result) << one.field;
    Ranges got;
    for (const ByteRange& range : out) got.emplace_back(range.first, range.end);
    EXPECT_EQ(got, one.ranges) << one.field;
  }
  std::vector<ByteRange> out;
  EXPECT_EQ(parse_ranges("bytes=0-", 0, 4, out), unsatisfiable);
}

// Starlette CVE-2025-62727, Tornado CVE-2025-67725/6
TEST(Ranges, advisory_range_lists_are_linear_and_limited) {
  std::string field = "bytes=";
  for (int i = 0; i < 200'000; ++i) field += "0-,";
  std::vector<ByteRange> out;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_ranges(field, 1'000'000, 100, out), RangeResult::ignored);
  EXPECT_EQ(parse_ranges(field, 1'000'000, field.size(), out), RangeResult::satisfiable);
  EXPECT_EQ(out.size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(Dates, three_forms) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994"), 784111777);
  EXPECT_EQ(parse_http_date("Tuesday, 01-Jan-80 00:00:00 GMT"), 315532800);
}

TEST(Dates, anything_else_is_none) {
  for (const char* text :
       {"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 unN 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06-Nov-94 08:49 GMT", "Sunday, 06-Nov-94 08:49:37 GMTX"})
    EXPECT_EQ(parse_http_date(text), kNoDate) << text;
}

TEST(EntityTags, lists) {
  EXPECT_TRUE(entity_tag_listed("\"a\", \"b\"", "\"b\"", false));
  EXPECT_TRUE(entity_tag_listed("*", "\"b\"", false));
  EXPECT_TRUE(entity_tag_listed(" * ", "\"b\"", true));
  EXPECT_FALSE(entity_tag_listed("\"a\"", "\"b\"", true));
  EXPECT_FALSE(entity_tag_listed("", "\"b\"", true));
  EXPECT_TRUE(entity_tag_listed("W/\"b\"", "\"b\"", true));
  EXPECT_TRUE(entity_tag_listed("\"b\"", "W/\"b\"", true));
  EXPECT_FALSE(entity_tag_listed("W/\"b\"", "\"b\"", false));
  EXPECT_FALSE(entity_tag_listed("W/\"b\"", "W/\"b\"", false));
  EXPECT_TRUE(entity_tag_listed("\"a,b\" , \"c\"", "\"a,b\"", false));
  EXPECT_FALSE(entity_tag_listed("b", "\"b\"", true));
  EXPECT_FALSE(entity_tag_listed("\"a\" \"b\"", "\"b\"", true));
  EXPECT_FALSE(entity_tag_listed("\"b", "\"b\"", true));
}

class Parsed {
 public:
  explicit Parsed(const std::string& fields, const char* method = "GET") {
    text_ = std::string(method) + " / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
    const std::size_t size = text_.size();
    text_.append(kReadPadding, '\0');
    EXPECT_TRUE(parse_request(text_.data(), size, Limits{}, head, memo_).complete());
  }
  RequestHead head;

 private:
  std::string text_;
  HeaderMemo memo_;
};

constexpr std::int64_t kThen = 784111777;
constexpr const char* kBefore = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr const char* kAt = "Sun, 06 Nov 1994 08:49:37 GMT";

TEST(Conditions, in_the_order_of_rfc_9110_section_13_2_2) {
  struct Case {
    std::string fields;
    Condition get, put;
  };
  using enum Condition;
  const std::string at = kAt, before = kBefore;
  const Case cases[] = {
      {"", proceed, proceed},
      {"If-Match: \"a\"\r\n", proceed, proceed},
      {"If-Match: \"b\"\r\n", failed, failed},
      {"If-Match: \"b\"\r\nIf-Match: \"a\"\r\n", proceed, proceed},
      {"If-Match: W/\"a\"\r\n", failed, failed},
      {"If-Match: *\r\n", proceed, proceed},
      {"If-Unmodified-Since: " + at + "\r\n", proceed, proceed},
      {"If-Unmodified-Since: " + before + "\r\n", failed, failed},
      {"If-Unmodified-Since: nonsense\r\n", proceed, proceed},
      {"If-Match: \"a\"\r\nIf-Unmodified-Since: " + before + "\r\n", proceed, proceed},  // If-Match decides
      {"If-None-Match: \"a\"\r\n", not_modified, failed},
      {"If-None-Match: W/\"a\"\r\n", not_modified, failed},
      {"If-None-Match: *\r\n", not_modified, failed},
      {"If-None-Match: \"b\"\r\n", proceed, proceed},
      {"If-Modified-Since: " + at + "\r\n", not_modified, proceed},
      {"If-Modified-Since: " + before + "\r\n", proceed, proceed},
      {"If-None-Match: \"b\"\r\nIf-Modified-Since: " + at + "\r\n", proceed, proceed},  // If-None-Match decides
      {"If-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", failed, failed},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(evaluate_conditions(Parsed(one.fields).head, {"\"a\"", kThen}), one.get) << one.fields;
    EXPECT_EQ(evaluate_conditions(Parsed(one.fields, "PUT").head, {"\"a\"", kThen}), one.put) << one.fields;
  }
}

TEST(Conditions, if_range_compares_strongly) {
  const std::string range = "Range: bytes=0-1\r\n";
  auto applies = [&](const std::string& fields, std::string_view tag = "\"a\"") {
    return range_applies(Parsed(fields).head, {tag, kThen});
  };
  EXPECT_FALSE(applies(""));
  EXPECT_FALSE(applies("If-Range: \"a\"\r\n"));
  EXPECT_TRUE(applies(range));
  EXPECT_FALSE(applies(range + range));
  EXPECT_TRUE(applies(range + "If-Range: \"a\"\r\n"));
  EXPECT_FALSE(applies(range + "If-Range: \"b\"\r\n"));
  EXPECT_FALSE(applies(range + "If-Range: W/\"a\"\r\n", "W/\"a\""));
  EXPECT_TRUE(applies(range + "If-Range: " + kAt + "\r\n"));
  EXPECT_FALSE(applies(range + "If-Range: " + kBefore + "\r\n"));
  EXPECT_FALSE(applies(range + "If-Range: nonsense\r\n"));
}

TEST(AcceptEncoding, by_table) {
  using enum Coding;
  struct Case {
    const char* field;
    Coding best;
  };
  constexpr Coding kOffered[] = {br, zstd, gzip};
  const Case cases[] = {
      {nullptr, identity},
      {"", identity},
      {"gzip", gzip},
      {"x-gzip", gzip},
      {"GZIP", gzip},
      {"gzip, deflate, br, zstd", br},
      {"gzip;q=1, br;q=0.9", gzip},
      {"gzip;q=0.5, zstd;q=0.501", zstd},
      {"gzip;q=0", identity},
      {"*", br},
      {"*;q=0.5, br;q=0", zstd},
      {"identity;q=1, gzip;q=0.5", identity},
      {"identity;q=0, gzip;q=0.1", gzip},
      {"gzip;q=2", identity},
      {"gzip;q=abc", identity},
      {"gzip;level=1", identity},
      {"gzip ; q=0.3 , ", gzip},
      {"gzipped", identity},
  };
  for (const Case& one : cases) {
    Parsed request(one.field ? std::string("Accept-Encoding: ") + one.field + "\r\n" : "");
    EXPECT_EQ(parse_accept_encoding(request.head).best(kOffered), one.best) << (one.field ? one.field : "none");
  }
}

TEST(StaticPaths, only_what_names_something_below) {
  std::string decoded;
  for (const char* good :
       {"", "a", "a/b.txt", "a/", "a%20b", "%C3%A9", "a..b", "..a/b", ".well-known/x", "a.b/c"}) {
    const bool hidden = std::string_view(good).starts_with("..");
    EXPECT_TRUE(safe_static_path(good, hidden, decoded)) << good;
  }
  for (const char* bad : {"..",    "../x",        "a/../b", "a/..",   "%2e%2e/x", "%2E%2E%2Fx",
                          "a%2Fb", "/etc/passwd", "//x",    "a//b",   ".",        "./a",
                          "a/./b", "a%00b",       "a%0ab",  "..%5cx", "a\\b",     "%5c%5cserver%5cshare",
                          "a%7f",  "%2e%2e"})
    EXPECT_FALSE(safe_static_path(bad, true, decoded)) << bad;
  EXPECT_FALSE(safe_static_path(".env", false, decoded));
  EXPECT_FALSE(safe_static_path("a/.git/config", false, decoded));
  EXPECT_TRUE(safe_static_path(".env", true, decoded));
}

}  // namespace
}  // namespace fasterapi::http
