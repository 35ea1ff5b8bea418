#pragma once
// HTTP/1.1 request heads: bytes in, offsets out. Sans-IO, no allocation, no copy, no exceptions.
//   Cost     full RFC 9110/9112 validation at about 0.2 ns per byte (AVX-512, AVX2, SSE2 and scalar twins, chosen
//   once
//            at run time); resumable, linear over any number of calls; a repeated header block is compared with
//            the connection's HeaderMemo instead of parsed
//   Threads  parse_request() is re-entrant; a HeaderMemo belongs to one thread for life
//   Ownership  RequestHead holds offsets and the address of the buffer of the last call: the bytes must stay there
//            while views are used. After moving the bytes call rebase().
//   Buffer   kReadPadding readable bytes must follow `size` (their value does not matter)
// Strict by default: anything that two parsers could read differently is an error, and every error means that the
// connection must be closed after the answer.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fasterapi/http/limits.hpp>

namespace fasterapi::http {

inline constexpr std::size_t kReadPadding = 64;

enum class Method : std::uint8_t { other, get, head, post, put, delete_, patch, options, trace, query };
inline constexpr unsigned kMethodCount = 10;
/// Upper-case name; "" for Method::other.
std::string_view method_name(Method method) noexcept;
/// Exact, case-sensitive (RFC 9110 section 9.1); Method::other for everything unknown.
Method method_from(std::string_view name) noexcept;

/// Why a request was refused. Static storage: compare pointers or codes, never free.
struct ParseError {
  int status;        // what to answer: 400, 414, 417, 431, 501, 505
  const char* code;  // stable, e.g. "http.bad_header"
  const char* text;  // one sentence; never contains peer bytes
};

struct ParseResult {
  enum class Kind : std::uint8_t { need_more, complete, error };
  Kind kind;
  std::uint32_t consumed;   // complete: bytes of the head including its blank line
  const ParseError* error;  // error: never null
  bool complete() const noexcept { return kind == Kind::complete; }
  bool need_more() const noexcept { return kind == Kind::need_more; }
  bool failed() const noexcept { return kind == Kind::error; }
};

/// One field line; offsets count from RequestHead::fields_base(). The value is trimmed (RFC 9112 section 5.1).
struct FieldSlot {
  std::uint16_t name_at, name_size, value_at, value_size;
};

namespace detail {
inline constexpr char kRootPath[1 + kReadPadding] = "/";

/// Where things are, and where a resumed parse goes on.
struct HeadState {
  const char* base = nullptr;
  std::uint32_t head_size = 0;
  std::uint32_t line_at = 0;  // first byte of the first line that was not finished
  std::uint32_t scanned = 0;  // no line end before this
  std::uint16_t start = 0;    // after leading empty lines
  std::uint16_t method_size = 0;
  std::uint16_t target_at = 0, target_size = 0;
  std::uint16_t path_at = 0, path_size = 0, query_size = 0;
  std::uint16_t fields_at = 0;  // 0: the request line is not finished
  std::uint16_t host_at = 0, host_size = 0;
  std::uint8_t seen = 0;        // which single-value fields were seen
  std::uint8_t connection = 0;  // tokens of Connection
  bool has_query = false;
};
}  // namespace detail

/// The parsed head. About 900 bytes: keep one per reactor for whole heads, and one beside the bytes of the rare
/// connection whose head is incomplete (a resumed parse needs the same object).
class RequestHead {
 public:
  // --- framing -----------------------------------------------------------------------------------
  Method method = Method::other;
  std::uint8_t minor_version = 1;  // 0 or 1
  bool keep_alive = true;          // what the client wants: version default and Connection
  bool chunked = false;
  bool has_length = false;  // Content-Length was sent; never together with chunked
  bool expect_continue = false;
  bool upgrade = false;        // Connection: upgrade with an Upgrade field (HTTP/1.1 only)
  bool absolute_form = false;  // target named scheme and authority; host() is that authority
  bool path_encoded = false;   // path() contains '%'
  std::uint8_t field_count = 0;
  std::uint64_t content_length = 0;  // < 2^63

  bool has_body() const noexcept { return chunked || content_length != 0; }

  // --- request line: views into the buffer ---------------------------------------------------------
  std::string_view method_text() const noexcept { return {state_.base + state_.start, state_.method_size}; }
  std::string_view target() const noexcept { return {state_.base + state_.target_at, state_.target_size}; }
  /// Percent-encoded, without the query; never empty ("/" for an absolute form without path, "*" for OPTIONS *).
  std::string_view path() const noexcept {
    if (!state_.path_size) return {detail::kRootPath, 1};
    return {state_.base + state_.path_at, state_.path_size};
  }
  /// Without '?'; data() is null when there was no '?'.
  std::string_view query() const noexcept {
    if (!state_.has_query) return {};
    return {state_.base + state_.path_at + state_.path_size + 1, state_.query_size};
  }
  /// Validated uri-host[:port]; empty only for HTTP/1.0 without Host.
  std::string_view host() const noexcept {
    if (absolute_form) return {state_.base + state_.host_at, state_.host_size};
    if (!state_.host_size) return {};
    return {fields_base() + state_.host_at, state_.host_size};
  }

  // --- fields --------------------------------------------------------------------------------------
  std::string_view name(unsigned i) const noexcept {
    return {fields_base() + fields[i].name_at, fields[i].name_size};
  }
  std::string_view value(unsigned i) const noexcept {
    return {fields_base() + fields[i].value_at, fields[i].value_size};
  }
  /// First field of that lower-case name; data() is null when absent.
  std::string_view find(std::string_view lower_name) const noexcept;
  /// Index of the next field of that lower-case name at or after `from`; field_count when there is none.
  unsigned find_index(std::string_view lower_name, unsigned from = 0) const noexcept;

  const char* base() const noexcept { return state_.base; }
  const char* fields_base() const noexcept { return state_.base + state_.fields_at; }
  std::uint32_t fields_at() const noexcept { return state_.fields_at; }
  /// Bytes of the whole head, once complete.
  std::uint32_t size() const noexcept { return state_.head_size; }
  /// The same bytes now live at `base`.
  void rebase(const char* base) noexcept { state_.base = base; }

  /// Forget everything: a new request begins.
  void reset() noexcept {
    method = Method::other;
    minor_version = 1;
    keep_alive = true;
    chunked = has_length = expect_continue = upgrade = absolute_form = path_encoded = false;
    field_count = 0;
    content_length = 0;
    state_ = detail::HeadState();
  }

 private:
  friend struct HeadAccess;
  detail::HeadState state_;

 public:
  FieldSlot fields[kMaxFields];  // [0, field_count) are valid; last member: the rest is copied in one piece
};

/// What a keep-alive client repeats byte for byte: its header block, already parsed. Eight bytes on the
/// connection; the block itself is interned per thread, so that equal clients share one. Gives up on clients that
/// never repeat.
class HeaderMemo {
 public:
  HeaderMemo() noexcept = default;
  HeaderMemo(HeaderMemo&& other) noexcept;
  HeaderMemo& operator=(HeaderMemo&& other) noexcept;
  ~HeaderMemo() { reset(); }
  void reset() noexcept;
  bool empty() const noexcept { return entry_ == nullptr; }
  struct Entry;  // private to the parser

 private:
  friend struct HeadAccess;
  Entry* entry_ = nullptr;
  std::uint16_t misses_ = 0;
};

/// Parses the request head at `data`. Call with a reset `out`; on need_more call again with the same `out` once
/// more bytes follow the same ones (their address may change). `limits` went through clamped(). Never allocates.
ParseResult parse_request(const char* data, std::size_t size, const Limits& limits, RequestHead& out) noexcept;
/// The same, helped by the connection's memo (may allocate; out of memory only means no memo).
ParseResult parse_request(const char* data, std::size_t size, const Limits& limits, RequestHead& out,
                          HeaderMemo& memo) noexcept;

/// Vector width in use: "avx512", "avx2", "sse2" or "scalar".
std::string_view simd_tier() noexcept;

/// ASCII case-insensitive comparison with a lower-case constant (RFC 9110 section 5.1).
bool equals_lower(std::string_view text, std::string_view lower) noexcept;

}  // namespace fasterapi::http
