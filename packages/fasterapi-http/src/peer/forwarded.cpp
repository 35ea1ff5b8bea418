#include "forwarded.hpp"

#include <charconv>

#include <fasterapi/http/response_head.hpp>

namespace fasterapi::http {
namespace {

constexpr int kMaxHops = 32;

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Elements of all fields of one name (RFC 9110 section 5.3), from the last to the first.
class Backwards {
 public:
  Backwards(const RequestHead& head, std::string_view lower_name) noexcept
      : head_(head), name_(lower_name), field_(head.field_count) {}

  bool next(std::string_view& element) noexcept {
    while (!open_) {
      if (field_ == 0) return false;
      --field_;
      if (!equals_lower(head_.name(field_), name_)) continue;
      rest_ = head_.value(field_);
      open_ = true;
    }
    // A comma within quotes separates nothing: find the last one outside.
    bool quoted = false;
    std::size_t comma = rest_.npos;
    for (std::size_t i = 0; i < rest_.size(); ++i) {
      if (rest_[i] == '"') quoted = !quoted;
      if (rest_[i] == ',' && !quoted) comma = i;
    }
    element = trimmed(comma == rest_.npos ? rest_ : rest_.substr(comma + 1));
    if (comma == rest_.npos)
      open_ = false;
    else
      rest_ = rest_.substr(0, comma);
    return true;
  }

 private:
  const RequestHead& head_;
  std::string_view name_, rest_;
  unsigned field_;
  bool open_ = false;
};

std::string_view scheme_of(std::string_view text) noexcept {
  if (equals_lower(text, "https") || equals_lower(text, "wss")) return "https";
  if (equals_lower(text, "http") || equals_lower(text, "ws")) return "http";
  return {};
}

bool is_host(std::string_view text) noexcept {
  if (text.empty() || text.size() > 255) return false;
  for (char c : text) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
    if (!good) return false;
  }
  return true;
}

/// Element number `hop` from the right, or the leftmost there is.
std::string_view at_hop(const RequestHead& head, std::string_view lower_name, int hop) noexcept {
  Backwards elements(head, lower_name);
  std::string_view element, found;
  for (int i = 0; i <= hop && elements.next(element); ++i) found = element;
  return found;
}

/// Value of a parameter of a forwarded-element (RFC 7239 section 4), without its quotes.
std::string_view parameter(std::string_view element, std::string_view lower_name) noexcept {
  while (!element.empty()) {
    std::size_t end = 0;
    bool quoted = false;
    for (; end < element.size() && (quoted || element[end] != ';'); ++end)
      if (element[end] == '"') quoted = !quoted;
    std::string_view pair = trimmed(element.substr(0, end));
    element = end < element.size() ? element.substr(end + 1) : std::string_view{};
    std::size_t equal = pair.find('=');
    if (equal == pair.npos || !equals_lower(pair.substr(0, equal), lower_name)) continue;
    std::string_view value = pair.substr(equal + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    return value;
  }
  return {};
}

}  // namespace

Forwarded read_forwarded(const RequestHead& head, ForwardedStyle style, const Networks& trusted) {
  Forwarded result;
  const bool standard = style == ForwardedStyle::rfc7239;
  Backwards elements(head, standard ? "forwarded" : "x-forwarded-for");
  std::string_view element, chosen;
  IpAddress address{}, client{};
  int port = 0, hop = 0;
  bool found = false;
  for (int i = 0; i < kMaxHops && elements.next(element); ++i) {
    if (!parse_ip_and_port(standard ? parameter(element, "for") : element, address, port)) break;
    found = true;
    client = address;
    result.client_port = port;
    chosen = element;
    hop = i;
    if (!trusted.contains(address)) break;
  }
  if (found) result.client = client.text();
  if (standard) {
    if (!found) chosen = at_hop(head, "forwarded", 0);
    result.scheme = scheme_of(parameter(chosen, "proto"));
    result.host = parameter(chosen, "host");
  } else {
    result.scheme = scheme_of(at_hop(head, "x-forwarded-proto", hop));
    result.host = at_hop(head, "x-forwarded-host", hop);
    std::string_view text = at_hop(head, "x-forwarded-port", hop);
    int value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!text.empty() && error == std::errc{} && end == text.data() + text.size() && value > 0 && value <= 65535)
      result.port = value;
  }
  if (!is_host(result.host)) result.host = {};
  return result;
}

}  // namespace fasterapi::http
