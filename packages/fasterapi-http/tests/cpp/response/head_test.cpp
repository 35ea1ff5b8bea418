#include <gtest/gtest.h>

#include <string>

#include <fasterapi/http/response_head.hpp>

namespace fasterapi::http {
namespace {

std::string head(const HeadTemplate& made, std::uint64_t length, Persistence persistence = Persistence::implied,
                 std::string_view tail = "\r\n") {
  std::string out(made.max_size() + 64, '\xff');
  char* end = made.write(out.data(), length, persistence, tail);
  EXPECT_LE(static_cast<std::size_t>(end - out.data()), made.max_size());
  return {out.data(), end};
}

TEST(HeadTemplate, every_length_has_its_digits) {
  HeadTemplate made(200, "text/plain", {}, {});
  for (std::uint64_t n : {0ull, 7ull, 10ull, 42ull, 99ull, 100ull, 101ull, 999ull, 1000ull, 1002ull, 9999ull,
                          10000ull, 123456ull, 18446744073709551615ull})
    EXPECT_EQ(head(made, n),
              "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: " + std::to_string(n) + "\r\n\r\n");
}

TEST(HeadTemplate, fields_and_persistence) {
  HeaderField field{"x-a", "b"};
  HeadTemplate made(404, "application/json", {&field, 1}, "server: mine\r\n");
  EXPECT_EQ(
      head(made, 2, Persistence::close),
      "HTTP/1.1 404 Not Found\r\nserver: mine\r\ncontent-type: application/json\r\nx-a: b\r\ncontent-length: 2\r\n"
      "connection: close\r\n\r\n");
  EXPECT_NE(head(made, 2, Persistence::keep_alive).find("connection: keep-alive\r\n"), std::string::npos);
}

TEST(HeadTemplate, no_length_where_there_is_no_body) {
  for (int status : {101, 204, 304})
    EXPECT_EQ(head(HeadTemplate(status, {}, {}, {}), 5).find("content-length"), std::string::npos);
}

TEST(DateCache, is_an_imf_fixdate_of_the_current_second) {
  char text[32];
  EXPECT_EQ(std::string(text, write_http_date(text, 784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");
  DateCache cache;
  std::string_view tail = cache.tail(1);
  EXPECT_EQ(tail.size(), DateCache::kSize);
  EXPECT_TRUE(tail.starts_with("date: "));
  EXPECT_TRUE(tail.ends_with(" GMT\r\n\r\n"));
  HeadTemplate made(200, {}, {}, {});
  EXPECT_EQ(head(made, 1, Persistence::implied, tail),
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n" + std::string(tail));
}

TEST(Fields, controls_are_refused) {
  for (int c = 0; c < 256; ++c) {
    std::string value = std::string("a") + static_cast<char>(c) + "b";
    EXPECT_EQ(valid_field_value(value), (c >= 0x20 && c != 0x7f) || c == '\t') << c;
    if (c <= 0x20 || c >= 0x7f || c == ':') {
      EXPECT_FALSE(valid_field_name(value)) << c;
    }
  }
  EXPECT_FALSE(valid_field_name(""));
  EXPECT_TRUE(valid_field_name("X-Rate_Limit"));
}

}  // namespace
}  // namespace fasterapi::http
