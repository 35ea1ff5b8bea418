#pragma once
// Big-endian integers and a reader that cannot leave its message.
//   Cost     a load and a byte swap each; Reader adds one compare per field
//   Errors   Reader turns false for good once a field does not fit; its values are then zero or empty
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fasterapi::pg::wire {

inline std::uint16_t get16(const char* p) noexcept {
  std::uint16_t v;
  std::memcpy(&v, p, 2);
  return __builtin_bswap16(v);
}
inline std::uint32_t get32(const char* p) noexcept {
  std::uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
inline std::uint64_t get64(const char* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}
inline char* put16(char* p, std::uint16_t v) noexcept {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, 2);
  return p + 2;
}
inline char* put32(char* p, std::uint32_t v) noexcept {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, 4);
  return p + 4;
}
inline char* put64(char* p, std::uint64_t v) noexcept {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, 8);
  return p + 8;
}
inline double get_f64(const char* p) noexcept { return std::bit_cast<double>(get64(p)); }
inline float get_f32(const char* p) noexcept { return std::bit_cast<float>(get32(p)); }

class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  std::uint8_t u8() noexcept { return need(1) ? static_cast<std::uint8_t>(*take(1)) : 0; }
  std::uint16_t u16() noexcept { return need(2) ? get16(take(2)) : 0; }
  std::int16_t i16() noexcept { return static_cast<std::int16_t>(u16()); }
  std::uint32_t u32() noexcept { return need(4) ? get32(take(4)) : 0; }
  std::int32_t i32() noexcept { return static_cast<std::int32_t>(u32()); }
  std::uint64_t u64() noexcept { return need(8) ? get64(take(8)) : 0; }
  std::int64_t i64() noexcept { return static_cast<std::int64_t>(u64()); }
  std::string_view bytes(std::size_t n) noexcept {
    return need(n) ? std::string_view(take(n), n) : std::string_view();
  }
  /// A zero-terminated string; the terminator must lie inside the message.
  std::string_view cstring() noexcept {
    const void* zero = ok_ ? std::memchr(at_, 0, left()) : nullptr;
    if (!zero) {
      ok_ = false;
      return {};
    }
    std::string_view s(at_, static_cast<std::size_t>(static_cast<const char*>(zero) - at_));
    at_ += s.size() + 1;
    return s;
  }
  /// A length word (-1 for NULL, anything below is malformed) and that many bytes.
  bool field(std::string_view& value, bool& null) noexcept {
    std::int32_t length = i32();
    null = length == -1;
    value = {};
    if (!ok_ || length < -1) return ok_ = false;
    if (!null) value = bytes(static_cast<std::size_t>(length));
    return ok_;
  }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  const char* at() const noexcept { return at_; }
  bool ok() const noexcept { return ok_; }
  /// Everything was read and nothing was missing.
  bool done() const noexcept { return ok_ && at_ == end_; }
  void fail() noexcept { ok_ = false; }

 private:
  bool need(std::size_t n) noexcept {
    if (!ok_ || left() < n) ok_ = false;
    return ok_;
  }
  const char* take(std::size_t n) noexcept {
    const char* p = at_;
    at_ += n;
    return p;
  }
  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace fasterapi::pg::wire
