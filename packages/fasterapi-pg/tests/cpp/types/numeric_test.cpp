// numeric: text to binary and back, against the values of the server and against malformed bodies.
#include "types/numeric.hpp"

#include <gtest/gtest.h>

#include <random>

#include "protocol/wire.hpp"

namespace fasterapi::pg {
namespace {

std::string round_trip(const std::string& text) {
  core::OutBuffer out;
  if (numeric_from_text(text, out) != NumericError::none) return "error";
  std::string back;
  return numeric_to_text(out.view(), back) ? back : "malformed";
}

std::string body(std::vector<unsigned> words) {
  std::string s(words.size() * 2, '\0');
  for (std::size_t i = 0; i < words.size(); ++i)
    wire::put16(s.data() + 2 * i, static_cast<std::uint16_t>(words[i]));
  return s;
}

TEST(Numeric, plain_decimals_come_back_as_written) {
  for (const char* text : {"0",
                           "1",
                           "-1",
                           "10",
                           "9999",
                           "10000",
                           "10001",
                           "99999999",
                           "100000000",
                           "0.1",
                           "0.01",
                           "0.001",
                           "0.0001",
                           "0.00001",
                           "0.000000012345",
                           "-0.5",
                           "123.456",
                           "12345.6789",
                           "100000.00001",
                           "0.00",
                           "1.10",
                           "1234567890123456789012345678901234567890.123456789",
                           "10000.0001",
                           "0.10000",
                           "NaN",
                           "Infinity",
                           "-Infinity"}) {
    EXPECT_EQ(round_trip(text), text);
  }
}

TEST(Numeric, exponents) {
  EXPECT_EQ(round_trip("1E+3"), "1000");
  EXPECT_EQ(round_trip("1.5e2"), "150");
  EXPECT_EQ(round_trip("1.5E-3"), "0.0015");
  EXPECT_EQ(round_trip("-12e-2"), "-0.12");
  EXPECT_EQ(round_trip("0E+2"), "0");
  EXPECT_EQ(round_trip("0E-3"), "0.000");
  EXPECT_EQ(round_trip("00012.50"), "12.50");
  EXPECT_EQ(round_trip("sNaN"), "NaN");
  EXPECT_EQ(round_trip("-0"), "0");
}

TEST(Numeric, random_decimals) {
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string text = random() % 2 ? "-" : "";
    std::size_t whole = random() % 14, fraction = random() % 14;
    std::string digits;
    for (std::size_t d = 0; d < whole; ++d)
      digits.push_back(static_cast<char>('0' + (d ? random() % 10 : 1 + random() % 9)));
    if (digits.empty()) digits = "0";
    bool zero = digits == "0";
    text += digits;
    if (fraction) {
      text += '.';
      for (std::size_t d = 0; d < fraction; ++d) {
        char c = static_cast<char>('0' + (random() % 3 ? 0 : random() % 10));
        zero &= c == '0';
        text += c;
      }
    }
    if (zero && text[0] == '-') text.erase(0, 1);
    ASSERT_EQ(round_trip(text), text);
  }
}

TEST(Numeric, what_is_no_number_is_refused) {
  core::OutBuffer out;
  for (const char* text :
       {"", "-", "x", "1x", "1.2.3", "1e", "1e+", "e5", ".", "--1", "1 ", " 1", "0x10", "1_0"}) {
    EXPECT_EQ(numeric_from_text(text, out), NumericError::malformed) << text;
  }
  for (const char* text : {"1e200000", "1e-40000", "1e99999999999999999999"}) {
    EXPECT_EQ(numeric_from_text(text, out), NumericError::too_large) << text;
  }
}

TEST(Numeric, bodies_of_the_server) {
  std::string text;
  ASSERT_TRUE(numeric_to_text(body({2, 0, 0, 2, 12, 3400}), text));
  EXPECT_EQ(text, "12.34");
  ASSERT_TRUE(numeric_to_text(body({1, 1, 0, 0, 5}), text));  // trailing zero groups are left out
  EXPECT_EQ(text, "50000");
  ASSERT_TRUE(numeric_to_text(body({1, 0xffff, 0x4000, 4, 1}), text));
  EXPECT_EQ(text, "-0.0001");
  ASSERT_TRUE(numeric_to_text(body({1, 0xfffe, 0, 8, 1}), text));
  EXPECT_EQ(text, "0.00000001");
}

TEST(Numeric, malformed_bodies_are_refused) {
  std::string text;
  EXPECT_FALSE(numeric_to_text("", text));
  EXPECT_FALSE(numeric_to_text(body({1, 0, 0}), text));
  EXPECT_FALSE(numeric_to_text(body({2, 0, 0, 0, 1}), text));       // fewer digits than said
  EXPECT_FALSE(numeric_to_text(body({1, 0, 0, 0, 10000}), text));   // no digit
  EXPECT_FALSE(numeric_to_text(body({1, 0, 0x1234, 0, 1}), text));  // no sign
  EXPECT_FALSE(numeric_to_text(body({1, 0, 0, 0x4000, 1}), text));  // no scale
  EXPECT_FALSE(numeric_to_text(body({1, 0, 0, 0, 1}) + "x", text));
}

TEST(Numeric, any_bytes_end) {
  std::mt19937 random(3);
  std::string text;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(8 + 2 * (random() % 6), '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    wire::put16(bytes.data(), static_cast<std::uint16_t>((bytes.size() - 8) / 2));
    if (random() % 2) wire::put16(bytes.data() + 4, 0);
    numeric_to_text(bytes, text);
  }
}

}  // namespace
}  // namespace fasterapi::pg
