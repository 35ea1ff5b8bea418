// One record is one line whatever a peer sends: control characters, line separators and marks that change the
// direction of text are written as escapes.
#include <cstring>

#include <fasterapi/core/log.hpp>

namespace fasterapi::core::log {
namespace {

/// Length of the well-formed UTF-8 sequence at `p` (RFC 3629 section 4), 0 when there is none.
std::size_t sequence_length(const unsigned char* p, std::size_t left) noexcept {
  auto tail = [&](std::size_t i) { return i < left && (p[i] & 0xC0) == 0x80; };
  if (p[0] < 0x80) return 1;
  if (p[0] < 0xC2) return 0;
  if (p[0] < 0xE0) return tail(1) ? 2 : 0;
  if (p[0] < 0xF0) {
    if (!tail(1) || !tail(2)) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;   // overlong
    if (p[0] == 0xED && p[1] >= 0xA0) return 0;  // surrogates
    return 3;
  }
  if (p[0] > 0xF4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (p[0] == 0xF0 && p[1] < 0x90) return 0;
  if (p[0] == 0xF4 && p[1] >= 0x90) return 0;
  return 4;
}

/// Characters that end a line or reorder what is shown.
bool unsafe(const unsigned char* p, std::size_t length) noexcept {
  if (length == 1) return p[0] < 0x20 || p[0] == 0x7F;
  if (length == 2) return p[0] == 0xC2 && p[1] < 0xA0;  // C1 controls, among them U+0085 NEXT LINE
  if (length == 3 && p[0] == 0xE2) {
    if (p[1] == 0x80) return p[2] >= 0xA8 && p[2] <= 0xAE;  // U+2028 U+2029, U+202A to U+202E
    if (p[1] == 0x81) return p[2] >= 0xA6 && p[2] <= 0xA9;  // U+2066 to U+2069
  }
  return false;
}

}  // namespace

std::size_t escape(std::string_view in, char* out, std::size_t capacity) noexcept {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto* p = reinterpret_cast<const unsigned char*>(in.data());
  std::size_t left = in.size(), at = 0, fits = 0;  // `fits`: where "..." still has room
  while (left) {
    std::size_t length = sequence_length(p, left);
    const bool plain = length && !unsafe(p, length);
    if (!length) length = 1;
    const std::size_t need = plain ? length : 4 * length;
    if (at + need > capacity) {
      for (at = fits; at < capacity && at < fits + 3; ++at) out[at] = '.';
      return at;
    }
    if (plain) {
      std::memcpy(out + at, p, length);
      at += length;
    } else {
      for (std::size_t i = 0; i < length; ++i, at += 4) {
        out[at] = '\\';
        out[at + 1] = 'x';
        out[at + 2] = kHex[p[i] >> 4];
        out[at + 3] = kHex[p[i] & 15];
      }
    }
    if (at + 3 <= capacity) fits = at;
    p += length;
    left -= length;
  }
  return at;
}

}  // namespace fasterapi::core::log
