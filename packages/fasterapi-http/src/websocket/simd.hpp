#pragma once
// The two loops over payload bytes, per vector tier. Private; tests compare every tier with the scalar one.
#include <cstddef>
#include <cstdint>
#include <span>

namespace fasterapi::http::ws {

struct Vectors {
  const char* name;
  bool (*supported)() noexcept;
  /// XORs with the repeated key; `size` is a multiple of 4, or the last bytes take the key's first ones.
  void (*mask)(char* data, std::size_t size, std::uint32_t key) noexcept;
  /// How many bytes from `data` on are valid UTF-8 for sure, up to a character's end; may stop early anywhere.
  /// Clears `ascii` when one of them is not ASCII.
  std::size_t (*valid_prefix)(const char* data, std::size_t size, bool& ascii) noexcept;
};

extern const Vectors kVectorsScalar, kVectorsSse2, kVectorsAvx2;
/// Every tier of this build, the scalar one first.
std::span<const Vectors* const> all_vectors() noexcept;
/// The widest that this machine has.
const Vectors& vectors() noexcept;

/// Start of the character that is cut at `size`, or `size`.
inline std::size_t character_end(const char* data, std::size_t size) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= size; ++back) {
    auto c = static_cast<unsigned char>(data[size - back]);
    if (c < 0x80) break;
    if (c < 0xC0) continue;
    std::size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    return length > back ? size - back : size;
  }
  return size;
}

}  // namespace fasterapi::http::ws
