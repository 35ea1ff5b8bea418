#include <fasterapi/http/response_head.hpp>

#include <array>
#include <charconv>
#include <cstring>

namespace fasterapi::http {
namespace {

constexpr std::size_t kBlock = 32;
constexpr std::string_view kContentLength = "content-length: ";

char* put(char* at, std::string_view bytes) noexcept {
  std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

/// Copies in whole blocks: the source is padded and the target has room (HeadTemplate::max_size()).
inline char* put_padded(char* at, const char* bytes, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; i += kBlock) std::memcpy(at + i, bytes + i, kBlock);
  return at + size;
}

/// Decimal digits without the branches of to_chars for the lengths that answers have.
inline char* put_length(char* at, std::uint64_t value) noexcept {
  static constexpr auto kPairs = [] {
    std::array<char, 200> pairs{};
    for (std::size_t i = 0; i < 100; ++i) {
      pairs[2 * i] = static_cast<char>('0' + i / 10);
      pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
    return pairs;
  }();
  if (value >= 10'000) return std::to_chars(at, at + 20, value).ptr;
  auto number = static_cast<unsigned>(value);
  unsigned high = number / 100, low = number % 100;
  if (high == 0) {
    if (low < 10) {
      *at = static_cast<char>('0' + low);
      return at + 1;
    }
    std::memcpy(at, &kPairs[2 * low], 2);
    return at + 2;
  }
  if (high < 10) {
    *at++ = static_cast<char>('0' + high);
  } else {
    std::memcpy(at, &kPairs[2 * high], 2);
    at += 2;
  }
  std::memcpy(at, &kPairs[2 * low], 2);
  return at + 2;
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
                           std::string_view own_lines)
    : status_(status) {
  prefix_ = "HTTP/1.1 " + std::to_string(status) + " ";
  prefix_ += reason_phrase(status);
  prefix_ += "\r\n";
  auto add = [this](std::string_view name, std::string_view value) {
    prefix_.append(name).append(": ").append(value).append("\r\n");
  };
  prefix_.append(own_lines);
  if (!media_type.empty()) add("content-type", media_type);
  for (const HeaderField& field : fields) add(field.name, field.value);
  fields_size_ = prefix_.size();
  prefix_ += kContentLength;
  prefix_size_ = prefix_.size();
  prefix_.append(kBlock, '\0');
}

char* HeadTemplate::write(char* at, std::uint64_t content_length, Persistence persistence,
                          std::string_view tail) const noexcept {
  if (has_body()) {
    at = put_padded(at, prefix_.data(), prefix_size_);
    at = put_length(at, content_length);
    at = put(at, "\r\n");
  } else {
    at = put(at, fields());  // RFC 9110 section 8.6: none with 1xx and 204, and with 304 only the true one
  }
  if (persistence == Persistence::close) at = put(at, "connection: close\r\n");
  if (persistence == Persistence::keep_alive) at = put(at, "connection: keep-alive\r\n");
  if (tail.size() == DateCache::kSize) {  // a constant size is copied without a call
    std::memcpy(at, tail.data(), DateCache::kSize);
    return at + DateCache::kSize;
  }
  return put(at, tail);
}

}  // namespace fasterapi::http
