// Messages of the client, byte for byte.
#include "protocol/frontend.hpp"

#include <gtest/gtest.h>

#include "protocol/wire.hpp"

namespace fasterapi::pg::frontend {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::string text(const OutBuffer& b) { return std::string(b.view()); }

TEST(Frontend, startup) {
  OutBuffer out;
  Parameter p[] = {{"user", "me"}, {"database", "db"}};
  ASSERT_TRUE(startup(out, kProtocol30, p));
  EXPECT_EQ(text(out), "\0\0\0\x1d\0\x03\0\0user\0me\0database\0db\0\0"s);
}

TEST(Frontend, startup_refuses_nul_and_leaves_nothing) {
  OutBuffer out;
  Parameter p[] = {{"user", "me\0options"sv}};
  EXPECT_FALSE(startup(out, kProtocol30, p));
  EXPECT_TRUE(out.empty());
  Parameter nameless[] = {{"", "x"}};
  EXPECT_FALSE(startup(out, kProtocol30, nameless));
  EXPECT_TRUE(out.empty());
}

TEST(Frontend, startup_stays_below_what_the_server_reads) {
  OutBuffer out;
  std::string long_value(20000, 'x');
  Parameter p[] = {{"application_name", long_value}};
  EXPECT_FALSE(startup(out, kProtocol30, p));
  EXPECT_TRUE(out.empty());
}

TEST(Frontend, fixed_messages) {
  OutBuffer out;
  ssl_request(out);
  EXPECT_EQ(text(out), "\0\0\0\x08\x04\xd2\x16\x2f"s);
  out.clear();
  cancel_request(out, 0x01020304, "abcd");
  EXPECT_EQ(text(out), "\0\0\0\x10\x04\xd2\x16\x2e\x01\x02\x03\x04"s + "abcd");
  out.clear();
  sync(out);
  flush(out);
  terminate(out);
  copy_done(out);
  EXPECT_EQ(text(out),
            "S\0\0\0\x04H\0\0\0\x04X\0\0\0\x04"
            "c\0\0\0\x04"s);
  out.clear();
  execute_and_sync(out);
  OutBuffer twin;
  execute(twin, "", 0);
  sync(twin);
  EXPECT_EQ(text(out), text(twin));
}

TEST(Frontend, parse_and_describe_and_close) {
  OutBuffer out;
  std::uint32_t types[] = {23};
  ASSERT_TRUE(parse(out, "s1", "SELECT $1", types));
  EXPECT_EQ(text(out), "P\0\0\0\x17s1\0SELECT $1\0\0\x01\0\0\0\x17"s);
  out.clear();
  describe_statement(out, "s1");
  close_portal(out, "p");
  EXPECT_EQ(text(out), "D\0\0\0\x08Ss1\0C\0\0\0\x07Pp\0"s);
}

TEST(Frontend, text_with_nul_is_refused) {
  OutBuffer out;
  EXPECT_FALSE(query(out, "select 1\0; drop table x"s));
  EXPECT_FALSE(parse(out, "", "select\0"s, {}));
  EXPECT_FALSE(password(out, "a\0b"s));
  EXPECT_TRUE(out.empty());
}

TEST(Frontend, bind) {
  OutBuffer out;
  std::uint16_t binary[] = {1};
  std::size_t mark = bind_begin(out, "", "s1", binary, 1);
  out.commit(wire::put32(wire::put32(out.reserve(8), 4), 7));
  ASSERT_TRUE(bind_end(out, mark, binary));
  EXPECT_EQ(text(out), "B\0\0\0\x1a\0s1\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01"s);
}

TEST(Frontend, message_that_does_not_fit_leaves_the_buffer_as_it_was) {
  OutBuffer out;
  sync(out);
  std::string huge(kMaxMessage, 'x');
  EXPECT_FALSE(query(out, huge));
  EXPECT_FALSE(parse(out, "", huge, {}));
  EXPECT_FALSE(copy_data(out, huge));
  std::size_t mark = bind_begin(out, "", "", {}, 1);
  out.append(huge);
  EXPECT_FALSE(bind_end(out, mark, {}));
  EXPECT_EQ(text(out), "S\0\0\0\x04"s);
}

TEST(Frontend, parameter_count_is_16_bit) {
  OutBuffer out;
  std::vector<std::uint32_t> types(kMaxParameters + 1, 23);
  EXPECT_FALSE(parse(out, "", "x", types));
  types.pop_back();
  EXPECT_TRUE(parse(out, "", "x", types));
}

}  // namespace
}  // namespace fasterapi::pg::frontend
