// Request-head parser for AVX-512 VBMI (Ice Lake, Zen 4 and later): a 128-entry byte look-up is one instruction.
#include <fasterapi/core/platform.hpp>

#include "parser/head.hpp"
#if FASTERAPI_X86_64
#include <immintrin.h>

#include "parser/tier_macros.hpp"

FASTERAPI_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512vbmi,bmi,bmi2,lzcnt,popcnt")
namespace fasterapi::http::avx512 {
namespace {

inline std::uint64_t outside(__m512i v, const std::uint8_t* table) {
  __m512i found = _mm512_permutex2var_epi8(_mm512_load_si512(table), v, _mm512_load_si512(table + 64));
  return _mm512_movepi8_mask(_mm512_or_si512(found, v));  // bytes from 0x80 are outside of every class
}

inline void classify(const char* p, std::uint64_t& not_token, std::uint64_t& control) {
  __m512i v = _mm512_loadu_si512(p);
  not_token = outside(v, detail::kBytes.not_token7.data());
  control =
      (_mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20)) & ~_mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\t'))) |
      _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(0x7f));
}

inline void target_masks(const char* p, std::uint64_t& bad, std::uint64_t& question, std::uint64_t& percent) {
  __m512i v = _mm512_loadu_si512(p);
  bad = _mm512_cmple_epi8_mask(v, _mm512_set1_epi8(0x20)) | _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(0x7f)) |
        _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('#'));  // signed: bytes from 0x80 are below 0x20
  question = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('?'));
  percent = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('%'));
}

inline void host_masks(const char* p, std::uint64_t& bad, std::uint64_t& colon) {
  __m512i v = _mm512_loadu_si512(p);
  bad = outside(v, detail::kBytes.not_host7.data());
  colon = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(':'));
}

inline bool same(const char* a, const char* b, unsigned size) {
  std::uint64_t differ = 0;
  unsigned i = 0;
  for (; i + 64 <= size; i += 64)
    differ |= _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
  std::uint64_t rest = _bzhi_u64(~0ull, size & 63);
  return !(differ | (_mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i)) & rest));
}

#include "parser/head_machine.inc"

}  // namespace
}  // namespace fasterapi::http::avx512
FASTERAPI_TARGET_END

namespace fasterapi::http {
static bool supported() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("bmi2");
}
extern const Tier kTierAvx512{"avx512", supported, avx512::parse_head, avx512::repeat_head};
}  // namespace fasterapi::http
#endif
