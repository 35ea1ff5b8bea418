#include <cstring>

#include <fasterapi/http/websocket.hpp>

#include "websocket/simd.hpp"

namespace fasterapi::http::ws {

bool Utf8::feed(const char* data, std::size_t size) noexcept {
  const auto* p = reinterpret_cast<const unsigned char*>(data);
  std::size_t at = 0;
  bool skipped = false;
  while (at < size) {
    if (left_) {
      if (p[at] < low_ || p[at] > high_) return false;
      low_ = 0x80;
      high_ = 0xBF;
      --left_;
      ++at;
      continue;
    }
    if (!skipped && size - at >= 16) {  // once: where it stops, a short rest or an error is left
      skipped = true;
      at += vectors().valid_prefix(data + at, size - at, ascii_);
      continue;
    }
    if (size - at >= 8) {
      std::uint64_t word;
      std::memcpy(&word, data + at, 8);
      if (!(word & 0x8080808080808080ull)) {
        at += 8;
        continue;
      }
    }
    const unsigned c = p[at++];
    if (c < 0x80) continue;
    ascii_ = false;
    // RFC 3629 section 4: shortest forms only, no surrogates, nothing beyond U+10FFFF.
    if (c < 0xC2 || c > 0xF4) return false;
    left_ = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    if (c == 0xE0) low_ = 0xA0;
    if (c == 0xED) high_ = 0x9F;
    if (c == 0xF0) low_ = 0x90;
    if (c == 0xF4) high_ = 0x8F;
  }
  return true;
}

}  // namespace fasterapi::http::ws
