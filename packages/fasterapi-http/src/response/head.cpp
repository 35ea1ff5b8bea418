#include <fasterapi/http/response_head.hpp>

#include <charconv>
#include <cstring>

namespace fasterapi::http {
namespace {

constexpr std::string_view kContentLength = "content-length: ";

char* put(char* at, std::string_view bytes) noexcept {
  std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

char* put_two(char* at, int value) noexcept {
  at[0] = static_cast<char>('0' + value / 10);
  at[1] = static_cast<char>('0' + value % 10);
  return at + 2;
}

}  // namespace

char* write_field(char* at, std::string_view name, std::string_view value) noexcept {
  at = put(at, name);
  at = put(at, ": ");
  at = put(at, value);
  return put(at, "\r\n");
}

char* write_http_date(char* at, std::time_t when) noexcept {
  static constexpr char kDays[] = "SunMonTueWedThuFriSat";
  static constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  std::tm utc{};
  ::gmtime_r(&when, &utc);
  at = put(at, {kDays + 3 * utc.tm_wday, 3});
  at = put(at, ", ");
  at = put_two(at, utc.tm_mday);
  *at++ = ' ';
  at = put(at, {kMonths + 3 * utc.tm_mon, 3});
  *at++ = ' ';
  int year = utc.tm_year + 1900;
  at = put_two(at, year / 100 % 100);
  at = put_two(at, year % 100);
  *at++ = ' ';
  at = put_two(at, utc.tm_hour);
  *at++ = ':';
  at = put_two(at, utc.tm_min);
  *at++ = ':';
  at = put_two(at, utc.tm_sec);
  return put(at, " GMT");
}

void DateCache::refresh(std::int64_t now) noexcept {
  timespec wall{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  char* at = put(line_, "date: ");
  at = write_http_date(at, wall.tv_sec);
  put(at, "\r\n\r\n");
  valid_until_ = now + (1'000'000'000 - wall.tv_nsec);
}

HeadTemplate::HeadTemplate(int status, std::string_view media_type, std::span<const HeaderField> fields,
                           std::string_view server)
    : status_(status) {
  prefix_ = "HTTP/1.1 " + std::to_string(status) + " ";
  prefix_ += reason_phrase(status);
  prefix_ += "\r\n";
  auto add = [this](std::string_view name, std::string_view value) {
    prefix_.append(name).append(": ").append(value).append("\r\n");
  };
  if (!server.empty()) add("server", server);
  if (!media_type.empty()) add("content-type", media_type);
  for (const HeaderField& field : fields) add(field.name, field.value);
  fields_size_ = prefix_.size();
  prefix_ += kContentLength;
}

char* HeadTemplate::write(char* at, std::uint64_t content_length, Persistence persistence,
                          std::string_view tail) const noexcept {
  if (has_body()) {
    at = put(at, prefix_);
    at = std::to_chars(at, at + 20, content_length).ptr;
    at = put(at, "\r\n");
  } else {
    at = put(at, fields());  // RFC 9110 section 8.6: none with 1xx and 204, and with 304 only the true one
  }
  if (persistence == Persistence::close) at = put(at, "connection: close\r\n");
  if (persistence == Persistence::keep_alive) at = put(at, "connection: keep-alive\r\n");
  return put(at, tail);
}

}  // namespace fasterapi::http
