#include "websocket/simd.hpp"

#include <cstring>

#include <fasterapi/core/platform.hpp>

namespace fasterapi::http::ws {
namespace {

bool always() noexcept { return true; }

void mask_scalar(char* data, std::size_t size, std::uint32_t key) noexcept {
  const std::uint64_t wide = static_cast<std::uint64_t>(key) << 32 | key;
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, data + at, 8);
    word ^= wide;
    std::memcpy(data + at, &word, 8);
  }
  char bytes[8];
  std::memcpy(bytes, &wide, 8);
  for (std::size_t i = 0; at < size; ++at, ++i) data[at] = static_cast<char>(data[at] ^ bytes[i]);
}

std::size_t valid_prefix_scalar(const char* data, std::size_t size, bool&) noexcept {
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, data + at, 8);
    if (word & 0x8080808080808080ull) break;
  }
  return at;
}

}  // namespace

extern const Vectors kVectorsScalar{"scalar", always, mask_scalar, valid_prefix_scalar};

namespace {
constexpr const Vectors* kAll[] = {
    &kVectorsScalar,
#if FASTERAPI_X86_64
    &kVectorsSse2,
    &kVectorsAvx2,
#endif
};
}  // namespace

std::span<const Vectors* const> all_vectors() noexcept { return kAll; }

const Vectors& vectors() noexcept {
  static const Vectors* const best = [] {
    const Vectors* found = &kVectorsScalar;
    for (const Vectors* tier : kAll)
      if (tier->supported()) found = tier;
    return found;
  }();
  return *best;
}

}  // namespace fasterapi::http::ws
