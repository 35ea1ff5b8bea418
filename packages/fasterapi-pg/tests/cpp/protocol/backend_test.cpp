// Messages of the server: framing, and every parser against well-formed, cut and mutated bodies.
#include "protocol/backend.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "protocol/wire.hpp"

namespace fasterapi::pg::backend {
namespace {

std::string u16(unsigned v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string u32(std::uint32_t v) {
  std::string s(4, '\0');
  wire::put32(s.data(), v);
  return s;
}
std::string z(std::string_view s) { return std::string(s) + '\0'; }
std::string message(char type, const std::string& body) {
  return std::string(1, type) + u32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}

const std::string kColumns = u16(2) + z("id") + u32(1) + u16(1) + u32(23) + u16(4) + u32(0xffffffff) + u16(1) +
                             z("name") + u32(1) + u16(2) + u32(25) + u16(0xffff) + u32(0xffffffff) + u16(0);
const std::string kReport = "S" + z("ERROR") + "C" + z("42P01") + "M" + z("no such table") + std::string(1, '\0');

struct Parser {
  const char* name;
  std::string body;
  std::function<bool(std::string_view)> parse;
};

std::vector<Parser> parsers() {
  return {
      {"row description", kColumns,
       [](std::string_view b) {
         std::vector<Column> c;
         return row_description(b, c);
       }},
      {"parameter description", u16(2) + u32(23) + u32(25),
       [](std::string_view b) {
         std::vector<std::uint32_t> t;
         return parameter_description(b, t);
       }},
      {"report", kReport,
       [](std::string_view b) {
         Report r;
         return report(b, r);
       }},
      {"key data", u32(42) + u32(7),
       [](std::string_view b) {
         std::uint32_t pid;
         std::string key;
         return key_data(b, pid, key);
       }},
      {"parameter status", z("TimeZone") + z("UTC"),
       [](std::string_view b) {
         std::string_view n, v;
         return parameter_status(b, n, v);
       }},
      {"command complete", z("SELECT 3"),
       [](std::string_view b) {
         std::string_view t;
         return command_complete(b, t);
       }},
      {"ready", "I",
       [](std::string_view b) {
         char s;
         return ready_for_query(b, s);
       }},
      {"notification", u32(1) + z("channel") + z("payload"),
       [](std::string_view b) {
         std::uint32_t pid;
         std::string_view c, p;
         return notification(b, pid, c, p);
       }},
      {"negotiate", u32(3 << 16) + u32(1) + z("_pq_.x"),
       [](std::string_view b) {
         std::uint32_t v;
         std::vector<std::string> r;
         return negotiate_version(b, v, r);
       }},
      {"mechanisms", z("SCRAM-SHA-256") + std::string(1, '\0'),
       [](std::string_view b) {
         std::vector<std::string_view> m;
         return mechanisms(b, m);
       }},
      {"data row", u16(2) + u32(1) + "x" + u32(0xffffffff), [](std::string_view b) { return data_row(b, 2); }},
  };
}

TEST(Framing, message_is_complete_only_when_its_last_byte_is_there) {
  std::string bytes = message('C', z("SELECT 1")) + message('Z', "I");
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    std::size_t position = 0, wanted = 0, seen = 0;
    Message m;
    Frame f;
    while ((f = next(bytes.data(), size, position, m, 1000, wanted)) == Frame::complete) ++seen;
    EXPECT_EQ(f, Frame::incomplete);
    EXPECT_EQ(seen, size == bytes.size() ? 2u : size >= 14 ? 1u : 0u) << size;
  }
}

TEST(Framing, length_below_four_or_above_the_limit_is_malformed) {
  for (std::uint32_t length : {0u, 1u, 2u, 3u, 1001u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    std::string bytes = "D" + u32(length) + "xxxx";
    std::size_t position = 0, wanted = 0;
    Message m;
    EXPECT_EQ(next(bytes.data(), bytes.size(), position, m, 1000, wanted), Frame::malformed) << length;
  }
}

TEST(Parsers, take_what_is_well_formed) {
  for (const Parser& p : parsers()) EXPECT_TRUE(p.parse(p.body)) << p.name;
}

TEST(Parsers, refuse_every_cut) {
  for (const Parser& p : parsers()) {
    for (std::size_t size = 0; size < p.body.size(); ++size) {
      // A copy of exactly this size, so that a sanitizer sees a read behind it.
      std::string cut = p.body.substr(0, size);
      if (std::string_view(p.name) == "key data" && size >= 8) continue;
      EXPECT_FALSE(p.parse(cut)) << p.name << " cut at " << size;
    }
  }
}

TEST(Parsers, refuse_a_byte_too_many) {
  for (const Parser& p : parsers()) {
    if (std::string_view(p.name) == "key data") continue;  // its length varies
    EXPECT_FALSE(p.parse(p.body + 'x')) << p.name;
  }
}

TEST(Parsers, survive_any_mutation) {
  std::mt19937 random(1);
  for (const Parser& p : parsers()) {
    for (std::size_t at = 0; at < p.body.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string body = p.body;
        body[at] = static_cast<char>(value);
        p.parse(body);
      }
    }
    for (int i = 0; i < 2000; ++i) {
      std::string body(random() % 64, '\0');
      for (char& c : body) c = static_cast<char>(random());
      p.parse(body);
    }
  }
}

TEST(Parsers, counts_that_cannot_be_true_reserve_no_memory) {
  std::vector<Column> columns;
  EXPECT_FALSE(row_description(u16(65535) + z("x"), columns));
  EXPECT_LT(columns.capacity(), 100u);
}

TEST(DataRow, field_lengths_below_minus_one_or_past_the_end_are_refused) {
  EXPECT_FALSE(data_row(u16(1) + u32(0xfffffffe), 1));
  EXPECT_FALSE(data_row(u16(1) + u32(0x80000000), 1));
  EXPECT_FALSE(data_row(u16(1) + u32(5) + "abc", 1));
  EXPECT_FALSE(data_row(u16(1) + u32(1) + "a", 2));
  EXPECT_FALSE(data_row(u16(3) + u32(1) + "a", 3));
}

TEST(Report, error_without_sqlstate_is_still_a_report) {
  Report r;
  ASSERT_TRUE(report("M" + z("boo") + std::string(1, '\0'), r));
  EXPECT_EQ(r.sqlstate(), "");
  EXPECT_EQ(r.get('M'), "boo");
}

TEST(Authentication, sizes_are_checked) {
  Authentication a;
  std::string md5 = u32(5) + "salt";
  EXPECT_TRUE(authentication(md5, a));
  EXPECT_EQ(a.data, "salt");
  EXPECT_FALSE(authentication(u32(5) + "sal", a));
  EXPECT_FALSE(authentication(u32(0) + "x", a));
  EXPECT_FALSE(authentication(u32(10), a));
  EXPECT_FALSE(authentication("abc", a));
}

TEST(KeyData, keys_of_4_to_256_bytes) {
  std::uint32_t pid;
  std::string key;
  EXPECT_TRUE(key_data(u32(1) + std::string(256, 'k'), pid, key));
  EXPECT_FALSE(key_data(u32(1) + std::string(257, 'k'), pid, key));
  EXPECT_FALSE(key_data(u32(1) + "abc", pid, key));
}

TEST(CommandTag, number_of_rows) {
  EXPECT_EQ(affected_rows("SELECT 3"), 3);
  EXPECT_EQ(affected_rows("INSERT 0 5"), 5);
  EXPECT_EQ(affected_rows("BEGIN"), -1);
  EXPECT_EQ(affected_rows("CREATE TABLE"), -1);
  EXPECT_EQ(affected_rows(""), -1);
  EXPECT_EQ(affected_rows("SELECT 99999999999999999999"), -1);
}

}  // namespace
}  // namespace fasterapi::pg::backend
