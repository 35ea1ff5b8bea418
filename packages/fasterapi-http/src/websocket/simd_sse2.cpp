// SSE2, the baseline of x86-64: no byte shuffle, so UTF-8 beyond ASCII is left to the scalar machine.
#include <fasterapi/core/platform.hpp>

#include "websocket/simd.hpp"
#if FASTERAPI_X86_64
#include <emmintrin.h>

namespace fasterapi::http::ws {
namespace {

bool supported() noexcept { return true; }

void mask_sse2(char* data, std::size_t size, std::uint32_t key) noexcept {
  const __m128i wide = _mm_set1_epi32(static_cast<int>(key));
  std::size_t at = 0;
  for (; at + 16 <= size; at += 16) {
    auto* p = reinterpret_cast<__m128i*>(data + at);
    _mm_storeu_si128(p, _mm_xor_si128(_mm_loadu_si128(p), wide));
  }
  kVectorsScalar.mask(data + at, size - at, key);
}

std::size_t valid_prefix_sse2(const char* data, std::size_t size, bool&) noexcept {
  std::size_t at = 0;
  for (; at + 16 <= size; at += 16)
    if (_mm_movemask_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at)))) break;
  return at;
}

}  // namespace

extern const Vectors kVectorsSse2{"sse2", supported, mask_sse2, valid_prefix_sse2};

}  // namespace fasterapi::http::ws
#endif
