#include "peer/proxy_protocol.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "peer/networks.hpp"

namespace fasterapi::http {
namespace {

const std::string kV1 = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n";
const std::string kV2 = std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16) +
                        std::string("\xcb\0\x71\x09\xc0\0\x02\x01\x12\x67\x01\xbb", 12);

TEST(ProxyProtocol, EveryPrefixIsIncompleteAndNeverReadBeyond) {
  for (const std::string& header : {kV1, kV2}) {
    for (std::size_t size = 0; size <= header.size(); ++size) {
      // A buffer of exactly that size: the sanitizer sees a read beyond it.
      std::unique_ptr<char[]> exact(new char[size ? size : 1]);
      header.copy(exact.get(), size);
      ProxyHeader out;
      std::size_t consumed = 99;
      auto result = parse_proxy_header({exact.get(), size}, out, consumed);
      EXPECT_EQ(result, size == header.size() ? ProxyResult::complete : ProxyResult::incomplete) << size;
    }
    ProxyHeader out;
    std::size_t consumed = 0;
    ASSERT_EQ(parse_proxy_header(header + "GET /", out, consumed), ProxyResult::complete);
    EXPECT_EQ(consumed, header.size());
    EXPECT_EQ(out.client.text(), "203.0.113.9");
    EXPECT_EQ(out.client_port, 4711);
    EXPECT_EQ(out.server.text(), "192.0.2.1");
    EXPECT_EQ(out.server_port, 443);
  }
}

TEST(ProxyProtocol, AnyChangedByteIsSafe) {
  std::mt19937 random(7);
  for (int round = 0; round < 200'000; ++round) {
    std::string header = round % 2 ? kV1 : kV2;
    for (int i = 0; i < 3; ++i) header[random() % header.size()] = static_cast<char>(random());
    ProxyHeader out;
    std::size_t consumed = 0;
    if (parse_proxy_header(header, out, consumed) == ProxyResult::complete) {
      EXPECT_LE(consumed, header.size());
      EXPECT_GT(consumed, 0u);
    }
  }
}

TEST(Networks, MaskBitsOfBothFamilies) {
  Networks networks;
  for (const char* text : {"10.0.0.0/9", "192.0.2.7", "2001:db8::/33", "::1"}) EXPECT_TRUE(networks.add(text));
  for (const char* text : {"", "10.0.0.0/33", "10.0.0", "::1/129", "host", "10.0.0.0/", "/8", "1.2.3.4 "})
    EXPECT_FALSE(networks.add(text)) << text;
  auto has = [&](const char* text) {
    IpAddress address;
    EXPECT_TRUE(parse_ip(text, address)) << text;
    return networks.contains(address);
  };
  EXPECT_TRUE(has("10.127.255.255"));
  EXPECT_FALSE(has("10.128.0.0"));
  EXPECT_TRUE(has("192.0.2.7"));
  EXPECT_TRUE(has("::ffff:192.0.2.7"));  // the same address
  EXPECT_FALSE(has("192.0.2.6"));
  EXPECT_TRUE(has("2001:db8:7fff::1"));
  EXPECT_FALSE(has("2001:db8:8000::1"));
  EXPECT_TRUE(has("::1"));
  EXPECT_FALSE(has("::2"));
}

TEST(Networks, AddressesWithPorts) {
  IpAddress address;
  int port = 0;
  EXPECT_TRUE(parse_ip_and_port("[2001:db8::1]:80", address, port));
  EXPECT_EQ(port, 80);
  EXPECT_TRUE(parse_ip_and_port("1.2.3.4:65535", address, port));
  EXPECT_EQ(port, 65535);
  for (const char* text : {"1.2.3.4:65536", "1.2.3.4:", "[::1", "[::1]x", "[1.2.3.4]", "::1]:1", "1.2.3.4:x"})
    EXPECT_FALSE(parse_ip_and_port(text, address, port)) << text;
}

}  // namespace
}  // namespace fasterapi::http
