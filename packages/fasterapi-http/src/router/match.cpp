// The tiers of route matching: they differ in how 64 bytes are searched for '/' and '%'.
#include <fasterapi/core/platform.hpp>

#include "router/table.hpp"
#if FASTERAPI_X86_64
#include <immintrin.h>
#endif

#include "parser/tier_macros.hpp"

#if FASTERAPI_X86_64
FASTERAPI_TARGET_BEGIN("avx512f,avx512bw,avx512vl,bmi,bmi2,lzcnt,popcnt")
namespace fasterapi::http::router::avx512 {
namespace {
inline void slashes(const char* p, std::uint64_t& slash, std::uint64_t& percent) {
  __m512i v = _mm512_loadu_si512(p);
  slash = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('/'));
  percent = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('%'));
}
#include "router/match_machine.inc"
}  // namespace
}  // namespace fasterapi::http::router::avx512
FASTERAPI_TARGET_END

FASTERAPI_TARGET_BEGIN("avx2,bmi,bmi2,lzcnt,popcnt")
namespace fasterapi::http::router::avx2 {
namespace {
inline std::uint64_t equal64(__m256i low, __m256i high, char c) {
  __m256i wanted = _mm256_set1_epi8(c);
  auto a = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)));
  auto b = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)));
  return static_cast<std::uint64_t>(b) << 32 | a;
}
inline void slashes(const char* p, std::uint64_t& slash, std::uint64_t& percent) {
  __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
  slash = equal64(low, high, '/');
  percent = equal64(low, high, '%');
}
#include "router/match_machine.inc"
}  // namespace
}  // namespace fasterapi::http::router::avx2
FASTERAPI_TARGET_END

namespace fasterapi::http::router::sse2 {
namespace {
inline std::uint64_t equal64(const __m128i* v, char c) {
  __m128i wanted = _mm_set1_epi8(c);
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 4; ++i)
    bits |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], wanted))))
            << (16 * i);
  return bits;
}
inline void slashes(const char* p, std::uint64_t& slash, std::uint64_t& percent) {
  __m128i v[4];
  for (unsigned i = 0; i < 4; ++i) v[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p) + i);
  slash = equal64(v, '/');
  percent = equal64(v, '%');
}
#include "router/match_machine.inc"
}  // namespace
}  // namespace fasterapi::http::router::sse2
#endif

namespace fasterapi::http::router::scalar {
namespace {
inline void slashes(const char* p, std::uint64_t& slash, std::uint64_t& percent) {
  slash = percent = 0;
  for (unsigned i = 0; i < 64; ++i) {
    slash |= static_cast<std::uint64_t>(p[i] == '/') << i;
    percent |= static_cast<std::uint64_t>(p[i] == '%') << i;
  }
}
#include "router/match_machine.inc"
}  // namespace
}  // namespace fasterapi::http::router::scalar

namespace fasterapi::http::router {

static bool always() noexcept { return true; }
#if FASTERAPI_X86_64
static bool has_avx512() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
}
static bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }
static const MatchTier kAvx512{"avx512", has_avx512, avx512::cut, avx512::match, avx512::find};
static const MatchTier kAvx2{"avx2", has_avx2, avx2::cut, avx2::match, avx2::find};
static const MatchTier kSse2{"sse2", always, sse2::cut, sse2::match, sse2::find};
#endif
static const MatchTier kScalar{"scalar", always, scalar::cut, scalar::match, scalar::find};

const MatchTier* const kMatchTiers[] = {
#if FASTERAPI_X86_64
    &kAvx512, &kAvx2, &kSse2,
#endif
    &kScalar};
const unsigned kMatchTierCount = sizeof kMatchTiers / sizeof kMatchTiers[0];

const MatchTier& best_match_tier() noexcept {
  for (const MatchTier* tier : kMatchTiers)
    if (tier->supported()) return *tier;
  return kScalar;
}

}  // namespace fasterapi::http::router
