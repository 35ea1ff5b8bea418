// Request-head parser for AVX2: classes by two nibble look-ups, two halves of 32 bytes.
#include <fasterapi/core/platform.hpp>

#include "parser/head.hpp"
#if FASTERAPI_X86_64
#include <immintrin.h>

#include "parser/tier_macros.hpp"

FASTERAPI_TARGET_BEGIN("avx2,bmi,bmi2,lzcnt,popcnt")
namespace fasterapi::http::avx2 {
namespace {

inline __m256i load(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i table(const std::uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i equal(__m256i v, char c) { return _mm256_cmpeq_epi8(v, _mm256_set1_epi8(c)); }
inline std::uint64_t mask(__m256i low, __m256i high) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(high))) << 32 |
         static_cast<std::uint32_t>(_mm256_movemask_epi8(low));
}
inline __m256i outside(__m256i v, __m256i low, __m256i high) {
  __m256i nibble = _mm256_set1_epi8(0x0f);
  __m256i a = _mm256_shuffle_epi8(low, _mm256_and_si256(v, nibble));
  __m256i b = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
  return _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());
}
inline __m256i controls(__m256i v) {
  __m256i below = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
  return _mm256_or_si256(_mm256_andnot_si256(equal(v, '\t'), below), equal(v, 0x7f));
}

inline void classify(const char* p, std::uint64_t& not_token, std::uint64_t& control) {
  __m256i low = table(detail::kBytes.token_low.data()), high = table(detail::kBytes.high.data());
  __m256i a = load(p), b = load(p + 32);
  not_token = mask(outside(a, low, high), outside(b, low, high));
  control = mask(controls(a), controls(b));
}

inline __m256i bad_in_target(__m256i v) {
  __m256i above = _mm256_cmpgt_epi8(v, _mm256_set1_epi8(0x20));  // signed: bytes from 0x80 are not above
  return _mm256_or_si256(_mm256_cmpeq_epi8(above, _mm256_setzero_si256()),
                         _mm256_or_si256(equal(v, 0x7f), equal(v, '#')));
}
inline void target_masks(const char* p, std::uint64_t& bad, std::uint64_t& question, std::uint64_t& percent) {
  __m256i a = load(p), b = load(p + 32);
  bad = mask(bad_in_target(a), bad_in_target(b));
  question = mask(equal(a, '?'), equal(b, '?'));
  percent = mask(equal(a, '%'), equal(b, '%'));
}

inline void host_masks(const char* p, std::uint64_t& bad, std::uint64_t& colon) {
  __m256i low = table(detail::kBytes.host_low.data()), high = table(detail::kBytes.high.data());
  __m256i a = load(p), b = load(p + 32);
  bad = mask(outside(a, low, high), outside(b, low, high));
  colon = mask(equal(a, ':'), equal(b, ':'));
}

inline bool same(const char* a, const char* b, unsigned size) {
  __m256i differ = _mm256_setzero_si256();
  unsigned i = 0;
  for (; i + 32 <= size; i += 32) differ = _mm256_or_si256(differ, _mm256_xor_si256(load(a + i), load(b + i)));
  std::uint32_t rest = _bzhi_u32(~0u, size & 31);
  std::uint32_t equal_bits =
      static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(a + i), load(b + i))));
  return _mm256_testz_si256(differ, differ) && !(~equal_bits & rest);
}

#include "parser/head_machine.inc"

}  // namespace
}  // namespace fasterapi::http::avx2
FASTERAPI_TARGET_END

namespace fasterapi::http {
static bool supported() noexcept {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
extern const Tier kTierAvx2{"avx2", supported, avx2::parse_head, avx2::repeat_head};
}  // namespace fasterapi::http
#endif
