#pragma once
// Number text: integers, and floats exactly as Python's repr() writes them.
//   Cost     floats with up to four decimals about 8 ns, others the shortest form of std::to_chars
//   Threads  pure
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace fasterapi::core::json {

namespace detail {
inline constexpr char kPairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
}

inline unsigned digit_count(std::uint64_t value) noexcept {
  // log10 from log2: 1233 / 4096 is just above log10(2); one comparison corrects it.
  static constexpr std::uint64_t kPowers[] = {0,
                                              10,
                                              100,
                                              1000,
                                              10000,
                                              100000,
                                              1000000,
                                              10000000,
                                              100000000,
                                              1000000000,
                                              10000000000,
                                              100000000000,
                                              1000000000000,
                                              10000000000000,
                                              100000000000000,
                                              1000000000000000,
                                              10000000000000000,
                                              100000000000000000,
                                              1000000000000000000,
                                              10000000000000000000u};
  const auto bits = 64u - static_cast<unsigned>(__builtin_clzll(value | 1));
  const unsigned guess = bits * 1233 >> 12;
  return guess + (value >= kPowers[guess]);
}

/// At most 20 bytes; returns the end.
inline char* put_unsigned(char* at, std::uint64_t value) noexcept {
  if (value < 10) {
    *at = static_cast<char>('0' + value);
    return at + 1;
  }
  if (value < 100) {
    std::memcpy(at, detail::kPairs + 2 * value, 2);
    return at + 2;
  }
  char* const end = at + digit_count(value);
  char* to = end;
  while (value >= 100) {
    to -= 2;
    std::memcpy(to, detail::kPairs + 2 * (value % 100), 2);
    value /= 100;
  }
  if (value >= 10)
    std::memcpy(to - 2, detail::kPairs + 2 * value, 2);
  else
    to[-1] = static_cast<char>('0' + value);
  return end;
}

inline char* put_signed(char* at, std::int64_t value) noexcept {
  if (value >= 0) return put_unsigned(at, static_cast<std::uint64_t>(value));
  *at++ = '-';
  return put_unsigned(at, 0 - static_cast<std::uint64_t>(value));
}

namespace detail {
/// Shortest digits, from the scientific form of std::to_chars, as float.__repr__ lays them out.
inline char* put_shortest(char* at, const char* text, const char* end) noexcept {
  // text is d[.ddd]e[+-]dd[d]: take the digits and the exponent apart
  const char* e = end - 1;
  while (*e != 'e') --e;
  int exponent = 0;
  std::from_chars(e[1] == '+' ? e + 2 : e + 1, end, exponent);
  char digits[20];
  int n = 0;
  digits[n++] = text[0];
  if (e > text + 1) {
    std::memcpy(digits + 1, text + 2, static_cast<std::size_t>(e - text - 2));
    n += static_cast<int>(e - text - 2);
  }
  const auto copy = [&](const char* from, int count) {
    std::memcpy(at, from, static_cast<std::size_t>(count));
    at += count;
  };
  const auto zeros = [&](int count) {
    std::memset(at, '0', static_cast<std::size_t>(count));
    at += count;
  };
  if (exponent >= 16 || exponent < -4) {  // float_repr_style: 'r' switches at 1e16 and below 1e-4
    *at++ = digits[0];
    if (n > 1) {
      *at++ = '.';
      copy(digits + 1, n - 1);
    }
    copy(e, static_cast<int>(end - e));
  } else if (exponent < 0) {
    copy("0.", 2);
    zeros(-exponent - 1);
    copy(digits, n);
  } else if (n <= exponent + 1) {
    copy(digits, n);
    zeros(exponent + 1 - n);
    copy(".0", 2);
  } else {
    copy(digits, exponent + 1);
    *at++ = '.';
    copy(digits + exponent + 1, n - exponent - 1);
  }
  return at;
}
}  // namespace detail

/// A finite double as float.__repr__ writes it: at most 25 bytes.
inline char* put_double(char* at, double value) noexcept {
  if (std::signbit(value)) {
    *at++ = '-';
    value = -value;
  }
  if (value == 0.0) {
    std::memcpy(at, "0.0", 3);
    return at + 3;
  }
  if (value >= 1e-3 && value < 1e11) {
    // A decimal of at most 15 digits that reads back as `value` is the only one, so once its trailing
    // zeros are gone it is the shortest form. m / 1e4 is correctly rounded: both sides are exact.
    const double scaled = value * 1e4;
    const auto m = static_cast<std::uint64_t>(scaled + 0.5);
    if (static_cast<double>(m) / 1e4 == value) {
      at = put_unsigned(at, m / 10000);
      *at++ = '.';
      const auto fraction = static_cast<unsigned>(m % 10000);
      std::memcpy(at, detail::kPairs + 2 * (fraction / 100), 2);
      std::memcpy(at + 2, detail::kPairs + 2 * (fraction % 100), 2);
      int n = 4;
      while (n > 1 && at[n - 1] == '0') --n;
      return at + n;
    }
  }
  char text[32];
  const char* end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  return detail::put_shortest(at, text, end);
}

/// The same for the shortest form of a single.
inline char* put_float(char* at, float value) noexcept {
  if (std::signbit(value)) {
    *at++ = '-';
    value = -value;
  }
  char text[32];
  const char* end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  return detail::put_shortest(at, text, end);
}

}  // namespace fasterapi::core::json
