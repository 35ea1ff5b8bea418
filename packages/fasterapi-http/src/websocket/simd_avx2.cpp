// AVX2: UTF-8 by three nibble look-ups per 32 bytes (Keiser and Lemire, "Validating UTF-8 in less than one
// instruction per byte", 2020).
#include <fasterapi/core/platform.hpp>

#include "websocket/simd.hpp"
#if FASTERAPI_X86_64
#include <immintrin.h>

#include "parser/tier_macros.hpp"

FASTERAPI_TARGET_BEGIN("avx2")
namespace fasterapi::http::ws {
namespace {

inline __m256i load(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

void mask_avx2(char* data, std::size_t size, std::uint32_t key) noexcept {
  const __m256i wide = _mm256_set1_epi32(static_cast<int>(key));
  std::size_t at = 0;
  for (; at + 32 <= size; at += 32)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(data + at), _mm256_xor_si256(load(data + at), wide));
  kVectorsScalar.mask(data + at, size - at, key);
}

// Each bit is one kind of error; it stands where the three tables agree that the pair of bytes has it.
constexpr char kTooShort = 1 << 0, kTooLong = 1 << 1, kOverlong3 = 1 << 2, kSurrogate = 1 << 4,
               kOverlong2 = 1 << 5, kTooLarge = 1 << 3, kTooLarge1000 = 1 << 6, kOverlong4 = 1 << 6,
               kTwoConts = static_cast<char>(1 << 7);
constexpr char kCarry = static_cast<char>(kTooShort | kTooLong | kTwoConts);

inline __m256i table(char a, char b, char c, char d, char e, char f, char g, char h, char i, char j, char k,
                     char l, char m, char n, char o, char p) {
  return _mm256_setr_epi8(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, a, b, c, d, e, f, g, h, i, j, k, l, m, n,
                          o, p);
}

/// `v` shifted by `count` bytes, the last ones of the block before coming in.
template <int count>
inline __m256i shifted(__m256i v, __m256i before) {
  return _mm256_alignr_epi8(v, _mm256_permute2x128_si256(before, v, 0x21), 16 - count);
}

inline __m256i errors(__m256i v, __m256i before) {
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  const __m256i one = shifted<1>(v, before);
  const __m256i first_high =
      _mm256_shuffle_epi8(table(kTooLong, kTooLong, kTooLong, kTooLong, kTooLong, kTooLong, kTooLong, kTooLong,
                                kTwoConts, kTwoConts, kTwoConts, kTwoConts, kTooShort | kOverlong2, kTooShort,
                                kTooShort | kOverlong3 | kSurrogate, kTooShort | kTooLarge | kTooLarge1000),
                          _mm256_and_si256(_mm256_srli_epi16(one, 4), nibble));
  constexpr char kBig = static_cast<char>(kCarry | kTooLarge | kTooLarge1000);
  const __m256i first_low = _mm256_shuffle_epi8(
      table(static_cast<char>(kCarry | kOverlong3 | kOverlong2 | kOverlong4),
            static_cast<char>(kCarry | kOverlong2), kCarry, kCarry, static_cast<char>(kCarry | kTooLarge), kBig,
            kBig, kBig, kBig, kBig, kBig, kBig, kBig, static_cast<char>(kBig | kSurrogate), kBig, kBig),
      _mm256_and_si256(one, nibble));
  constexpr char kCont = static_cast<char>(kTooLong | kOverlong2 | kTwoConts);
  const __m256i second_high = _mm256_shuffle_epi8(
      table(kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort,
            static_cast<char>(kCont | kOverlong3 | kTooLarge1000 | kOverlong4),
            static_cast<char>(kCont | kOverlong3 | kTooLarge), static_cast<char>(kCont | kSurrogate | kTooLarge),
            static_cast<char>(kCont | kSurrogate | kTooLarge), kTooShort, kTooShort, kTooShort, kTooShort),
      _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
  const __m256i special = _mm256_and_si256(_mm256_and_si256(first_high, first_low), second_high);
  // A third or fourth byte must be a continuation, and only there two of them may follow each other.
  const __m256i third = _mm256_subs_epu8(shifted<2>(v, before), _mm256_set1_epi8(static_cast<char>(0xE0 - 0x80)));
  const __m256i fourth = _mm256_subs_epu8(shifted<3>(v, before), _mm256_set1_epi8(static_cast<char>(0xF0 - 0x80)));
  const __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_xor_si256(due, special);
}

/// Not zero when the block ends inside a character.
inline __m256i incomplete(__m256i v) {
  const auto most = static_cast<char>(0xFF);
  return _mm256_subs_epu8(
      v, _mm256_setr_epi8(most, most, most, most, most, most, most, most, most, most, most, most, most, most, most,
                          most, most, most, most, most, most, most, most, most, most, most, most, most, most,
                          static_cast<char>(0xF0 - 1), static_cast<char>(0xE0 - 1), static_cast<char>(0xC0 - 1)));
}

std::size_t valid_prefix_avx2(const char* data, std::size_t size, bool& ascii) noexcept {
  __m256i before = _mm256_setzero_si256(), open = before;
  std::size_t at = 0;
  bool plain = true;
  for (; at + 32 <= size; at += 32) {
    const __m256i v = load(data + at);
    __m256i wrong;
    if (_mm256_movemask_epi8(v) == 0) {
      wrong = open;
      open = _mm256_setzero_si256();
    } else {
      wrong = errors(v, before);
      open = incomplete(v);
      plain = false;
    }
    if (!_mm256_testz_si256(wrong, wrong)) break;
    before = v;
  }
  if (!plain) ascii = false;
  return character_end(data, at);
}

bool supported() noexcept { return __builtin_cpu_supports("avx2"); }

}  // namespace

extern const Vectors kVectorsAvx2{"avx2", supported, mask_avx2, valid_prefix_avx2};

}  // namespace fasterapi::http::ws
FASTERAPI_TARGET_END
#endif
