#pragma once
// Response heads as templates: all that is constant is laid out once, a request splices in the length and
// copies the date.
//   Cost     write(): two memcpy and a decimal number, about 10 ns
//   Threads  a template is immutable after construction; a DateCache belongs to one thread
//   Errors   names and values are trusted here: valid_field_name/value() are what the edges check with
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include <fasterapi/core/endpoint.hpp>

namespace fasterapi::http {

using core::HeaderField;

/// "Not Found" for 404; "" when the code has no registered phrase (RFC 9112 section 4 allows that).
std::string_view reason_phrase(int status) noexcept;

/// 1xx, 204 and 304 never carry a body (RFC 9112 section 6.3).
constexpr bool status_has_body(int status) noexcept { return status >= 200 && status != 204 && status != 304; }

/// A token of RFC 9110 section 5.6.2.
bool valid_field_name(std::string_view name) noexcept;
/// No CR, LF, NUL or other control but HTAB: what follows a line break would be the attacker's own header.
bool valid_field_value(std::string_view value) noexcept;

/// The date line of the current second, with the empty line that ends a head.
class DateCache {
 public:
  /// `now` is the reactor's cached clock: the wall clock is read once per second of it.
  std::string_view tail(std::int64_t now) noexcept {
    if (now >= valid_until_) refresh(now);
    return {line_, kSize};
  }
  static constexpr std::size_t kSize = 39;  // "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"

 private:
  void refresh(std::int64_t now) noexcept;
  std::int64_t valid_until_ = INT64_MIN;
  char line_[40] = {};
};

/// Formats an IMF-fixdate (29 characters) at `at`; returns the end.
char* write_http_date(char* at, std::time_t when) noexcept;

/// What the head says about the connection after this answer.
enum class Persistence : std::uint8_t {
  implied,     // HTTP/1.1 that stays open: no field at all
  keep_alive,  // HTTP/1.0 that stays open
  close,
};

/// Status line, content type, fixed fields and "content-length: ", ready to be copied.
class HeadTemplate {
 public:
  HeadTemplate() = default;
  /// `media_type` empty: no content-type. `own_lines`: the server's own fields, each with its line end.
  HeadTemplate(int status, std::string_view media_type, std::span<const HeaderField> fields,
               std::string_view own_lines);

  int status() const noexcept { return status_; }
  bool has_body() const noexcept { return status_has_body(status_); }
  /// Room that write() may need.
  std::size_t max_size() const noexcept { return prefix_.size() + 128; }
  /// Writes the complete head at `at`; `tail` is DateCache::tail() or "\r\n". Returns the end.
  char* write(char* at, std::uint64_t content_length, Persistence persistence,
              std::string_view tail) const noexcept;
  /// Status line and fields without length, persistence or end: for streamed answers.
  std::string_view fields() const noexcept { return {prefix_.data(), fields_size_}; }

 private:
  std::string prefix_;           // up to and with "content-length: ", then padding
  std::size_t prefix_size_ = 0;  // without the padding
  std::size_t fields_size_ = 0;  // up to and without it
  int status_ = 200;
};

/// Appends "name: value\r\n".
char* write_field(char* at, std::string_view name, std::string_view value) noexcept;

}  // namespace fasterapi::http
