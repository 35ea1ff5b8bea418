#include "proxy_protocol.hpp"

#include <algorithm>
#include <cstring>

namespace fasterapi::http {
namespace {

constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t kMaxLine = 107;  // section 2.1, with CRLF

bool port_of(std::string_view text, int& out) noexcept {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return false;
  out = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    out = out * 10 + (c - '0');
  }
  return out <= 65535;
}

ProxyResult line(std::string_view in, ProxyHeader& out, std::size_t& consumed) noexcept {
  std::size_t end = in.substr(0, kMaxLine).find('\n');
  if (end == in.npos) return in.size() >= kMaxLine ? ProxyResult::error : ProxyResult::incomplete;
  if (end == 0 || in[end - 1] != '\r') return ProxyResult::error;
  std::string_view text = in.substr(0, end - 1);
  consumed = end + 1;
  std::string_view words[7];
  std::size_t count = 0;
  for (std::size_t at = 0; count < 7;) {
    std::size_t space = text.find(' ', at);
    words[count++] = text.substr(at, space == text.npos ? space : space - at);
    if (space == text.npos) break;
    at = space + 1;
  }
  if (count >= 2 && words[1] == "UNKNOWN") return ProxyResult::complete;
  bool v4 = words[1] == "TCP4";
  if (count != 6 || (!v4 && words[1] != "TCP6")) return ProxyResult::error;
  for (auto word : {words[2], words[3]})
    if ((word.find(':') == word.npos) != v4) return ProxyResult::error;
  if (!parse_ip(words[2], out.client) || !parse_ip(words[3], out.server) || !port_of(words[4], out.client_port) ||
      !port_of(words[5], out.server_port))
    return ProxyResult::error;
  out.has_client = true;
  return ProxyResult::complete;
}

ProxyResult binary(std::string_view in, ProxyHeader& out, std::size_t& consumed) noexcept {
  if (in.size() < 16) return ProxyResult::incomplete;
  auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(in[at]); };
  std::uint8_t version = byte(12) >> 4, command = byte(12) & 15, family = byte(13);
  std::size_t length = std::size_t{byte(14)} << 8 | byte(15);
  if (version != 2 || command > 1 || 16 + length > kMaxProxyHeader) return ProxyResult::error;
  std::size_t addresses = 0;
  switch (family) {
    case 0x00: break;                   // AF_UNSPEC
    case 0x11: addresses = 12; break;   // TCP over IPv4
    case 0x21: addresses = 36; break;   // TCP over IPv6
    case 0x31: addresses = 216; break;  // UNIX stream
    default: return ProxyResult::error;
  }
  if (command == 1 && length < addresses) return ProxyResult::error;
  if (in.size() < 16 + length) return ProxyResult::incomplete;
  consumed = 16 + length;
  if (command == 0 || (family != 0x11 && family != 0x21)) return ProxyResult::complete;
  std::size_t at = 16;
  for (IpAddress* address : {&out.client, &out.server}) {
    std::size_t size = family == 0x11 ? 4 : 16;
    if (size == 4) {
      address->bytes = {};
      address->bytes[10] = address->bytes[11] = 0xff;
    }
    std::memcpy(address->bytes.data() + 16 - size, in.data() + at, size);
    at += size;
  }
  out.client_port = byte(at) << 8 | byte(at + 1);
  out.server_port = byte(at + 2) << 8 | byte(at + 3);
  out.has_client = true;
  return ProxyResult::complete;
}

}  // namespace

ProxyResult parse_proxy_header(std::string_view in, ProxyHeader& out, std::size_t& consumed) noexcept {
  out = {};
  consumed = 0;
  constexpr std::string_view kLine = "PROXY ";
  auto starts = [in](std::string_view with) { return in.substr(0, with.size()) == with.substr(0, in.size()); };
  if (in.empty()) return ProxyResult::incomplete;
  if (starts(kSignature))
    return in.size() < kSignature.size() ? ProxyResult::incomplete : binary(in, out, consumed);
  if (starts(kLine)) return in.size() < kLine.size() ? ProxyResult::incomplete : line(in, out, consumed);
  return ProxyResult::error;
}

}  // namespace fasterapi::http
