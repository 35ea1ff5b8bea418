#include "codec/answer.hpp"

#include <gtest/gtest.h>

namespace fasterapi::mcp {
namespace {

std::string quoted(std::string_view text) {
  OutBuffer out;
  write_json_string(out, text);
  return std::string(out.view());
}

TEST(Answer, strings_are_escaped) {
  EXPECT_EQ(quoted("plain"), "\"plain\"");
  EXPECT_EQ(quoted("a\"b\\c\n\r\t\x01"), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\"");
  EXPECT_EQ(quoted("gr\xC3\xBC\xC3\x9F"), "\"gr\xC3\xBC\xC3\x9F\"");
  EXPECT_EQ(quoted("\xFFx\xC3"), "\"\xEF\xBF\xBDx\xEF\xBF\xBD\"");
}

TEST(Answer, the_id_is_spliced_in_as_it_came) {
  OutBuffer out;
  write_result(out, "\"a\\u0062\"", "{\"x\":1}");
  EXPECT_EQ(out.view(), R"({"jsonrpc":"2.0","id":"a\u0062","result":{"x":1}})");
}

TEST(Answer, errors_leave_out_an_id_that_could_not_be_read) {
  OutBuffer out;
  write_error(out, "", -32700, "Parse error");
  EXPECT_EQ(out.view(), R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}})");
  out.clear();
  write_error(out, "7", -32602, "no \"x\"", "{\"uri\":\"a\"}");
  EXPECT_EQ(out.view(),
            R"({"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no \"x\"","data":{"uri":"a"}}})");
}

}  // namespace
}  // namespace fasterapi::mcp
