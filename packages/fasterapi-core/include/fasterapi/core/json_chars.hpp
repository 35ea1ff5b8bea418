#pragma once
// Character scans under the JSON encoder, decoder and cursor: find the first byte that needs attention,
// and check UTF-8. Each vector routine has a plain twin (namespace scalar) that the tests compare with.
//   Cost     16 bytes per step inline (SSE2 or SWAR), 32 per step above 64 bytes where the CPU has AVX2
//   Threads  pure functions; never read outside [data, data + size)
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fasterapi/core/platform.hpp>

#if FASTERAPI_X86_64
#include <immintrin.h>
#endif

namespace fasterapi::core::json {

/// What a scan stops at.
enum class Stop {
  kEscape,  // '"', '\\', below 0x20: what an encoder must escape
  kText,    // the same and every byte from 0x80 on: the end of plain ASCII in a string
};

namespace scalar {

template <Stop stop>
constexpr bool stops(unsigned char c) noexcept {
  return c < 0x20 || c == '"' || c == '\\' || (stop == Stop::kText && c >= 0x80);
}

template <Stop stop>
inline std::size_t find(const char* data, std::size_t size) noexcept {
  std::size_t i = 0;
  while (i < size && !stops<stop>(static_cast<unsigned char>(data[i]))) ++i;
  return i;
}

}  // namespace scalar

namespace detail {

inline constexpr std::uint64_t kOnes = 0x0101010101010101u;
inline constexpr std::uint64_t kHigh = 0x8080808080808080u;

// SWAR: the lowest set high bit marks the first byte of interest; higher marks may be false (borrows),
// which does no harm because only the first one is used.
template <Stop stop>
inline std::uint64_t swar_mask(std::uint64_t v) noexcept {
  const std::uint64_t quote = v ^ (kOnes * '"');
  const std::uint64_t slash = v ^ (kOnes * '\\');
  const std::uint64_t hit =
      (((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((v - kOnes * 0x20) & ~v)) & kHigh;
  return stop == Stop::kText ? hit | (v & kHigh) : hit;
}

inline std::uint64_t load64(const char* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

#if FASTERAPI_X86_64
template <Stop stop>
inline unsigned sse_mask(__m128i v) noexcept {
  const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
  const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
  const __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
  __m128i hit = _mm_or_si128(_mm_or_si128(low, quote), slash);
  if constexpr (stop == Stop::kText) hit = _mm_or_si128(hit, v);  // movemask takes the high bits
  return static_cast<unsigned>(_mm_movemask_epi8(hit));
}

inline __m128i load128(const char* p) noexcept { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

template <Stop stop>
inline std::size_t find_sse2(const char* data, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    if (unsigned mask = sse_mask<stop>(load128(data + i)))
      return i + static_cast<unsigned>(__builtin_ctz(mask));
  }
  return i + scalar::find<stop>(data + i, size - i);
}

template <Stop stop>
__attribute__((target("avx2"))) inline std::size_t find_avx2(const char* data, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i));
    const __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
    const __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    const __m256i slash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    __m256i hit = _mm256_or_si256(_mm256_or_si256(low, quote), slash);
    if constexpr (stop == Stop::kText) hit = _mm256_or_si256(hit, v);
    if (auto mask = static_cast<unsigned>(_mm256_movemask_epi8(hit)))
      return i + static_cast<unsigned>(__builtin_ctz(mask));
  }
  for (; i + 16 <= size; i += 16) {
    if (unsigned mask = sse_mask<stop>(load128(data + i)))
      return i + static_cast<unsigned>(__builtin_ctz(mask));
  }
  return i + scalar::find<stop>(data + i, size - i);
}

using Finder = std::size_t (*)(const char*, std::size_t) noexcept;

template <Stop stop>
inline Finder pick_finder() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") ? &find_avx2<stop> : &find_sse2<stop>;
}

template <Stop stop>
inline const Finder kFindLong = pick_finder<stop>();
#endif

}  // namespace detail

/// Index of the first byte that stops the scan, `size` when there is none.
template <Stop stop>
inline std::size_t find(const char* data, std::size_t size) noexcept {
  std::size_t i = 0;
#if FASTERAPI_X86_64
  if (size >= 64 + 16) {
    // The first block inline: most strings with something special have it early.
    if (unsigned mask = detail::sse_mask<stop>(detail::load128(data)))
      return static_cast<unsigned>(__builtin_ctz(mask));
    return 16 + detail::kFindLong<stop>(data + 16, size - 16);
  }
  for (; i + 16 <= size; i += 16) {
    if (unsigned mask = detail::sse_mask<stop>(detail::load128(data + i)))
      return i + static_cast<unsigned>(__builtin_ctz(mask));
  }
#endif
  if constexpr (std::endian::native == std::endian::little) {
    for (; i + 8 <= size; i += 8) {
      if (std::uint64_t mask = detail::swar_mask<stop>(detail::load64(data + i)))
        return i + static_cast<unsigned>(__builtin_ctzll(mask)) / 8;
    }
  }
  return i + scalar::find<stop>(data + i, size - i);
}

/// Length of the well-formed UTF-8 sequence at `p` (Unicode table 3-7), 0 when it is ill-formed.
inline unsigned utf8_length(const char* p, std::size_t size) noexcept {
  const auto at = [p](std::size_t i) { return static_cast<unsigned char>(p[i]); };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  if (size == 0) return 0;
  const unsigned char c = at(0);
  if (c < 0x80) return 1;
  if (c < 0xC2) return 0;
  if (c < 0xE0) return size >= 2 && tail(1) ? 2 : 0;
  if (c < 0xF0) {
    if (size < 3 || !tail(1) || !tail(2)) return 0;
    if (c == 0xE0 && at(1) < 0xA0) return 0;  // overlong
    if (c == 0xED && at(1) > 0x9F) return 0;  // surrogate
    return 3;
  }
  if (c > 0xF4 || size < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (c == 0xF0 && at(1) < 0x90) return 0;
  if (c == 0xF4 && at(1) > 0x8F) return 0;
  return 4;
}

/// Writes one code point (not a surrogate) as UTF-8; returns the end.
inline char* put_utf8(char* at, std::uint32_t c) noexcept {
  if (c < 0x80) {
    *at++ = static_cast<char>(c);
  } else if (c < 0x800) {
    *at++ = static_cast<char>(0xC0 | (c >> 6));
    *at++ = static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *at++ = static_cast<char>(0xE0 | (c >> 12));
    *at++ = static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    *at++ = static_cast<char>(0x80 | (c & 0x3F));
  } else {
    *at++ = static_cast<char>(0xF0 | (c >> 18));
    *at++ = static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    *at++ = static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    *at++ = static_cast<char>(0x80 | (c & 0x3F));
  }
  return at;
}

/// Value of four hexadecimal digits, or -1.
inline int hex4(const char* p) noexcept {
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned char c = static_cast<unsigned char>(p[i]);
    int digit;
    if (c >= '0' && c <= '9')
      digit = c - '0';
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
      digit = (c | 0x20) - 'a' + 10;
    else
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// One escape sequence, `p` after the backslash. Returns the bytes consumed after the backslash and sets
/// `code` to the code point (surrogate pairs joined); 0 for anything RFC 8259 does not know and for lone
/// surrogates, which no UTF-8 text can hold.
inline unsigned read_escape(const char* p, std::size_t size, std::uint32_t& code) noexcept {
  if (size == 0) return 0;
  switch (*p) {
    case '"': code = '"'; return 1;
    case '\\': code = '\\'; return 1;
    case '/': code = '/'; return 1;
    case 'b': code = '\b'; return 1;
    case 'f': code = '\f'; return 1;
    case 'n': code = '\n'; return 1;
    case 'r': code = '\r'; return 1;
    case 't': code = '\t'; return 1;
    case 'u': break;
    default: return 0;
  }
  if (size < 5) return 0;
  const int high = hex4(p + 1);
  if (high < 0 || (high >= 0xDC00 && high < 0xE000)) return 0;
  if (high < 0xD800 || high >= 0xE000) {
    code = static_cast<std::uint32_t>(high);
    return 5;
  }
  if (size < 11 || p[5] != '\\' || p[6] != 'u') return 0;
  const int low = hex4(p + 7);
  if (low < 0xDC00 || low >= 0xE000) return 0;
  code = 0x10000u + ((static_cast<std::uint32_t>(high) - 0xD800u) << 10) + (static_cast<std::uint32_t>(low) - 0xDC00u);
  return 11;
}

}  // namespace fasterapi::core::json
