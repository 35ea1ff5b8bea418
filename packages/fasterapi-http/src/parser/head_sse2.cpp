// Request-head parser for every x86-64: SSE2 has no byte look-up, so classes are ranges.
#include <fasterapi/core/platform.hpp>

#include "parser/head.hpp"
#if FASTERAPI_X86_64
#include <emmintrin.h>

namespace fasterapi::http::sse2 {
namespace {

inline __m128i load(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m128i equal(__m128i v, char c) { return _mm_cmpeq_epi8(v, _mm_set1_epi8(c)); }
inline __m128i either(__m128i a, __m128i b) { return _mm_or_si128(a, b); }
/// first <= byte <= last, unsigned.
inline __m128i within(__m128i v, unsigned first, unsigned last) {
  __m128i shifted = _mm_sub_epi8(v, _mm_set1_epi8(static_cast<char>(first)));
  __m128i span = _mm_set1_epi8(static_cast<char>(last - first));
  return _mm_cmpeq_epi8(_mm_min_epu8(shifted, span), shifted);
}
template <class F>
inline std::uint64_t mask64(const char* p, F f) {
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 4; ++i)
    bits |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm_movemask_epi8(f(load(p + 16 * i)))))
            << (16 * i);
  return bits;
}

inline void classify(const char* p, std::uint64_t& not_token, std::uint64_t& control) {
  not_token = mask64(p, [](__m128i v) {
    __m128i bad = either(within(v, 0x00, 0x20), within(v, 0x7f, 0xff));
    bad = either(bad, either(equal(v, '"'), within(v, '(', ')')));
    bad = either(bad, either(equal(v, ','), equal(v, '/')));
    bad = either(bad, either(within(v, ':', '@'), within(v, '[', ']')));
    return either(bad, either(equal(v, '{'), equal(v, '}')));
  });
  control = mask64(p, [](__m128i v) {
    return either(_mm_andnot_si128(equal(v, '\t'), within(v, 0x00, 0x1f)), equal(v, 0x7f));
  });
}

inline void target_masks(const char* p, std::uint64_t& bad, std::uint64_t& question, std::uint64_t& percent) {
  bad = mask64(p,
               [](__m128i v) { return either(either(within(v, 0, 0x20), within(v, 0x7f, 0xff)), equal(v, '#')); });
  question = mask64(p, [](__m128i v) { return equal(v, '?'); });
  percent = mask64(p, [](__m128i v) { return equal(v, '%'); });
}

inline void host_masks(const char* p, std::uint64_t& bad, std::uint64_t& colon) {
  bad = ~mask64(p, [](__m128i v) {
    __m128i good = either(within(v, '0', ':'), within(v, '-', '.'));
    good = either(good, either(within(v, 'a', 'z'), within(v, 'A', 'Z')));
    return either(good, either(equal(v, '_'), equal(v, '~')));
  });
  colon = mask64(p, [](__m128i v) { return equal(v, ':'); });
}

inline bool same(const char* a, const char* b, unsigned size) { return __builtin_memcmp(a, b, size) == 0; }

#include "parser/head_machine.inc"

}  // namespace
}  // namespace fasterapi::http::sse2

namespace fasterapi::http {
static bool supported() noexcept { return true; }
extern const Tier kTierSse2{"sse2", supported, sse2::parse_head, sse2::repeat_head};
}  // namespace fasterapi::http
#endif
