#include "http/rules.hpp"

#include <gtest/gtest.h>

namespace fasterapi::mcp {
namespace {

TEST(HostPolicy, loopback_names_pass_and_others_do_not) {
  HostPolicy policy;
  for (auto ok : {"localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:99"})
    EXPECT_TRUE(policy.host_allowed(ok)) << ok;
  for (auto bad : {"", "evil.example.com", "localhost.evil.com", "localhost:80x", "localhost:", "127.0.0.1.nip.io",
                   "10.0.0.1", "[::1", "[::1]x", "localhost:123456"})
    EXPECT_FALSE(policy.host_allowed(bad)) << bad;
}

TEST(HostPolicy, configured_hosts_pass) {
  HostPolicy policy;
  policy.hosts = {"api.example.com", "other.example.com:8443"};
  EXPECT_TRUE(policy.host_allowed("API.example.com:443"));
  EXPECT_TRUE(policy.host_allowed("other.example.com:8443"));
  EXPECT_FALSE(policy.host_allowed("other.example.com"));
  policy.hosts = {"*"};
  EXPECT_TRUE(policy.host_allowed("anything"));
  policy.hosts.clear();
  policy.ip_hosts = true;
  EXPECT_TRUE(policy.host_allowed("10.0.0.1:80"));
  EXPECT_TRUE(policy.host_allowed("[fe80::1]:80"));
  EXPECT_FALSE(policy.host_allowed("10.evil.com"));
}

TEST(HostPolicy, origins_match_whole) {
  HostPolicy policy;
  policy.origins = {"https://app.example.com"};
  EXPECT_TRUE(policy.origin_allowed({}));
  for (auto ok : {"http://localhost", "https://127.0.0.1:3000", "http://[::1]:5", "https://app.example.com"})
    EXPECT_TRUE(policy.origin_allowed(ok)) << ok;
  for (auto bad : {"null", "", "http://evil.com", "https://app.example.com.evil.com", "http://app.example.com",
                   "file://localhost", "http://localhost@evil.com", "http://localhost:1/x"})
    EXPECT_FALSE(policy.origin_allowed(bad)) << bad;
}

TEST(Accept, ranges) {
  EXPECT_TRUE(accepts("application/json, text/event-stream", "text/event-stream"));
  EXPECT_TRUE(accepts("text/*;q=0.5", "text/event-stream"));
  EXPECT_TRUE(accepts("*/*", "application/json"));
  EXPECT_FALSE(accepts("text/html, application/json;q=0", "application/json"));
  EXPECT_FALSE(accepts("application/jsonx", "application/json"));
  EXPECT_TRUE(accepts({}, "application/json"));
  EXPECT_TRUE(is_json_content_type("Application/JSON; charset=utf-8"));
  EXPECT_FALSE(is_json_content_type("text/plain"));
}

TEST(HeaderValue, decoding) {
  std::string out;
  EXPECT_TRUE(decode_header_value("  add \t", out));
  EXPECT_EQ(out, "add");
  EXPECT_TRUE(decode_header_value("=?base64?w6TDtg==?=", out));
  EXPECT_EQ(out, "\xC3\xA4\xC3\xB6");
  EXPECT_TRUE(decode_header_value("=?base64??=", out));
  EXPECT_EQ(out, "");
  for (auto bad : {"=?base64?w6T?=", "=?base64?****?=", "=?base64?w6TDth==?=", "caf\xC3\xA9"})
    EXPECT_FALSE(decode_header_value(bad, out)) << bad;
  EXPECT_TRUE(decode_header_value("=?BASE64?w6TDtg==?=", out));  // the markers are case-sensitive
  EXPECT_EQ(out, "=?BASE64?w6TDtg==?=");
}

}  // namespace
}  // namespace fasterapi::mcp
