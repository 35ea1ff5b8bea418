// Chunked bodies against RFC 9112 section 7.1: cases, every split, limits, linear cost.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <fasterapi/http/chunked.hpp>

namespace fasterapi::http {
namespace {

struct Outcome {
  std::string body, code;
  bool done = false;
  std::size_t consumed = 0;
  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << "done " << o.done << " consumed " << o.consumed << " code " << o.code << " body "
             << o.body.substr(0, 80);
}

/// Feeds the pieces one after the other; `consumed` counts over all of them.
Outcome feed(const std::vector<std::string_view>& pieces, const Limits& limits = {}) {
  ChunkedDecoder decoder;
  Outcome out;
  for (std::string_view piece : pieces) {
    std::size_t at = 0;
    for (;;) {
      auto step = decoder.next(piece.data() + at, piece.size() - at, limits);
      at += step.consumed;
      out.consumed += step.consumed;
      if (step.kind == ChunkedDecoder::Step::Kind::data) {
        EXPECT_FALSE(step.data.empty());
        EXPECT_GE(step.data.data(), piece.data());
        EXPECT_LE(step.data.data() + step.data.size(), piece.data() + piece.size());
        out.body += step.data;
        continue;
      }
      if (step.kind == ChunkedDecoder::Step::Kind::need_more) {
        EXPECT_EQ(at, piece.size());
        break;
      }
      if (step.kind == ChunkedDecoder::Step::Kind::error) out.code = step.error->code;
      out.done = step.kind == ChunkedDecoder::Step::Kind::done;
      EXPECT_EQ(out.done, decoder.done());
      return out;
    }
  }
  EXPECT_EQ(decoder.total(), out.body.size());
  return out;
}

struct Case {
  const char* id;
  std::string bytes;
  std::string body;
  std::string code;  // "" accepted, "..." wants more
  const char* section;
};

const std::vector<Case>& cases() {
  using namespace std::string_literals;
  static const std::vector<Case> all = {
      {"empty", "0\r\n\r\n", "", "", "9112 7.1"},
      {"one", "5\r\nhello\r\n0\r\n\r\n", "hello", "", "9112 7.1"},
      {"two", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "", "9112 7.1"},
      {"upper_hex", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", "9112 7.1"},
      {"lower_hex", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", "9112 7.1"},
      {"leading_zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello", "", "9112 7.1"},
      {"too_many_zeros", std::string(17, '0') + "\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"data_with_crlf", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", "", "9112 7.1"},
      {"rest_is_next_request", "0\r\n\r\nGET / HTTP/1.1\r\n", "", "", "9112 7.1"},
      {"extension", "5;a=b;c\r\nhello\r\n0;x\r\n\r\n", "hello", "", "9112 7.1.1"},
      {"extension_quoted", "5;a=\"x;\\\"\"\r\nhello\r\n0\r\n\r\n", "hello", "", "9112 7.1.1"},
      {"extension_newline", "5;a\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_extension", "aiohttp CVE-2024-52304"},
      {"extension_bare_cr", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1.1"},
      {"extension_cr_in_quotes", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_extension",
       "9112 7.1.1"},
      {"extension_nul", "5;a\0\r\nhello\r\n0\r\n\r\n"s, "", "http.bad_chunk_extension", "9112 7.1.1"},
      {"extension_too_long", "5;" + std::string(2000, 'x') + "\r\nhello\r\n", "", "http.chunk_extension_too_large",
       "limits"},
      {"size_empty", "\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_prefix", "0x5\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_plus", "+5\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_minus", "-5\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_underscore", "1_0\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_blank_after", "5 \r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1.1"},
      {"size_blank_before", " 5\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_not_hex", "G\r\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_2_63", "8000000000000000\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_below_2_63", "7fffffffffffffff\r\nx", "x", "...", "9112 7.1"},
      {"size_17_digits", "00000000000000005\r\nhello\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_wraps", "10000000000000005\r\nhello\r\n", "", "http.bad_chunk_size", "9112 7.1"},
      {"size_bare_lf", "5\nhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 2.2"},
      {"size_bare_cr", "5\rhello\r\n0\r\n\r\n", "", "http.bad_chunk_size", "9112 2.2"},
      {"data_end_missing", "5\r\nhello0\r\n\r\n", "hello", "http.bad_chunk_end", "h11 CVE-2025-43859"},
      {"data_end_other_bytes", "5\r\nhelloXX0\r\n\r\n", "hello", "http.bad_chunk_end", "h11 CVE-2025-43859"},
      {"data_end_lf", "5\r\nhello\n0\r\n\r\n", "hello", "http.bad_chunk_end", "9112 2.2"},
      {"data_end_cr_x", "5\r\nhello\rX0\r\n\r\n", "hello", "http.bad_chunk_end", "h11 CVE-2025-43859"},
      {"trailer", "0\r\nX-Sum: abc\r\nY:\r\n\r\n", "", "", "9112 7.1.2"},
      {"trailer_fold", "0\r\nX: a\r\n b\r\n\r\n", "", "http.bad_trailer", "9112 5.2"},
      {"trailer_no_colon", "0\r\nXYZ\r\n\r\n", "", "http.bad_trailer", "9112 5"},
      {"trailer_space_before_colon", "0\r\nX : a\r\n\r\n", "", "http.bad_trailer", "9112 5.1"},
      {"trailer_empty_name", "0\r\n: a\r\n\r\n", "", "http.bad_trailer", "9112 5"},
      {"trailer_nul", "0\r\nX: a\0\r\n\r\n"s, "", "http.bad_trailer", "9110 5.5"},
      {"trailer_lf", "0\r\nX: a\n\r\n", "", "http.bad_trailer", "9112 2.2"},
      {"trailer_bare_cr", "0\r\nX: a\rb\r\n\r\n", "", "http.bad_trailer", "9112 2.2"},
      {"trailer_length", "0\r\nContent-Length: 5\r\n\r\n", "", "http.forbidden_trailer", "9110 6.5.1"},
      {"trailer_coding", "0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", "", "http.forbidden_trailer", "9110 6.5.1"},
      {"trailer_host", "0\r\nhost: b\r\n\r\n", "", "http.forbidden_trailer", "9110 6.5.1"},
      {"trailer_auth", "0\r\nAuthorization: x\r\n\r\n", "", "http.forbidden_trailer", "9110 6.5.1"},
      {"trailer_too_large", "0\r\nX: " + std::string(9000, 'a') + "\r\n\r\n", "", "http.trailer_too_large",
       "limits"},
      {"final_crlf_wrong", "0\r\n\rX", "", "http.bad_trailer", "9112 7.1"},
      {"incomplete_size", "5", "", "...", ""},
      {"incomplete_data", "5\r\nhel", "hel", "...", ""},
      {"incomplete_end", "5\r\nhello\r\n0\r\n", "hello", "...", ""},
  };
  return all;
}

TEST(Chunked, EveryCase) {
  for (const Case& c : cases()) {
    Outcome out = feed({c.bytes});
    EXPECT_EQ(out.body, c.body) << c.id;
    EXPECT_EQ(out.code, c.code == "..." ? "" : c.code) << c.id << " (RFC " << c.section << ")";
    EXPECT_EQ(out.done, c.code.empty()) << c.id;
  }
}

TEST(Chunked, EverySplitGivesTheSameEvents) {
  for (const Case& c : cases()) {
    if (c.bytes.size() > 500) continue;
    Outcome whole = feed({c.bytes});
    std::string_view all = c.bytes;
    for (std::size_t i = 0; i <= all.size(); ++i) {
      ASSERT_EQ(feed({all.substr(0, i), all.substr(i)}), whole) << c.id << " at " << i;
      for (std::size_t k = i; k <= all.size(); k += 3)
        ASSERT_EQ(feed({all.substr(0, i), all.substr(i, k - i), all.substr(k)}), whole) << c.id;
    }
    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < all.size(); ++i) bytes.push_back(all.substr(i, 1));
    ASSERT_EQ(feed(bytes), whole) << c.id;
  }
}

TEST(Chunked, NothingOfTheNextRequestIsConsumed) { EXPECT_EQ(feed({"0\r\n\r\nGET / HTTP/1.1\r\n"}).consumed, 5u); }

TEST(Chunked, LimitsChunkExtensionCountsOverAllChunks) {
  std::string body;
  for (int i = 0; i < 2000; ++i) body += "1;x\r\na\r\n";
  EXPECT_EQ(feed({body}).code, "http.chunk_extension_too_large");
}

TEST(Chunked, LimitsTrailerCount) {
  std::string body = "0\r\n";
  for (int i = 0; i < 33; ++i) body += "x: y\r\n";
  EXPECT_EQ(feed({body + "\r\n"}).code, "http.too_many_trailers");
}

TEST(Chunked, AMillionOneByteChunksAreLinear) {
  std::string body;
  for (int i = 0; i < 1'000'000; ++i) body += "1\r\nx\r\n";
  body += "0\r\n\r\n";
  Outcome out = feed({body});
  EXPECT_TRUE(out.done);
  EXPECT_EQ(out.body.size(), 1'000'000u);
}

TEST(Chunked, AFailedDecoderStaysFailed) {
  ChunkedDecoder decoder;
  Limits limits;
  EXPECT_EQ(decoder.next("x", 1, limits).kind, ChunkedDecoder::Step::Kind::error);
  auto again = decoder.next("0\r\n\r\n", 5, limits);
  EXPECT_EQ(again.kind, ChunkedDecoder::Step::Kind::error);
  EXPECT_EQ(again.consumed, 0u);
}

}  // namespace
}  // namespace fasterapi::http
