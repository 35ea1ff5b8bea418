#pragma once
// Percent-encoding and query strings. The one rule of the package for reading a request target:
//   - the path comes from the request line only, is never normalised ("//", ".", ".." stay), and is split on '/'
//   before it is
//     decoded: an encoded slash never makes a segment
//   - a '%' that two hex digits do not follow stands for itself
//   - in queries and forms '+' is a space, '&' separates, a pair without '=' has an empty value
//   Cost     O(bytes), no allocation unless a std::string is asked for
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fasterapi::http {

/// Decodes into `out` (room for text.size() bytes) and returns the bytes written. `out` may be text.data().
std::size_t percent_decode(std::string_view text, char* out) noexcept;
/// The same for query and form components: '+' becomes a space.
std::size_t form_decode(std::string_view text, char* out) noexcept;
std::string percent_decoded(std::string_view text);
std::string form_decoded(std::string_view text);

struct QueryPair {
  std::string_view name, value;  // still encoded
  bool encoded;                  // either contains '%' or '+'
};

/// Walks `query` (without '?'): for (QueryReader r(q); r.next(pair);) ...  Empty pieces ("a=1&&b=2") are skipped.
class QueryReader {
 public:
  explicit QueryReader(std::string_view query) noexcept : at_(query.data()), end_(query.data() + query.size()) {}
  bool next(QueryPair& pair) noexcept;

 private:
  const char* at_;
  const char* end_;
};

/// True when the encoded component decodes to exactly `plain`.
bool form_equals(std::string_view encoded, std::string_view plain) noexcept;

}  // namespace fasterapi::http
