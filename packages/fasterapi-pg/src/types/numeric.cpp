#include "types/numeric.hpp"

#include <charconv>
#include <cstdint>
#include <vector>

#include "protocol/wire.hpp"

namespace fasterapi::pg {
namespace {

constexpr std::uint16_t kPositive = 0x0000, kNegative = 0x4000, kNan = 0xC000, kPlusInfinity = 0xD000,
                        kMinusInfinity = 0xF000;
constexpr unsigned kMaxScale = 0x3FFF;     // NUMERIC_DSCALE_MASK
constexpr long kMaxDigitsBefore = 131072;  // (NUMERIC_WEIGHT_MAX + 1) * 4

char* put4(char* p, unsigned digit) noexcept {
  p[0] = static_cast<char>('0' + digit / 1000);
  p[1] = static_cast<char>('0' + digit / 100 % 10);
  p[2] = static_cast<char>('0' + digit / 10 % 10);
  p[3] = static_cast<char>('0' + digit % 10);
  return p + 4;
}

void header(core::OutBuffer& out, std::size_t digits, int weight, std::uint16_t sign, std::size_t scale) {
  char* p = out.reserve(8 + digits * 2);
  p = wire::put16(p, static_cast<std::uint16_t>(digits));
  p = wire::put16(p, static_cast<std::uint16_t>(weight));
  p = wire::put16(p, sign);
  out.commit(wire::put16(p, static_cast<std::uint16_t>(scale)));
}

bool same(std::string_view text, std::string_view word) noexcept {
  if (text.size() != word.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] | 0x20) != word[i]) return false;
  }
  return true;
}

}  // namespace

bool numeric_to_text(std::string_view body, std::string& text) {
  if (body.size() < 8) return false;
  int count = wire::get16(body.data());
  int weight = static_cast<std::int16_t>(wire::get16(body.data() + 2));
  std::uint16_t sign = wire::get16(body.data() + 4);
  unsigned scale = wire::get16(body.data() + 6);
  if (body.size() != 8 + static_cast<std::size_t>(count) * 2 || scale > kMaxScale) return false;
  switch (sign) {
    case kNan: text = "NaN"; return true;
    case kPlusInfinity: text = "Infinity"; return true;
    case kMinusInfinity: text = "-Infinity"; return true;
    case kPositive:
    case kNegative: break;
    default: return false;
  }
  const char* digits = body.data() + 8;
  for (int i = 0; i < count; ++i) {
    if (wire::get16(digits + 2 * i) > 9999) return false;
  }
  auto digit = [&](int i) -> unsigned { return i >= 0 && i < count ? wire::get16(digits + 2 * i) : 0; };
  std::size_t groups = weight >= 0 ? static_cast<std::size_t>(weight) + 1 : 0;
  text.resize(2 + groups * 4 + 1 + scale + 4);
  char* p = text.data();
  if (sign == kNegative) *p++ = '-';
  if (weight < 0) {
    *p++ = '0';
  } else {
    p = std::to_chars(p, p + 8, digit(0)).ptr;
    for (int i = 1; i <= weight; ++i) p = put4(p, digit(i));
  }
  if (scale > 0) {
    *p++ = '.';
    char* fraction = p;
    for (int i = weight + 1; p < fraction + scale; ++i) p = put4(p, digit(i));  // the last may run over
    p = fraction + scale;
  }
  text.resize(static_cast<std::size_t>(p - text.data()));
  return true;
}

NumericError numeric_from_text(std::string_view text, core::OutBuffer& out) {
  std::uint16_t sign = kPositive;
  std::string_view rest = text;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    if (rest[0] == '-') sign = kNegative;
    rest.remove_prefix(1);
  }
  if (same(rest, "nan") || same(rest, "snan")) {
    header(out, 0, 0, kNan, 0);
    return NumericError::none;
  }
  if (same(rest, "infinity") || same(rest, "inf")) {
    header(out, 0, 0, sign == kNegative ? kMinusInfinity : kPlusInfinity, 0);
    return NumericError::none;
  }
  // Significant digits, and where the point stands in them.
  std::string digits;
  digits.reserve(rest.size());
  long point = -1;
  std::size_t i = 0;
  for (; i < rest.size(); ++i) {
    char c = rest[i];
    if (c >= '0' && c <= '9') {
      digits.push_back(c);
    } else if (c == '.' && point < 0) {
      point = static_cast<long>(digits.size());
    } else {
      break;
    }
  }
  if (digits.empty()) return NumericError::malformed;
  if (point < 0) point = static_cast<long>(digits.size());
  long exponent = 0;
  if (i < rest.size()) {
    if ((rest[i] | 0x20) != 'e') return NumericError::malformed;
    std::string_view number = rest.substr(i + 1);
    if (!number.empty() && number[0] == '+') number.remove_prefix(1);
    auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), exponent);
    if (code == std::errc::result_out_of_range) return NumericError::too_large;
    if (code != std::errc() || end != number.data() + number.size()) return NumericError::malformed;
    if (exponent > kMaxDigitsBefore || exponent < -static_cast<long>(kMaxScale) - 20000) {
      return NumericError::too_large;
    }
  }
  long scale = static_cast<long>(digits.size()) - point - exponent;  // digits after the point as written
  if (scale < 0) scale = 0;
  if (scale > static_cast<long>(kMaxScale)) return NumericError::too_large;
  point += exponent;
  std::size_t zeros = digits.find_first_not_of('0');
  if (zeros == std::string::npos) {  // zero keeps its scale: 0.00
    header(out, 0, 0, kPositive, static_cast<std::size_t>(scale));
    return NumericError::none;
  }
  digits.erase(0, zeros);
  point -= static_cast<long>(zeros);
  if (point > kMaxDigitsBefore) return NumericError::too_large;
  // Groups of four are counted from the point: pad to a whole group on the left, then on the right.
  long weight = (point > 0 ? (point + 3) / 4 : -((-point) / 4)) - 1;
  long lead = (weight + 1) * 4 - point;  // zeros before the first digit within its group
  digits.insert(0, static_cast<std::size_t>(lead), '0');
  while (digits.size() % 4 != 0) digits.push_back('0');
  while (digits.size() >= 4 && digits.compare(digits.size() - 4, 4, "0000") == 0) digits.resize(digits.size() - 4);
  std::size_t count = digits.size() / 4;
  if (count > 65535) return NumericError::too_large;
  header(out, count, static_cast<int>(weight), sign, static_cast<std::size_t>(scale));
  char* p = out.reserve(count * 2);
  for (std::size_t g = 0; g < count; ++g) {
    const char* d = digits.data() + g * 4;
    p = wire::put16(p, static_cast<std::uint16_t>((d[0] - '0') * 1000 + (d[1] - '0') * 100 + (d[2] - '0') * 10 +
                                                  (d[3] - '0')));
  }
  out.commit(p);
  return NumericError::none;
}

}  // namespace fasterapi::pg
