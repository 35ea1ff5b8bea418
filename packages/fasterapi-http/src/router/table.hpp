#pragma once
// The frozen form of a RouteTable. Routes of one method and one number of segments form a group; route k of a
// group is bit k, in order of preference. For each segment position a hash table maps the segment's text to the
// set of routes that have this text there; a second set holds those that take anything there. The AND over all
// positions leaves the candidates.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fasterapi/http/router.hpp>

#include "router/pattern.hpp"

namespace fasterapi::http::router {

inline constexpr unsigned kMethods = 32;
inline constexpr std::uint32_t kEmptySlot = ~0u;

/// One text at one position; `words` set words follow, then (words > 1) the index of the first word that is not
/// zero.
struct Slot {
  std::uint64_t first, last;  // first and last 8 bytes of the text, zero filled; last is 0 up to 8 bytes
  std::uint32_t size;         // kEmptySlot: free
  std::uint32_t text_at;      // in Frozen::texts, for texts over 16 bytes
  const std::uint64_t* bits() const noexcept { return reinterpret_cast<const std::uint64_t*>(this + 1); }
};
inline std::size_t slot_stride(unsigned words) noexcept {
  return sizeof(Slot) + 8 * (words > 1 ? words + 1 : words);
}

struct Position {
  const char* slots;
  const std::uint64_t* sets;  // words: parameters (text not empty); words: anything
  std::uint64_t param, any;   // the first word of each
  std::uint32_t mask;         // slots - 1
  std::uint32_t low;          // first word of the sets that is not zero, words if none
};

struct Record {
  std::uint32_t route, id;
  std::uint8_t capture_count;
  bool complex;  // mixed segments or a path parameter
  struct {
    std::uint8_t segment;
    Converter converter;
  } captures[kMaxCaptures];
  const Pattern* pattern;
};

struct Group {
  const Position* positions;
  const Record* const* records;
  const std::uint64_t* check;  // routes that need more than their bits
  std::uint32_t words, stride;
};

struct Frozen {
  const Group* groups[kMethods][kMaxSegments + 2] =
      {};  // by method and segments; the last: more segments than kMaxSegments
  const char* texts = nullptr;
  MethodSet used = 0;
  bool head_falls_to_get = false;
};

/// A path cut at its slashes: segment i is [starts[i], starts[i + 1] - 1).
struct Cut {
  std::uint32_t count;  // kMaxSegments + 1: more than that, the last one is the whole rest
  bool encoded;
  std::uint32_t starts[kMaxSegments + 3];
};

inline std::uint32_t slot_hash(std::uint64_t first, std::uint64_t last, std::uint32_t size) noexcept {
  std::uint64_t h = ((first ^ (last * 0x9E3779B97F4A7C15ull)) + size) * 0xff51afd7ed558ccdull;
  return static_cast<std::uint32_t>(h >> 40);
}

/// Candidate that needs checking: fills `out` and answers true when the path satisfies it. `raw` is the path as
/// received, `path` what is matched (the same, or decoded segment by segment), each with its cut.
bool check_record(const Record& record, const char* path, const Cut& cut, const char* raw, const Cut& raw_cut,
                  Match& out) noexcept;

/// One build of the hot loops; all tiers answer alike.
struct MatchTier {
  std::string_view name;
  bool (*supported)() noexcept;
  void (*cut)(const char* path, std::size_t size, Cut& out) noexcept;
  /// cut + find, for the path that has no '%'; false with cut.encoded set when it has one.
  bool (*match)(const Frozen& table, unsigned method, const char* path, std::size_t size, Cut& cut,
                Match& out) noexcept;
  bool (*find)(const Frozen& table, unsigned method, const char* path, const Cut& cut, const char* raw,
               const Cut& raw_cut, Match& out) noexcept;
};
extern const MatchTier* const kMatchTiers[];
extern const unsigned kMatchTierCount;
const MatchTier& best_match_tier() noexcept;

}  // namespace fasterapi::http::router
