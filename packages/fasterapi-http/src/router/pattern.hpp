#pragma once
// A route pattern taken apart, and the matcher for what the bit sets cannot decide: segments that mix text and
// parameters, and path parameters. O(text x pieces), no allocation, no exponential cases.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/http/router.hpp>

namespace fasterapi::http::router {

inline constexpr unsigned kMaxSegments = 24;
inline constexpr unsigned kMaxPieces = 2 * kMaxCaptures + 1;
/// Longest text that pieces are matched on; longer segments do not match a mixed pattern.
inline constexpr std::size_t kMaxPieceText = 32 * 1024;
/// Stands for an encoded slash while a decoded path is matched: data, never a separator.
inline constexpr char kEncodedSlash = '\x1f';

struct Piece {
  std::string text;  // literal, when not a parameter
  bool is_param = false;
  Converter converter = Converter::str;
};

struct Segment {
  enum class Kind : std::uint8_t { text, mixed, param };
  Kind kind = Kind::text;
  std::string text;                      // Kind::text
  Converter converter = Converter::str;  // Kind::param
  std::vector<Piece> pieces;             // Kind::mixed
};

struct Pattern {
  std::string source;
  std::vector<Segment> segments;  // without '/'; those before the first path parameter
  std::vector<Piece> tail;  // from the segment of the first path parameter to the end; empty when there is none
  std::vector<RouteParam> params;
  bool has_tail() const noexcept { return !tail.empty(); }
};

/// Empty text when `out` is good.
std::string parse_pattern(std::string_view source, Pattern& out);

/// Where a parameter's text lies.
struct Span {
  std::uint32_t at, size;
};

/// Matches all of `text` as the equivalent regular expression would (greedy, leftmost); one span per parameter.
bool match_pieces(const std::vector<Piece>& pieces, std::string_view text, Span* spans) noexcept;

}  // namespace fasterapi::http::router
