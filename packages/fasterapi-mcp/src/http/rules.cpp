#include "http/rules.hpp"

#include <algorithm>
#include <cstdint>

namespace fasterapi::mcp {
namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Splits "name:port" and "[v6]:port"; false when it is neither.
bool split_host(std::string_view authority, std::string_view& name, std::string_view& port) noexcept {
  port = {};
  std::size_t end;
  if (!authority.empty() && authority.front() == '[') {
    end = authority.find(']');
    if (end == std::string_view::npos) return false;
    ++end;
  } else {
    end = std::min(authority.find(':'), authority.size());
  }
  name = authority.substr(0, end);
  if (name.empty()) return false;
  if (end == authority.size()) return true;
  if (authority[end] != ':') return false;
  port = authority.substr(end + 1);
  return !port.empty() && port.size() <= 5 &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_loopback(std::string_view name) noexcept {
  return equal_ignoring_case(name, "localhost") || name == "127.0.0.1" || name == "[::1]";
}

bool is_ip(std::string_view name) noexcept {
  if (name.front() == '[') return true;
  return std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

int base64_digit(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool decode_base64(std::string_view in, std::string& out) {
  if (in.size() % 4 != 0) return false;
  std::size_t pad = 0;
  while (pad < 2 && !in.empty() && in.back() == '=') in.remove_suffix(1), ++pad;
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : in) {
    int digit = base64_digit(c);
    if (digit < 0) return false;
    bits = (bits << 6) | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>((bits >> count) & 0xFF));
    }
  }
  return (bits & ((1u << count) - 1)) == 0;
}

}  // namespace

bool HostPolicy::host_allowed(std::string_view host) const {
  for (const auto& allowed : hosts)
    if (allowed == "*") return true;
  std::string_view name, port;
  if (!split_host(trim(host), name, port)) return false;
  if (is_loopback(name) || (ip_hosts && is_ip(name))) return true;
  for (const auto& allowed : hosts)
    if (equal_ignoring_case(allowed, name) || equal_ignoring_case(allowed, trim(host))) return true;
  return false;
}

bool HostPolicy::origin_allowed(std::string_view origin) const {
  if (origin.data() == nullptr) return true;
  origin = trim(origin);
  for (const auto& allowed : origins)
    if (allowed == "*" || equal_ignoring_case(allowed, origin)) return true;
  for (std::string_view scheme : {"http://", "https://"}) {
    if (origin.size() <= scheme.size() || !equal_ignoring_case(origin.substr(0, scheme.size()), scheme)) continue;
    std::string_view name, port;
    return split_host(origin.substr(scheme.size()), name, port) && is_loopback(name);
  }
  return false;
}

bool accepts(std::string_view accept, std::string_view type) {
  if (accept.data() == nullptr || trim(accept).empty()) return true;
  std::string_view major = type.substr(0, type.find('/') + 1);
  while (!accept.empty()) {
    std::size_t comma = std::min(accept.find(','), accept.size());
    std::string_view item = accept.substr(0, comma);
    accept.remove_prefix(std::min(comma + 1, accept.size()));
    std::size_t semicolon = std::min(item.find(';'), item.size());
    std::string_view range = trim(item.substr(0, semicolon));
    std::string_view parameters = item.substr(semicolon);
    if (parameters.find("q=0") != std::string_view::npos && parameters.find("q=0.") == std::string_view::npos)
      continue;
    if (range == "*/*" || equal_ignoring_case(range, type)) return true;
    if (range.size() == major.size() + 1 && range.back() == '*' &&
        equal_ignoring_case(range.substr(0, major.size()), major))
      return true;
  }
  return false;
}

bool is_json_content_type(std::string_view content_type) {
  return equal_ignoring_case(trim(content_type.substr(0, content_type.find(';'))), "application/json");
}

bool decode_header_value(std::string_view value, std::string& out) {
  out.clear();
  value = trim(value);
  constexpr std::string_view kHead = "=?base64?", kTail = "?=";
  if (value.size() >= kHead.size() + kTail.size() && value.substr(0, kHead.size()) == kHead &&
      value.substr(value.size() - kTail.size()) == kTail) {
    return decode_base64(value.substr(kHead.size(), value.size() - kHead.size() - kTail.size()), out);
  }
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte >= 0x7F) return false;
  }
  out.assign(value);
  return true;
}

}  // namespace fasterapi::mcp
