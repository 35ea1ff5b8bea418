#pragma once
// Accept-Encoding (RFC 9110 section 12.5.3): which content codings a client takes, and which of ours is best.
//   Cost     linear in the field's length, no allocation
#include <cstdint>
#include <string_view>

#include <fasterapi/http/parser.hpp>

namespace fasterapi::http {

enum class Coding : std::uint8_t { identity, gzip, br, zstd };
inline constexpr unsigned kCodings = 4;

std::string_view coding_name(Coding coding) noexcept;

/// Weights in thousandths by coding, 0 for what is refused.
struct AcceptedCodings {
  std::uint16_t weight[kCodings] = {1000, 0, 0, 0};

  /// The offered coding of the highest weight; among equals the one that comes first in `offered`. Identity wins
  /// only when it is preferred or nothing else is taken.
  template <class Offered>
  Coding best(const Offered& offered) const noexcept {
    Coding chosen = Coding::identity;
    std::uint16_t highest = 0;
    for (Coding coding : offered) {
      const std::uint16_t mine = weight[static_cast<unsigned>(coding)];
      if (mine > highest) highest = mine, chosen = coding;
    }
    return highest && highest >= weight[0] ? chosen : Coding::identity;
  }
};

AcceptedCodings parse_accept_encoding(const RequestHead& head) noexcept;

}  // namespace fasterapi::http
