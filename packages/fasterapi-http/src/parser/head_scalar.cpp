// The plain loops that the vector tiers replace: for other processors, and as the reference in tests.
#include <fasterapi/core/platform.hpp>

#include "parser/head.hpp"

namespace fasterapi::http::scalar {
namespace {

inline std::uint64_t mask64(const char* p, const std::array<std::uint8_t, 256>& table) {
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 64; ++i)
    bits |= static_cast<std::uint64_t>(table[static_cast<unsigned char>(p[i])]) << i;
  return bits;
}
inline std::uint64_t mask64(const char* p, char c) {
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 64; ++i) bits |= static_cast<std::uint64_t>(p[i] == c) << i;
  return bits;
}

inline void classify(const char* p, std::uint64_t& not_token, std::uint64_t& control) {
  not_token = mask64(p, detail::kBytes.not_token);
  control = mask64(p, detail::kBytes.control);
}
inline void target_masks(const char* p, std::uint64_t& bad, std::uint64_t& question, std::uint64_t& percent) {
  bad = mask64(p, detail::kBytes.bad_target);
  question = mask64(p, '?');
  percent = mask64(p, '%');
}
inline void host_masks(const char* p, std::uint64_t& bad, std::uint64_t& colon) {
  bad = mask64(p, detail::kBytes.not_host);
  colon = mask64(p, ':');
}
inline bool same(const char* a, const char* b, unsigned size) { return __builtin_memcmp(a, b, size) == 0; }

#include "parser/head_machine.inc"

}  // namespace
}  // namespace fasterapi::http::scalar

namespace fasterapi::http {
static bool supported() noexcept { return true; }
extern const Tier kTierScalar{"scalar", supported, scalar::parse_head, scalar::repeat_head};
}  // namespace fasterapi::http
