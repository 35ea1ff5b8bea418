#pragma once
// Connection::Upload: framing of a body that is read in several pieces, and how fast it comes.
#include <cstdint>
#include <string_view>

#include "connection.hpp"

namespace fasterapi::http {

struct Connection::Upload {
  ChunkedDecoder decoder;       // chunked bodies
  std::uint64_t left = 0;       // of a body with a length
  std::uint64_t discarded = 0;  // after the answer
  // The minimum rate is measured while we read and the client may send.
  core::Nanos window_since = 0;  // 0: not measuring
  std::uint64_t window_bytes = 0;
  bool chunked = true;
};

inline constexpr core::Nanos kMillisecond = 1'000'000;
inline constexpr core::Nanos kSecond = 1'000'000'000;
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
inline constexpr ParseError kBodyTooLarge{413, "http.body_too_large",
                                          "The request body is larger than max_body_bytes."};
inline constexpr ParseError kBodyTimeout{408, "http.body_timeout",
                                         "The request body arrives slower than min_body_bytes_per_second."};

}  // namespace fasterapi::http
