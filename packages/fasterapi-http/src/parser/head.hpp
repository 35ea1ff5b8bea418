#pragma once
// What the parts of the request-head parser share: the catalogue of errors, the table of vector tiers, the memo's
// entry. Private to the package; tests reach the tiers through it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <fasterapi/http/parser.hpp>

namespace fasterapi::http {

namespace parse_errors {
// clang-format off
inline constexpr ParseError
    kBadRequestLine{400, "http.bad_request_line", "The request line is not METHOD SP target SP HTTP/1.x CRLF"},
    kBadMethod{400, "http.bad_method", "The method is not a token"},
    kMethodUnknown{501, "http.method_not_implemented", "The method is not implemented by this server"},
    kBadTarget{400, "http.bad_target", "The request target has a form or a character that is not allowed"},
    kUriTooLong{414, "http.uri_too_long", "The request target is longer than max_uri_bytes"},
    kBadVersion{505, "http.version_not_supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here"},
    kBadLineEnd{400, "http.bad_line_end", "A line does not end with CRLF, or holds a control character"},
    kBadFieldName{400, "http.bad_header_name", "A header name is empty, not a token, or followed by a blank"},
    kFolded{400, "http.folded_header", "A header line begins with a blank (obsolete line folding)"},
    kHeaderTooLarge{431, "http.header_too_large", "The header section is larger than max_header_bytes"},
    kTooManyHeaders{431, "http.too_many_headers", "There are more header fields than max_headers"},
    kMissingHost{400, "http.missing_host", "An HTTP/1.1 request needs exactly one Host field"},
    kBadHost{400, "http.bad_host", "The Host field is not a host with an optional port"},
    kDuplicate{400, "http.duplicate_header", "A header field that may appear once appears twice"},
    kBadLength{400, "http.bad_content_length", "Content-Length is not a number below 2^63"},
    kBadCoding{400, "http.bad_transfer_encoding", "Transfer-Encoding does not end with one chunked coding"},
    kUnknownCoding{501, "http.transfer_encoding_not_implemented", "Only the chunked coding is implemented"},
    kLengthAndCoding{400, "http.length_and_coding", "Content-Length and Transfer-Encoding exclude each other"},
    kLookalike{400, "http.lookalike_header", "A header name looks like a framing field but is not one"},
    kExpectation{417, "http.expectation_failed", "Only 'Expect: 100-continue' is understood"},
    kBadChunkSize{400, "http.bad_chunk_size", "A chunk size is not a hexadecimal number below 2^63 and CRLF"},
    kBadChunkEnd{400, "http.bad_chunk_end", "Chunk data is not followed by CRLF"},
    kBadChunkExtension{400, "http.bad_chunk_extension", "A chunk extension holds a character that is not allowed"},
    kChunkExtensionTooLarge{400, "http.chunk_extension_too_large",
                            "Chunk extensions are larger than max_chunk_extension_bytes"},
    kBadTrailer{400, "http.bad_trailer", "A trailer line is malformed"},
    kForbiddenTrailer{400, "http.forbidden_trailer", "A trailer field may not change framing, routing or access"},
    kTrailerTooLarge{431, "http.trailer_too_large", "The trailer section is larger than max_trailer_bytes"},
    kTooManyTrailers{431, "http.too_many_trailers", "There are more trailer fields than max_trailers"};
// clang-format on
}  // namespace parse_errors

/// A parsed header block that may come again, and the request line that came with it last. One thread.
struct HeaderMemo::Entry {
  std::uint32_t references;
  std::uint32_t block_size;  // header lines and the blank line
  std::uint64_t hash;
  std::uint32_t line_size;  // with CRLF; 0 when it did not fit
  std::uint8_t minor_version;
  std::uint8_t line_age;  // request lines since the kept one was kept
  RequestHead head;       // as parsed; of `fields` only field_count are kept, the block follows
  static constexpr std::uint32_t kLineRoom = 64, kMaxBlock = 4096;
  char line[kLineRoom + kReadPadding];
  char* block;  // block_size bytes and kReadPadding, in the same allocation
};

using MemoEntry = HeaderMemo::Entry;
inline constexpr std::size_t kHeadMetaBytes = sizeof(RequestHead) - sizeof(RequestHead::fields);

struct HeadAccess {
  static detail::HeadState& state(RequestHead& head) noexcept { return head.state_; }
  static ParseResult with_memo(const char* data, std::size_t size, const Limits& limits, RequestHead& out,
                               HeaderMemo& memo) noexcept;
};

/// One build of the hot loops. All tiers give byte-for-byte the same answers; tests hold them to it.
struct Tier {
  std::string_view name;
  bool (*supported)() noexcept;
  ParseResult (*parse)(const char*, std::size_t, const Limits&, RequestHead&) noexcept;
  /// Only for a reset head: true when the whole head is there and its block is that of the memo.
  bool (*repeat)(const char*, std::size_t, const Limits&, RequestHead&, MemoEntry&) noexcept;
};

extern const Tier kTierAvx512, kTierAvx2, kTierSse2, kTierScalar;

/// Best first; the last one is the scalar twin and always supported.
std::span<const Tier* const> all_tiers() noexcept;
const Tier& best_tier() noexcept;

/// uri-host [ ":" port ] (RFC 9110 section 7.2), without userinfo, not empty.
bool valid_authority(const char* text, std::size_t size) noexcept;

namespace detail {
// Character classes of RFC 9110 section 5.6.2 and RFC 3986.
struct ByteTables {
  std::array<std::uint8_t, 256> not_token{}, control{}, bad_target{}, not_host{};
  // The same, seven bits, for 128-byte permutes and for nibble look-ups: bit (high nibble - 2) of low[low nibble].
  alignas(64) std::array<std::uint8_t, 128> not_token7{}, not_host7{};
  alignas(32) std::array<std::uint8_t, 32> token_low{}, host_low{}, high{};
};
constexpr bool is_token_char(unsigned c) noexcept {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  for (char t : std::string_view("!#$%&'*+-.^_`|~"))
    if (c == static_cast<unsigned char>(t)) return true;
  return false;
}
constexpr ByteTables make_byte_tables() noexcept {
  ByteTables t;
  for (unsigned c = 0; c < 256; ++c) {
    bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool host = alnum || c == '.' || c == '-' || c == ':' || c == '_' || c == '~';
    bool token = is_token_char(c);
    t.not_token[c] = !token;
    t.control[c] = (c < 0x20 && c != '\t') || c == 0x7f;
    t.bad_target[c] = c <= 0x20 || c >= 0x7f || c == '#';
    t.not_host[c] = !host;
    if (c < 128) {
      t.not_token7[c] = token ? 0 : 0x80;
      t.not_host7[c] = host ? 0 : 0x80;
    }
    if (c >= 0x20 && c < 0x80) {
      std::uint8_t bit = static_cast<std::uint8_t>(1u << ((c >> 4) - 2));
      for (unsigned half : {0u, 16u}) {
        if (token) t.token_low[half + (c & 15)] |= bit;
        if (host) t.host_low[half + (c & 15)] |= bit;
        t.high[half + (c >> 4)] = bit;
      }
    }
  }
  return t;
}
inline constexpr ByteTables kBytes = make_byte_tables();
}  // namespace detail

}  // namespace fasterapi::http
