// Which answers are compressed, and what their heads become.
#include <algorithm>

#include <fasterapi/http/compression.hpp>
#include <fasterapi/http/response_head.hpp>

namespace fasterapi::http {
namespace {

/// The next field line of a head without its CRLF; the status line comes first.
bool next_line(std::string_view& rest, std::string_view& line) noexcept {
  const std::size_t end = rest.find("\r\n");
  if (end == rest.npos || end == 0) return false;
  line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return true;
}

std::string_view value_of(std::string_view line) noexcept {
  std::string_view value = line.substr(std::min(line.find(':') + 1, line.size()));
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  return value;
}

bool is(std::string_view line, std::string_view lower_name) noexcept {
  return line.size() > lower_name.size() && line[lower_name.size()] == ':' &&
         equals_lower(line.substr(0, lower_name.size()), lower_name);
}

/// Types whose content is text; the others are compressed already, or not known to gain anything.
bool worth_it(std::string_view type) noexcept {
  char small[64];
  const std::string_view bare = type.substr(0, type.find(';'));
  std::size_t size = std::min(bare.size(), sizeof small);
  while (size && bare[size - 1] == ' ') --size;
  for (std::size_t i = 0; i < size; ++i)
    small[i] = static_cast<char>(bare[i] >= 'A' && bare[i] <= 'Z' ? bare[i] | 0x20 : bare[i]);
  const std::string_view name(small, size);
  if (name == "text/event-stream") return false;  // small pieces that must not wait for one another
  if (name.starts_with("text/") || name.ends_with("+json") || name.ends_with("+xml")) return true;
  for (std::string_view known :
       {"application/json", "application/javascript", "application/xml", "application/wasm",
        "application/x-ndjson", "application/jsonl", "application/manifest+json", "application/x-javascript",
        "font/ttf", "font/otf", "image/bmp", "image/x-icon"})
    if (name == known) return true;
  return false;
}

bool has_token(std::string_view list, std::string_view lower) noexcept {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view one = list.substr(0, comma);
    list = comma == list.npos ? std::string_view{} : list.substr(comma + 1);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    if (equals_lower(one, lower)) return true;
  }
  return false;
}

}  // namespace

CompressionVerdict judge_head(int status, std::string_view fields) noexcept {
  CompressionVerdict verdict;
  if (!status_has_body(status) || status == 206) return verdict;
  std::string_view line;
  bool typed = false;
  while (next_line(fields, line)) {
    if (is(line, "content-encoding") || is(line, "content-range")) return verdict;
    // RFC 9110 section 7.7: nobody but the origin may change such content, and we are its server only.
    if (is(line, "cache-control") && has_token(value_of(line), "no-transform")) return verdict;
    if (is(line, "content-type")) typed = worth_it(value_of(line));
  }
  verdict.eligible = typed;
  return verdict;
}

std::string coded_head(std::string_view fields, Coding coding) {
  std::string out;
  out.reserve(fields.size() + 64);
  std::string_view line;
  bool varies = false;
  while (next_line(fields, line)) {
    if (is(line, "content-length")) continue;
    if (is(line, "vary")) varies = varies || has_token(value_of(line), "accept-encoding") || value_of(line) == "*";
    // RFC 9110 section 8.8.1: the coded bytes are another representation, equal only in meaning.
    if (coding != Coding::identity && is(line, "etag") && value_of(line).starts_with('"')) {
      out.append("etag: W/").append(value_of(line)).append("\r\n");
      continue;
    }
    if (coding != Coding::identity && is(line, "accept-ranges")) continue;
    out.append(line).append("\r\n");
  }
  if (coding != Coding::identity) out.append("content-encoding: ").append(coding_name(coding)).append("\r\n");
  if (!varies) out.append("vary: accept-encoding\r\n");
  return out;
}

}  // namespace fasterapi::http
