// Request heads against RFC 9110 and RFC 9112: tables of cases, an independent slow model, every tier, every
// split.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "guarded_buffer.hpp"
#include "parser/head.hpp"

namespace fasterapi::http {
namespace {

using testing::GuardedBuffer;

struct Verdict {
  ParseResult::Kind kind;
  int status = 0;
  std::string code;
  std::string dump;  // everything that a caller can see
  bool operator==(const Verdict&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Verdict& v) {
  return out << "kind " << static_cast<int>(v.kind) << " status " << v.status << " " << v.code << "\n" << v.dump;
}

Verdict verdict_of(const ParseResult& result, const RequestHead& head) {
  Verdict v{result.kind, 0, {}, {}};
  if (result.failed()) {
    v.status = result.error->status;
    v.code = result.error->code;
  }
  if (!result.complete()) return v;
  auto line = [&](std::string_view name, auto value) {
    v.dump += std::string(name) + "=" + std::string(value) + "\n";
  };
  line("method", head.method_text());
  line("id", method_name(head.method));
  line("target", head.target());
  line("path", head.path());
  line("query", head.query());
  line("has_query", std::to_string(head.query().data() != nullptr));
  line("host", head.host());
  line("minor", std::to_string(head.minor_version));
  line("length", std::to_string(head.content_length) + (head.has_length ? "!" : ""));
  line("flags", std::to_string(head.keep_alive) + std::to_string(head.chunked) +
                    std::to_string(head.expect_continue) + std::to_string(head.upgrade) +
                    std::to_string(head.absolute_form) + std::to_string(head.path_encoded));
  for (unsigned i = 0; i < head.field_count; ++i)
    line("field", std::string(head.name(i)) + "|" + std::string(head.value(i)));
  line("consumed", std::to_string(result.consumed));
  return v;
}

const Limits kLimits = clamped({});

std::vector<const Tier*> tiers() {
  std::vector<const Tier*> found;
  for (const Tier* tier : all_tiers())
    if (tier->supported()) found.push_back(tier);
  return found;
}

Verdict run(const Tier& tier, std::string_view bytes, GuardedBuffer& buffer, std::size_t shift = 0,
            const Limits& limits = kLimits) {
  RequestHead head;
  auto result = tier.parse(buffer.put(bytes, shift), bytes.size(), limits, head);
  return verdict_of(result, head);
}

// --- the slow model: the same rules, written line by line with std::string ---------------------------------
bool token(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return std::isalnum(c) ||
           (c && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos);
  });
}
std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}
std::vector<std::string> list_of(std::string_view value) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at <= value.size()) {
    std::size_t comma = std::min(value.find(',', at), value.size());
    std::string piece(value.substr(at, comma - at));
    while (!piece.empty() && (piece.front() == ' ' || piece.front() == '\t')) piece.erase(0, 1);
    while (!piece.empty() && (piece.back() == ' ' || piece.back() == '\t')) piece.pop_back();
    if (!piece.empty()) out.push_back(lower(piece));
    at = comma + 1;
  }
  return out;
}
bool authority(std::string_view s) {
  if (s.empty() || s[0] == ':') return false;
  std::size_t end;
  if (s[0] == '[') {
    end = s.find(']');
    if (end == s.npos || end < 3) return false;
    for (char c : s.substr(1, end - 1))
      if (!std::isxdigit(static_cast<unsigned char>(c)) && c != ':' && c != '.') return false;
    ++end;
  } else {
    end = std::min(s.find(':'), s.size());
    for (std::size_t i = 0; i < end; ++i) {
      unsigned char c = static_cast<unsigned char>(s[i]);
      if (c == '%') {
        if (i + 2 >= end || !std::isxdigit(static_cast<unsigned char>(s[i + 1])) ||
            !std::isxdigit(static_cast<unsigned char>(s[i + 2])))
          return false;
      } else if (!std::isalnum(c) && (!c || std::string_view("-._~!$&'()*+,;=").find(static_cast<char>(c)) ==
                                                std::string_view::npos)) {
        return false;
      }
    }
  }
  if (end == s.size()) return true;
  std::string_view port = s.substr(end + 1);
  return s[end] == ':' && port.size() <= 5 &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// 0: accepted; -1: more bytes wanted; otherwise the status.
int model(std::string_view all, const Limits& limits) {
  std::size_t at = 0;
  for (int skipped = 0; at < all.size() && all[at] == '\r'; ++skipped) {
    if (at + 1 == all.size()) return -1;
    if (all[at + 1] != '\n' || skipped == 4) return 400;
    at += 2;
  }
  if (at == all.size()) return -1;
  auto next_line = [&](std::size_t from, std::size_t limit_at, int too_long,
                       int& error) -> std::optional<std::size_t> {
    for (std::size_t i = from;; ++i) {
      if (i > limit_at) return error = too_long, std::nullopt;
      if (i >= all.size()) return error = -1, std::nullopt;
      unsigned char c = static_cast<unsigned char>(all[i]);
      if ((c < 32 && c != '\t') || c == 127) {
        if (c != '\r') return error = 400, std::nullopt;
        if (i + 1 >= all.size()) return error = -1, std::nullopt;
        if (all[i + 1] != '\n') return error = 400, std::nullopt;
        return i;
      }
    }
  };
  int error = 0;
  auto end = next_line(at, at + limits.max_uri_bytes + 64, 414, error);
  if (!end) return error;
  std::string line(all.substr(at, *end - at));
  std::size_t space = line.find(' ');
  std::string method = line.substr(0, space);
  std::size_t letters = 0;
  while (letters < line.size() && token(line.substr(letters, 1))) ++letters;
  if (letters > 32) return 501;
  if (space == line.npos || !token(method)) return 400;
  if (method == "CONNECT") return 501;
  if (line.size() < space + 11 || line[line.size() - 9] != ' ') return 400;
  std::string target = line.substr(space + 1, line.size() - space - 10), version = line.substr(line.size() - 8);
  if (target.size() > limits.max_uri_bytes) return 414;
  bool modern = version == "HTTP/1.1";
  if (!modern && version != "HTTP/1.0") {
    bool shape = version.substr(0, 5) == "HTTP/" && std::isdigit(static_cast<unsigned char>(version[5])) &&
                 version[6] == '.' && std::isdigit(static_cast<unsigned char>(version[7]));
    return shape ? 505 : 400;
  }
  for (char c : target)
    if (c <= 32 || c == 127 || c == '#') return 400;
  if (target[0] != '/' && !(target == "*" && method == "OPTIONS")) {
    std::string low = lower(target.substr(0, 8));
    std::size_t scheme = low.substr(0, 7) == "http://" ? 7 : low == "https://" ? 8 : 0;
    if (!scheme || !authority(target.substr(scheme, target.find_first_of("/?", scheme) - scheme))) return 400;
  }
  std::size_t fields_at = *end + 2;
  at = fields_at;
  int count = 0, hosts = 0, types = 0, lengths = 0, codings = 0;
  for (;;) {
    end = next_line(at, fields_at + limits.max_header_bytes, 431, error);
    if (!end) return error;
    if (*end == at) break;
    if (++count > static_cast<int>(limits.max_headers)) return 431;
    std::string field(all.substr(at, *end - at));
    at = *end + 2;
    std::size_t colon = field.find(':');
    if (colon == field.npos || !token(field.substr(0, colon))) return 400;
    std::string name = lower(field.substr(0, colon)), value = field.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.erase(0, 1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.pop_back();
    if (name == "host" && (hosts++ || !authority(value))) return 400;
    if (name == "content-type" && types++) return 400;
    if (name == "content_length" || name == "transfer_encoding") return 400;
    if (name == "expect" && lower(value) != "100-continue") return 417;
    if (name == "content-length") {
      if (lengths++ || value.empty() || value.size() > 19) return 400;
      for (char c : value)
        if (c < '0' || c > '9') return 400;
      if (value.size() == 19 && value > "9223372036854775807") return 400;
    }
    if (name == "transfer-encoding") {
      if (codings++) return 400;
      auto list = list_of(value);
      if (list.empty() || list.back() != "chunked") return 400;
      if (std::count(list.begin(), list.end(), "chunked") > 1) return 400;
      if (list.size() > 1) return 501;
      if (lower(value) != "chunked") return 400;  // ", chunked": a list with empty elements
    }
  }
  if (modern && !hosts) return 400;
  if (codings && (lengths || !modern)) return 400;
  return 0;
}

int outcome(const Verdict& v) {
  if (v.kind == ParseResult::Kind::complete) return 0;
  if (v.kind == ParseResult::Kind::need_more) return -1;
  return v.status;
}

// --- cases -------------------------------------------------------------------------------------------------
struct Case {
  const char* id;
  std::string bytes;
  std::vector<int> accepted;  // 0 accepts, -1 wants more, otherwise the status
  const char* section;
};

std::string get(const std::string& fields, const std::string& target = "/") {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
std::string post(const std::string& fields) { return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"; }
std::string repeat(const std::string& s, int n) {
  std::string out;
  while (n-- > 0) out += s;
  return out;
}

const std::vector<Case>& cases() {
  using namespace std::string_literals;
  static const std::vector<Case> all = {
      // request line
      {"minimal", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 3"},
      {"http10_without_host", "GET / HTTP/1.0\r\n\r\n", {0}, "9112 3.2"},
      {"empty_line_first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 2.2"},
      {"endless_empty_lines", repeat("\r\n", 6) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 2.2"},
      {"bare_lf_first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 2.2"},
      {"unknown_method", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9110 9.1"},
      {"lower_case_method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9110 9.1"},
      {"method_bad_char", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9110 5.6.2"},
      {"method_too_long", std::string(40, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", {501}, "9112 3"},
      {"method_missing", " / HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3"},
      {"connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", {501}, "9110 9.3.6"},
      {"two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3"},
      {"tab_for_space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3"},
      {"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2"},
      {"space_before_eol", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", {400}, "9112 3"},
      {"no_version", "GET /\r\nHost: a\r\n\r\n", {400}, "9112 3"},
      {"version_12", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", {505}, "9110 2.5"},
      {"version_20", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}, "9113 3.4"},
      {"version_case", "GET / http/1.1\r\nHost: a\r\n\r\n", {400}, "9112 2.3"},
      {"version_long", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", {400}, "9112 2.3"},
      {"version_digits", "GET / HTTP/11.1\r\nHost: a\r\n\r\n", {400}, "9112 2.3"},
      {"bare_lf_lines", "GET / HTTP/1.1\nHost: a\n\n", {400}, "9112 2.2"},
      {"bare_cr_in_line", "GET / HTTP/1.1\rHost: a\r\n\r\n", {400}, "9112 2.2"},
      {"nul_in_target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, {400}, "9110 5.5"},
      {"utf8_in_target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2"},
      {"fragment_in_target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2"},
      {"asterisk_get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2.4"},
      {"asterisk_options", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 3.2.4"},
      {"relative_target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2"},
      {"query_only_target", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2"},
      {"absolute_form", "GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 3.2.2"},
      {"absolute_form_https", "GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 3.2.2"},
      {"absolute_form_query", "GET http://b?x=/ HTTP/1.1\r\nHost: a\r\n\r\n", {0}, "9112 3.2.2"},
      {"absolute_form_userinfo", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9110 4.2.4"},
      {"absolute_form_no_host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9110 4.2.1"},
      {"absolute_form_ftp", "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", {400}, "9112 3.2.2"},
      {"double_slash_path", get("", "//evil/x"), {0}, "9112 3.2.1"},
      {"encoded_slash", get("", "/a%2Fb"), {0}, "9112 3.2.1"},
      {"uri_at_limit", get("", "/" + std::string(8191, 'a')), {0}, "9110 4.1"},
      {"uri_over_limit", get("", "/" + std::string(8192, 'a')), {414}, "9110 15.5.15"},
      {"uri_endless", "GET /" + std::string(20000, 'a'), {414}, "9110 15.5.15"},
      {"tls_hello", "\x16\x03\x01\x02\x00"s, {400}, "9112 3"},
      // field lines
      {"no_blank_after_colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n", {0}, "9112 5"},
      {"blanks_around_value", get("X: \t v \t \r\n"), {0}, "9112 5.1"},
      {"empty_value", get("X:\r\nY: \r\n"), {0}, "9110 5.5"},
      {"only_blanks", get("X:   \t \r\n"), {0}, "9110 5.5"},
      {"obs_text_value", get("X: caf\xc3\xa9\r\n"), {0}, "9110 5.5"},
      {"space_before_colon", get("X : v\r\n"), {400}, "9112 5.1"},
      {"tab_before_colon", get("X\t: v\r\n"), {400}, "9112 5.1"},
      {"space_in_name", get("X Y: v\r\n"), {400}, "9112 5.1"},
      {"empty_name", get(": v\r\n"), {400}, "9110 5.1"},
      {"no_colon", get("Nothing\r\n"), {400}, "9112 5"},
      {"utf8_name", get("X\xc3: v\r\n"), {400}, "9110 5.6.2"},
      {"fold_space", get("X: a\r\n b\r\n"), {400}, "9112 5.2"},
      {"fold_tab", get("X: a\r\n\tb\r\n"), {400}, "9112 5.2"},
      {"fold_first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", {400}, "9112 2.2"},
      {"nul_in_value", get("X: a\0b\r\n"s), {400}, "9110 5.5"},
      {"bell_in_value", get("X: a\ab\r\n"), {400}, "9110 5.5"},
      {"del_in_value", get("X: a\x7f\r\n"), {400}, "9110 5.5"},
      {"bare_cr_in_value", get("X: a\rb\r\n"), {400}, "9112 2.2"},
      {"bare_lf_in_value", get("X: a\nY: b\r\n"), {400}, "9112 2.2"},
      {"cr_cr_lf", get("X: a\r\r\n"), {400}, "9112 2.2"},
      {"blank_line_with_space", "GET / HTTP/1.1\r\nHost: a\r\n \r\n", {400}, "9112 5.2"},
      {"underscore_name", get("X_Y: v\r\n"), {0}, "9110 5.6.2"},
      {"lookalike_length", get("Content_Length: 5\r\n"), {400}, "smuggling"},
      {"lookalike_coding", get("Transfer_Encoding: chunked\r\n"), {400}, "smuggling"},
      {"hundred_fields", get(repeat("X: v\r\n", 99)), {0}, "limits"},
      {"too_many_fields", get(repeat("X: v\r\n", 100)), {431}, "6585 5"},
      {"long_name", get(std::string(300, 'n') + ": v\r\n"), {0}, "9112 5"},
      {"header_over_limit", get("X: " + std::string(33000, 'v') + "\r\n"), {431}, "6585 5"},
      {"header_endless", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(50000, 'v'), {431}, "6585 5"},
      {"headers_over_limit_in_sum", get(repeat("X: " + std::string(1000, 'v') + "\r\n", 40)), {431}, "6585 5"},
      // Host
      {"host_missing", "GET / HTTP/1.1\r\n\r\n", {400}, "9112 3.2"},
      {"host_twice", get("Host: a\r\n"), {400}, "9112 3.2"},
      {"host_twice_other", get("host: b\r\n"), {400}, "9112 3.2"},
      {"host_empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", {400}, "9110 4.2.1"},
      {"host_port", "GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", {0}, "9110 7.2"},
      {"host_empty_port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", {0}, "3986 3.2.3"},
      {"host_bad_port", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", {400}, "3986 3.2.3"},
      {"host_port_long", "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", {400}, "3986 3.2.3"},
      {"host_ipv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", {0}, "3986 3.2.2"},
      {"host_ipv6_open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", {400}, "3986 3.2.2"},
      {"host_two_colons", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", {400}, "9110 7.2"},
      {"host_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", {400}, "9110 7.2"},
      {"host_userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", {400}, "9110 7.2"},
      {"host_space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", {400}, "9110 7.2"},
      {"host_list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", {400}, "9110 7.2"},
      {"host_backslash", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", {400}, "9110 7.2"},
      {"host_percent", "GET / HTTP/1.1\r\nHost: a%41b\r\n\r\n", {0}, "3986 3.2.2"},
      {"host_percent_bad", "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", {400}, "3986 2.1"},
      {"host_only_port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", {400}, "9110 4.2.1"},
      {"host_long", "GET / HTTP/1.1\r\nHost: " + repeat("abcdefgh.", 12) + "com\r\n\r\n", {0}, "9110 7.2"},
      {"host_in_http10_bad", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", {400}, "9110 7.2"},
      // framing
      {"length", post("Content-Length: 5\r\n"), {0}, "9110 8.6"},
      {"length_zero", post("Content-Length: 0\r\n"), {0}, "9110 8.6"},
      {"length_leading_zeros", post("Content-Length: 0005\r\n"), {0}, "9110 8.6"},
      {"length_plus", post("Content-Length: +5\r\n"), {400}, "9110 8.6"},
      {"length_minus", post("Content-Length: -5\r\n"), {400}, "9110 8.6"},
      {"length_hex", post("Content-Length: 0x5\r\n"), {400}, "9110 8.6"},
      {"length_underscore", post("Content-Length: 5_0\r\n"), {400}, "9110 8.6"},
      {"length_empty", post("Content-Length:\r\n"), {400}, "9110 8.6"},
      {"length_inner_blank", post("Content-Length: 5 5\r\n"), {400}, "9110 8.6"},
      {"length_list_equal", post("Content-Length: 5, 5\r\n"), {400}, "9112 6.3"},
      {"length_unicode_digit", post("Content-Length: \xd9\xa5\r\n"), {400}, "9110 8.6"},
      {"length_max", post("Content-Length: 9223372036854775807\r\n"), {0}, "9110 8.6"},
      {"length_over", post("Content-Length: 9223372036854775808\r\n"), {400}, "9110 8.6"},
      {"length_wraps", post("Content-Length: 18446744073709551621\r\n"), {400}, "9110 8.6"},
      {"length_twice_equal", post("Content-Length: 5\r\nContent-Length: 5\r\n"), {400}, "9112 6.3"},
      {"length_twice", post("Content-Length: 5\r\nContent-Length: 6\r\n"), {400}, "9112 6.3"},
      {"chunked", post("Transfer-Encoding: chunked\r\n"), {0}, "9112 6.1"},
      {"chunked_upper", post("TRANSFER-ENCODING: CHUNKED\r\n"), {0}, "9112 7"},
      {"chunked_and_length", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), {400}, "9112 6.1"},
      {"length_and_chunked", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), {400}, "9112 6.1"},
      {"chunked_http10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", {400}, "9112 6.1"},
      {"xchunked", post("Transfer-Encoding: xchunked\r\n"), {400, 501}, "9112 6.1"},
      {"chunked_semicolon", post("Transfer-Encoding: chunked;a=b\r\n"), {400, 501}, "9112 7"},
      {"gzip_chunked", post("Transfer-Encoding: gzip, chunked\r\n"), {501}, "9112 6.1"},
      {"chunked_gzip", post("Transfer-Encoding: chunked, gzip\r\n"), {400}, "9112 6.3"},
      {"chunked_chunked", post("Transfer-Encoding: chunked, chunked\r\n"), {400}, "9112 6.1"},
      {"chunked_two_lines",
       post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       {400},
       "9112 6.1"},
      {"chunked_identity_lines",
       post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
       {400},
       "9112 6.1"},
      {"identity", post("Transfer-Encoding: identity\r\n"), {400, 501}, "9112 6.1"},
      {"coding_empty", post("Transfer-Encoding:\r\n"), {400}, "9112 6.1"},
      {"coding_quoted", post("Transfer-Encoding: \"chunked\"\r\n"), {400, 501}, "9112 6.1"},
      {"coding_folded", post("Transfer-Encoding:\r\n chunked\r\n"), {400}, "9112 5.2"},
      {"coding_vtab",
       post("Transfer-Encoding: \x0b"
            "chunked\r\n"),
       {400},
       "9110 5.5"},
      {"coding_nbsp",
       post("Transfer-Encoding: \xa0"
            "chunked\r\n"),
       {400, 501},
       "9112 6.1"},
      {"content_type_twice", post("Content-Type: a/b\r\nContent-Type: a/c\r\n"), {400}, "9110 8.3"},
      // connection
      {"expect_continue", post("Expect: 100-Continue\r\nContent-Length: 1\r\n"), {0}, "9110 10.1.1"},
      {"expect_other", post("Expect: coffee\r\n"), {417}, "9110 10.1.1"},
      {"upgrade", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), {0}, "9110 7.8"},
      // incomplete
      {"nothing", "", {-1}, ""},
      {"half_line", "GET / HT", {-1}, ""},
      {"half_head", "GET / HTTP/1.1\r\nHost: a\r\n", {-1}, ""},
      {"half_end", "GET / HTTP/1.1\r\nHost: a\r\n\r", {-1}, ""},
  };
  return all;
}

std::vector<std::string> corpus() {
  std::vector<std::string> all;
  for (const Case& c : cases())
    if (c.bytes.size() < 3000) all.push_back(c.bytes);
  all.push_back(
      "GET /api/v1/items/42?limit=20&offset=40 HTTP/1.1\r\nHost: www.example.com:8000\r\nConnection: "
      "keep-alive\r\n"
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0\r\n"
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
      "Accept-Encoding: gzip, deflate, br, zstd\r\nCookie: session=6f1c0e2b9a7d4c55; theme=dark\r\n\r\n");
  all.push_back(
      "POST /submit%20now?x=%31 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nbody "
      "follows");
  return all;
}

// --- tests -------------------------------------------------------------------------------------------------
TEST(Parser, EveryTierGivesTheAcceptedOutcomeOfEveryCase) {
  GuardedBuffer buffer;
  for (const Tier* tier : tiers()) {
    for (const Case& c : cases()) {
      Verdict v = run(*tier, c.bytes, buffer);
      EXPECT_TRUE(std::count(c.accepted.begin(), c.accepted.end(), outcome(v)))
          << tier->name << " " << c.id << " (RFC " << c.section << "): " << v;
      EXPECT_EQ(model(c.bytes, kLimits), outcome(v)) << "model disagrees: " << c.id;
    }
  }
}

TEST(Parser, EverySplitGivesTheSameVerdict) {
  GuardedBuffer buffer;
  for (const Tier* tier : tiers()) {
    for (const std::string& bytes : corpus()) {
      Verdict whole = run(*tier, bytes, buffer);
      for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        RequestHead head;
        std::string_view first(bytes.data(), cut);
        auto result = tier->parse(buffer.put(first), cut, kLimits, head);
        if (result.need_more()) result = tier->parse(buffer.put(bytes, cut % 64), bytes.size(), kLimits, head);
        ASSERT_EQ(verdict_of(result, head), whole) << tier->name << " cut at " << cut << " of " << bytes;
      }
    }
  }
}

TEST(Parser, OneByteAtATimeGivesTheSameVerdictAtLargeSizes) {
  GuardedBuffer buffer;
  std::vector<std::string> inputs = corpus();
  inputs.push_back(get("X: " + std::string(31000, 'v') + "\r\n", "/" + std::string(8000, 'a')));
  inputs.push_back(get(repeat("Name: " + std::string(300, 'v') + "\r\n", 99)));
  inputs.push_back(get(std::string(20000, 'n') + ": v\r\n"));
  inputs.push_back("GET /" + std::string(9000, 'a'));
  inputs.push_back(get("X: " + std::string(40000, 'v')));
  for (const Tier* tier : tiers()) {
    for (const std::string& bytes : inputs) {
      std::string padded = bytes + std::string(kReadPadding, '\n');
      RequestHead head;
      ParseResult result{ParseResult::Kind::need_more, 0, nullptr};
      for (std::size_t n = 0; n <= bytes.size() && result.need_more(); ++n)
        result = tier->parse(padded.data(), n, kLimits, head);
      ASSERT_EQ(verdict_of(result, head), run(*tier, bytes, buffer)) << tier->name << " " << bytes.substr(0, 200);
    }
  }
}

TEST(Parser, EveryTierAgreesAtEveryAlignment) {
  GuardedBuffer buffer;
  for (const std::string& bytes : corpus()) {
    Verdict reference = run(kTierScalar, bytes, buffer);
    for (const Tier* tier : tiers())
      for (std::size_t shift = 0; shift < 64; ++shift)
        ASSERT_EQ(run(*tier, bytes, buffer, shift), reference) << tier->name << " shift " << shift << " " << bytes;
  }
}

TEST(Parser, MutatedRequestsGetTheVerdictOfTheModel) {
  GuardedBuffer buffer;
  std::mt19937 random(20260731);
  std::vector<std::string> seeds = corpus();
  const std::string pieces[] = {"\r",
                                "\n",
                                "\r\n",
                                " ",
                                "\t",
                                ":",
                                ",",
                                "/",
                                "?",
                                "#",
                                "%",
                                "\x7f",
                                std::string(1, '\0'),
                                "\x80",
                                "\xff",
                                "Host: b\r\n",
                                "Content-Length: 3\r\n",
                                "Transfer-Encoding: chunked\r\n",
                                "_",
                                "*",
                                "[",
                                "]",
                                "@",
                                "HTTP/1.0",
                                "close",
                                "1",
                                ";",
                                "\"",
                                "http://x",
                                "A"};
  for (int round = 0; round < 60000; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    for (unsigned edits = 1 + random() % 3; edits; --edits) {
      std::size_t at = bytes.empty() ? 0 : random() % (bytes.size() + 1);
      switch (random() % 4) {
        case 0: bytes.insert(at, pieces[random() % std::size(pieces)]); break;
        case 1:
          if (at < bytes.size()) bytes.erase(at, 1 + random() % 4);
          break;
        case 2:
          if (at < bytes.size()) bytes[at] = static_cast<char>(random());
          break;
        default: bytes.insert(at, std::string(random() % 70, static_cast<char>('a' + random() % 26)));
      }
    }
    Verdict reference = run(kTierScalar, bytes, buffer);
    ASSERT_EQ(outcome(reference), model(bytes, kLimits)) << bytes << "\n" << reference;
    for (const Tier* tier : tiers())
      ASSERT_EQ(run(*tier, bytes, buffer, random() % 64), reference) << tier->name << " " << bytes;
  }
}

TEST(Parser, RandomBytesNeverReadOutsideAndTiersAgree) {
  GuardedBuffer buffer;
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 300, '\0');
    bool printable = random() % 2;
    for (char& c : bytes) c = static_cast<char>(printable ? 32 + random() % 95 : random());
    if (random() % 2) bytes = "GET / HTTP/1.1\r\n" + bytes;
    Verdict reference = run(kTierScalar, bytes, buffer);
    ASSERT_EQ(outcome(reference), model(bytes, kLimits)) << bytes;
    for (const Tier* tier : tiers()) ASSERT_EQ(run(*tier, bytes, buffer), reference) << tier->name;
  }
}

TEST(Parser, LimitsUriBytes) {
  GuardedBuffer buffer;
  Limits limits;
  limits.max_uri_bytes = 10;
  EXPECT_EQ(run(best_tier(), get("", "/123456789"), buffer, 0, limits).status, 0);
  EXPECT_EQ(run(best_tier(), get("", "/1234567890"), buffer, 0, limits).status, 414);
}

TEST(Parser, LimitsHeaderBytesAndCount) {
  GuardedBuffer buffer;
  Limits limits;
  limits.max_header_bytes = 40;
  limits.max_headers = 3;
  EXPECT_EQ(run(best_tier(), get("A: 1\r\n"), buffer, 0, limits).status, 0);
  EXPECT_EQ(run(best_tier(), get("A: 123456789012345678901234567890\r\n"), buffer, 0, limits).code,
            "http.header_too_large");
  EXPECT_EQ(run(best_tier(), get("A: 1\r\nB: 1\r\n"), buffer, 0, limits).status, 0);
  EXPECT_EQ(run(best_tier(), get("A: 1\r\nB: 1\r\nC: 1\r\n"), buffer, 0, limits).code, "http.too_many_headers");
}

TEST(Parser, ViewsShowWhatWasSent) {
  std::string bytes =
      "POST http://up.example:81/a%20b?q=1?2 HTTP/1.1\r\nHost: other\r\nX-One:  v 1 \r\nx-one: v2\r\n"
      "Connection: close\r\nContent-Length: 7\r\n\r\nrest";
  std::string padded = bytes + std::string(kReadPadding, 0);
  RequestHead head;
  ParseResult result = parse_request(padded.data(), bytes.size(), kLimits, head);
  ASSERT_TRUE(result.complete());
  EXPECT_EQ(result.consumed, bytes.size() - 4);
  EXPECT_EQ(head.method, Method::post);
  EXPECT_EQ(head.path(), "/a%20b");
  EXPECT_TRUE(head.path_encoded);
  EXPECT_EQ(head.query(), "q=1?2");
  EXPECT_EQ(head.host(), "up.example:81");
  EXPECT_EQ(head.find("x-one"), "v 1");
  EXPECT_EQ(head.value(head.find_index("x-one", head.find_index("x-one") + 1)), "v2");
  EXPECT_EQ(head.find("absent").data(), nullptr);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_EQ(head.content_length, 7u);
  std::string moved = padded;
  head.rebase(moved.data());
  EXPECT_EQ(head.path().data(), moved.data() + bytes.find("/a%20b"));
}

TEST(Parser, KeepAliveFollowsVersionAndTokens) {
  auto keep = [](const std::string& head_bytes) {
    std::string padded = head_bytes + std::string(kReadPadding, 0);
    RequestHead head;
    EXPECT_TRUE(parse_request(padded.data(), head_bytes.size(), kLimits, head).complete());
    return head.keep_alive;
  };
  EXPECT_TRUE(keep("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"));
  EXPECT_FALSE(keep("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keep("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
  EXPECT_FALSE(keep("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
  EXPECT_FALSE(keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"));
}

// --- the memo: whatever it remembers, the answer is that of a plain parse ------------------------------------
TEST(HeaderMemo, AnswersAreThoseOfAPlainParse) {
  std::mt19937 random(3);
  std::vector<std::string> inputs = corpus();
  GuardedBuffer buffer;
  for (const char* tail : {"Host: a\r\n\r\n", "Host: a\r\nConnection: close\r\n\r\n", "Host: b\r\nX: y\r\n\r\n"})
    for (const char* line : {"GET / HTTP/1.1\r\n", "GET /x?y HTTP/1.1\r\n", "POST /%41 HTTP/1.1\r\n",
                             "GET / HTTP/1.0\r\n", "GET http://c/ HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\n"})
      inputs.push_back(std::string(line) + tail);
  inputs.push_back("GET /" + std::string(200, 'p') + " HTTP/1.1\r\nHost: a\r\n\r\n");
  for (int round = 0; round < 200; ++round) {
    HeaderMemo memo;
    for (int request = 0; request < 60; ++request) {
      std::string bytes = inputs[random() % 4 ? inputs.size() - 1 - random() % 19 : random() % inputs.size()];
      if (random() % 5 == 0) bytes.resize(random() % (bytes.size() + 1));
      if (random() % 8 == 0 && !bytes.empty()) bytes[random() % bytes.size()] = static_cast<char>(random());
      bytes += random() % 2 ? "" : "GET / HT";
      Verdict plain = run(best_tier(), bytes, buffer);
      RequestHead head;
      auto result = parse_request(buffer.put(bytes), bytes.size(), kLimits, head, memo);
      ASSERT_EQ(verdict_of(result, head), plain) << bytes;
    }
  }
}

TEST(HeaderMemo, LimitsHoldForRememberedBlocks) {
  HeaderMemo memo;
  std::string bytes = get("A: 1\r\nB: 2\r\n", "/0123456789");
  std::string padded = bytes + std::string(kReadPadding, 0);
  RequestHead head;
  ASSERT_TRUE(parse_request(padded.data(), bytes.size(), kLimits, head, memo).complete());
  ASSERT_FALSE(memo.empty());
  Limits few = kLimits, small = kLimits, brief = kLimits;
  few.max_headers = 2;
  small.max_header_bytes = 10;
  brief.max_uri_bytes = 5;
  for (const auto& [limits, status] : {std::pair{few, 431}, {small, 431}, {brief, 414}}) {
    head.reset();
    auto result = parse_request(padded.data(), bytes.size(), limits, head, memo);
    ASSERT_TRUE(result.failed());
    EXPECT_EQ(result.error->status, status);
  }
}

TEST(Limits, TableAndStructAgree) {
  Limits limits;
  for (const LimitInfo& row : kLimitTable) EXPECT_EQ(limits.*row.field, row.default_value) << row.name;
  Limits wild;
  wild.max_headers = 1000;
  wild.max_header_bytes = 1 << 30;
  wild.max_uri_bytes = 1 << 30;
  wild = clamped(wild);
  EXPECT_LE(wild.max_headers, kMaxFields);
  EXPECT_LE(wild.max_uri_bytes + wild.max_header_bytes + 64, kMaxHeadBytes);
}

}  // namespace
}  // namespace fasterapi::http
