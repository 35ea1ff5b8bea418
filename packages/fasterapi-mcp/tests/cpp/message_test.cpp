// What a line or a POST body is taken for, and the error that answers what is no message.
#include "fasterapi/mcp/message.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {
namespace {

using Kind = Message::Kind;

Message parse(std::string_view text) {
  Message m;
  parse_message(text, m);
  return m;
}

TEST(Message, reads_a_modern_tool_call) {
  Message m = parse(
      R"({"jsonrpc":"2.0","id":"x-1","method":"tools/call","params":{"name":"add","arguments":{"a":1},)"
      R"("_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},)"
      R"("io.modelcontextprotocol/logLevel":"info","progressToken":7}}})");
  EXPECT_EQ(m.kind, Kind::request);
  EXPECT_EQ(m.id, "\"x-1\"");
  EXPECT_EQ(m.method, "tools/call");
  EXPECT_EQ(m.name, "add");
  EXPECT_EQ(m.arguments, "{\"a\":1}");
  EXPECT_EQ(m.version, "2026-07-28");
  EXPECT_EQ(m.capabilities, "{}");
  EXPECT_EQ(m.log_level, "info");
  EXPECT_EQ(m.progress_token, "7");
  EXPECT_FALSE(m.has_input);
  EXPECT_EQ(m.params.front(), '{');
  EXPECT_EQ(m.params.back(), '}');
}

TEST(Message, order_blanks_and_escapes_do_not_matter) {
  Message m = parse(
      "\t{ \"params\" : { \"n\\u0061me\" : \"a\\u0064d\" } , \"method\":\"tools\\/call\", \"id\" : -5 "
      ",\"jsonrpc\":\"2.0\" } \r\n");
  EXPECT_EQ(m.kind, Kind::request);
  EXPECT_EQ(m.id, "-5");
  EXPECT_EQ(m.method, "tools/call");
  EXPECT_EQ(m.name, "add");
}

TEST(Message, without_an_id_it_is_a_notification) {
  EXPECT_EQ(parse(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}})").kind,
            Kind::notification);
}

TEST(Message, answers_are_recognised) {
  EXPECT_EQ(parse(R"({"jsonrpc":"2.0","id":3,"result":{}})").kind, Kind::response);
  EXPECT_EQ(parse(R"({"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}})").kind, Kind::response);
  EXPECT_EQ(parse(R"({"jsonrpc":"2.0","error":{"code":1,"message":""}})").kind, Kind::response);
}

TEST(Message, every_kind_of_bad_input_has_its_code) {
  struct Case {
    std::string_view text;
    int code;
    std::string_view id;
  };
  const std::vector<Case> cases = {
      {"", kParseError, ""},
      {"{", kParseError, ""},
      {"nonsense", kParseError, ""},
      {R"({"jsonrpc":"2.0","id":1,"method":"x"}garbage)", kParseError, ""},
      {R"({"jsonrpc":"2.0","id":1,"method":"x",})", kParseError, ""},
      {R"({"jsonrpc":"2.0","id":01,"method":"x"})", kParseError, ""},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", kParseError, ""},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\nb\"}", kParseError, ""},
      {"3", kInvalidRequest, ""},
      {"\"text\"", kInvalidRequest, ""},
      {"{}", kInvalidRequest, ""},
      {R"({"id":1,"method":"ping"})", kInvalidRequest, "1"},
      {R"({"jsonrpc":"1.0","id":1,"method":"ping"})", kInvalidRequest, "1"},
      {R"({"jsonrpc":"2.0","id":null,"method":"ping"})", kInvalidRequest, ""},
      {R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})", kInvalidRequest, ""},
      {R"({"jsonrpc":"2.0","id":[1],"method":"ping"})", kInvalidRequest, ""},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", kInvalidRequest, "1"},
      {R"({"jsonrpc":"2.0","id":1})", kInvalidRequest, "1"},
      {R"({"jsonrpc":"2.0","id":1,"id":2,"method":"ping"})", kInvalidRequest, "2"},
      {R"({"jsonrpc":"2.0","id":1,"method":"ping","method":"x"})", kInvalidRequest, "1"},
      {R"({"jsonrpc":"2.0","id":1,"method":"ping","params":[]})", kInvalidParams, "1"},
      {R"({"jsonrpc":"2.0","id":1,"method":"ping","params":null})", kInvalidParams, "1"},
      {R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":3}})", kInvalidParams, "1"},
      {R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}})", kInvalidParams, "1"},
      {R"({"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":1}})", kInvalidParams, "1"},
  };
  for (const Case& c : cases) {
    Message m = parse(c.text);
    EXPECT_EQ(m.kind, Kind::invalid) << c.text;
    EXPECT_EQ(m.error_code, c.code) << c.text;
    EXPECT_EQ(m.id, c.id) << c.text;
  }
}

TEST(Message, deep_nesting_is_refused) {
  std::string deep = R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":)" + std::string(100'000, '[');
  EXPECT_EQ(parse(deep).error_code, kParseError);
}

TEST(Message, any_truncation_is_an_error_and_never_a_message) {
  std::string text =
      R"({"jsonrpc":"2.0","id":"é\n","method":"tools/call","params":{"arguments":{"a":[1.5e3,true,null]}}})";
  ASSERT_EQ(parse(text).kind, Kind::request);
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_EQ(parse(text.substr(0, n)).error_code, kParseError) << n;
}

TEST(Message, batches_are_split) {
  std::string text = R"([{"jsonrpc":"2.0","id":1,"method":"ping"} , {"x":[1,2]}])";
  ASSERT_EQ(parse(text).kind, Kind::batch);
  std::vector<std::string> seen;
  EXPECT_TRUE(for_each_in_batch(
      text, [](void* arg, std::string_view e) { static_cast<std::vector<std::string>*>(arg)->emplace_back(e); },
      &seen));
  EXPECT_EQ(seen, (std::vector<std::string>{R"({"jsonrpc":"2.0","id":1,"method":"ping"})", R"({"x":[1,2]})"}));
  EXPECT_FALSE(for_each_in_batch("[]", [](void*, std::string_view) {}, nullptr));
}

TEST(Protocol, versions) {
  EXPECT_TRUE(is_legacy_version("2025-03-26"));
  EXPECT_FALSE(is_legacy_version("2025-03-27"));
  EXPECT_TRUE(is_modern_version("2026-07-28"));
  EXPECT_TRUE(is_modern_version("2099-01-01"));
  EXPECT_FALSE(is_modern_version("2025-11-25"));
}

}  // namespace
}  // namespace fasterapi::mcp
