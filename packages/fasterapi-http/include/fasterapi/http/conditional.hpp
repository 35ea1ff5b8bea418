#pragma once
// Conditional and range requests (RFC 9110 sections 13 and 14): header texts in, decisions out.
//   Cost     linear in the header's length; no allocation except the list of ranges
//   Threads  pure functions
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fasterapi/http/parser.hpp>

namespace fasterapi::http {

inline constexpr std::int64_t kNoDate = INT64_MIN;

/// Seconds since 1970 of a date in one of the three forms of RFC 9110 section 5.6.7, else kNoDate.
std::int64_t parse_http_date(std::string_view text) noexcept;

/// Whether the entity tag is in the list of an If-Match or If-None-Match field. `weak`: the weak comparison of
/// RFC 9110 section 8.8.3.2. A list that is malformed ends at the fault.
bool entity_tag_listed(std::string_view list, std::string_view tag, bool weak) noexcept;

/// What is known of the current representation.
struct Validators {
  std::string_view entity_tag;           // with quotes, "W/" in front of a weak one; empty: none
  std::int64_t last_modified = kNoDate;  // seconds
};

enum class Condition : std::uint8_t { proceed, not_modified, failed };

/// RFC 9110 section 13.2.2 steps 1 to 4, of a representation that exists: 304 and 412 are the other answers.
Condition evaluate_conditions(const RequestHead& head, const Validators& validators) noexcept;

/// Step 5: whether the Range field counts. False without one; true without an If-Range.
bool range_applies(const RequestHead& head, const Validators& validators) noexcept;

struct ByteRange {
  std::uint64_t first, end;  // `end` is behind the last byte
  std::uint64_t size() const noexcept { return end - first; }
};

enum class RangeResult : std::uint8_t {
  ignored,        // another unit, or more ranges than `max_ranges`: the whole representation is the answer
  malformed,      // to be ignored as well, if one follows RFC 9110 section 14.2
  unsatisfiable,  // 416
  satisfiable,
};

/// Reads a Range field against a representation of `size` bytes. Overlapping and adjacent ranges are joined; the
/// order is that of the first byte when there are several. Throws std::bad_alloc.
RangeResult parse_ranges(std::string_view field, std::uint64_t size, std::size_t max_ranges,
                         std::vector<ByteRange>& out);

}  // namespace fasterapi::http
