#pragma once
// The one table of limits of the HTTP server: name, default, unit, answer, stable code, test.
//   Every limit is on by default. An option of the server or of a route may change it; nothing else may hold a
//   number. `status` is the answer that a client gets when the limit is hit, 0 when the connection is only closed.
//   The parser keeps 16-bit offsets, so max_uri_bytes + max_header_bytes is capped at kMaxHeadBytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fasterapi::http {

inline constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * 1024;
inline constexpr std::uint32_t kMaxHeadBytes = 60 * 1024;  // hard cap of a request head, fits 16-bit offsets
inline constexpr std::uint32_t kMaxFields = 100;           // hard cap of header fields: RequestHead's array

// clang-format off
//      name                     default     unit        status code                          test
#define FASTERAPI_HTTP_LIMITS(X) \
  X(max_uri_bytes,               8 * kKiB,   "bytes",    414, "http.uri_too_long",            "limits_uri_bytes") \
  X(max_header_bytes,            32 * kKiB,  "bytes",    431, "http.header_too_large",        "limits_header_bytes") \
  X(max_headers,                 kMaxFields, "fields",   431, "http.too_many_headers",        "limits_header_count") \
  X(max_body_bytes,              10 * kMiB,  "bytes",    413, "http.body_too_large",          "limits_body_bytes") \
  X(max_chunk_extension_bytes,   1 * kKiB,   "bytes",    400, "http.chunk_extension_too_large", "limits_chunk_extension") \
  X(max_trailer_bytes,           8 * kKiB,   "bytes",    431, "http.trailer_too_large",       "limits_trailer_bytes") \
  X(max_trailers,                32,         "fields",   431, "http.too_many_trailers",       "limits_trailer_count") \
  X(header_timeout_ms,           10'000,     "ms",       408, "http.header_timeout",          "limits_slow_header") \
  X(tls_handshake_timeout_ms,    10'000,     "ms",         0, "http.tls_handshake_timeout",  "limits_tls_handshake") \
  X(body_grace_ms,               5'000,      "ms",       408, "http.body_timeout",            "limits_slow_body") \
  X(min_body_bytes_per_second,   1 * kKiB,   "bytes/s",  408, "http.body_timeout",            "limits_slow_body") \
  X(max_inflate_ratio,           100,        "times",    413, "http.body_too_large",          "limits_inflate_ratio") \
  X(body_window_bytes,           64 * kKiB,  "bytes",      0, "http.body_window",             "limits_body_window") \
  X(max_discard_bytes,           64 * kKiB,  "bytes",      0, "http.body_unread",             "limits_discard_bytes") \
  X(write_stall_ms,              30'000,     "ms",         0, "http.write_stall",             "limits_slow_reader") \
  X(write_window_bytes,          64 * kKiB,  "bytes",      0, "http.write_stall",             "limits_slow_reader") \
  X(max_unsent_bytes,            64 * kKiB,  "bytes",      0, "http.write_stall",             "limits_slow_reader") \
  X(keep_alive_ms,               30'000,     "ms",         0, "http.keep_alive_timeout",      "limits_keep_alive") \
  X(max_pipelined,               16,         "requests",   0, "http.pipeline_full",           "limits_pipeline") \
  X(max_ws_message_bytes,        1 * kMiB,   "bytes",      0, "ws.message_too_big",           "limits_ws_message") \
  X(max_ws_fragments,            64,         "frames",     0, "ws.too_many_fragments",        "limits_ws_fragments") \
  X(max_ws_queue,                16,         "messages",   0, "ws.queue_full",                "limits_ws_queue") \
  X(max_ws_inflate_ratio,        100,        "times",      0, "ws.inflate_ratio",             "limits_ws_inflate_ratio") \
  X(ws_ping_interval_ms,         20'000,     "ms",         0, "ws.ping_timeout",              "limits_ws_ping") \
  X(ws_ping_timeout_ms,          20'000,     "ms",         0, "ws.ping_timeout",              "limits_ws_ping") \
  X(ws_close_timeout_ms,         10'000,     "ms",         0, "ws.close_timeout",             "limits_ws_close") \
  X(max_connections,             0,          "sockets",  503, "http.too_many_connections",    "limits_connections") \
  X(max_connections_per_address, 0,          "sockets",  503, "http.too_many_connections",    "limits_connections")
// clang-format on
// max_connections 0: 80 % of RLIMIT_NOFILE; per address (/24, /64) 0: a quarter of that.

struct Limits {
#define FASTERAPI_HTTP_LIMIT_FIELD(name, value, unit, status, code, test) std::uint64_t name = value;
  FASTERAPI_HTTP_LIMITS(FASTERAPI_HTTP_LIMIT_FIELD)
#undef FASTERAPI_HTTP_LIMIT_FIELD
};

/// One row of the table at run time: for documentation, for option parsing, for messages.
struct LimitInfo {
  std::string_view name;
  std::uint64_t Limits::*field;
  std::uint64_t default_value;
  std::string_view unit;
  int status;
  std::string_view code;
  std::string_view test;
};

inline constexpr LimitInfo kLimitTable[] = {
#define FASTERAPI_HTTP_LIMIT_ROW(name, value, unit, status, code, test) \
  {#name, &Limits::name, value, unit, status, code, test},
    FASTERAPI_HTTP_LIMITS(FASTERAPI_HTTP_LIMIT_ROW)
#undef FASTERAPI_HTTP_LIMIT_ROW
};

/// Brings values that the parser could not hold into its range (head size, field count). Call once per server.
constexpr Limits clamped(Limits limits) noexcept {
  if (limits.max_headers > kMaxFields) limits.max_headers = kMaxFields;
  if (limits.max_uri_bytes > kMaxHeadBytes / 2) limits.max_uri_bytes = kMaxHeadBytes / 2;
  if (limits.max_header_bytes > kMaxHeadBytes - limits.max_uri_bytes - 64)
    limits.max_header_bytes = kMaxHeadBytes - limits.max_uri_bytes - 64;
  return limits;
}

}  // namespace fasterapi::http
