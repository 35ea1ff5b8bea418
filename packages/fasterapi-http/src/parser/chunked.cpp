// Chunked decoder: one switch per byte outside of chunk data, slices inside. RFC 9112 section 7.1.
#include <fasterapi/http/chunked.hpp>

#include <algorithm>
#include <cstring>

#include "parser/head.hpp"

namespace fasterapi::http {

namespace {

int hex_value(unsigned char c) noexcept {
  if (c - unsigned{'0'} < 10) return c - '0';
  c |= 0x20;
  if (c - unsigned{'a'} < 6) return c - 'a' + 10;
  return -1;
}

// RFC 9110 section 6.5.1: fields that frame the message, route it, authenticate it or say how to read it must not
// come after it. A receiver that merged them would believe something that no check has seen.
bool forbidden(std::string_view name) noexcept {
  static constexpr std::string_view kNames[] = {"age",
                                                "authorization",
                                                "cache-control",
                                                "connection",
                                                "content-encoding",
                                                "content-length",
                                                "content-range",
                                                "content-type",
                                                "cookie",
                                                "date",
                                                "expect",
                                                "expires",
                                                "forwarded",
                                                "host",
                                                "if-match",
                                                "if-none-match",
                                                "if-range",
                                                "keep-alive",
                                                "location",
                                                "max-forwards",
                                                "origin",
                                                "pragma",
                                                "proxy-authorization",
                                                "range",
                                                "set-cookie",
                                                "te",
                                                "trailer",
                                                "transfer-encoding",
                                                "upgrade",
                                                "vary",
                                                "via",
                                                "x-forwarded-for",
                                                "x-forwarded-host",
                                                "x-forwarded-proto"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::fail(std::size_t at, const ParseError& error) noexcept {
  state_ = State::failed;
  error_ = &error;
  return {Step::Kind::error, at, {}, error_};
}

ChunkedDecoder::Step ChunkedDecoder::next(const char* input, std::size_t size, const Limits& limits) noexcept {
  namespace e = parse_errors;
  std::size_t i = 0;
  while (i < size || state_ == State::done) {
    switch (state_) {
      case State::data: {
        std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, size - i));
        remaining_ -= n;
        total_ += n;
        if (remaining_ == 0) state_ = State::data_cr;
        return {Step::Kind::data, i + n, {input + i, n}, nullptr};
      }
      case State::done: return {Step::Kind::done, i, {}, nullptr};
      case State::failed: return {Step::Kind::error, i, {}, error_};
      default: break;
    }
    const unsigned char c = static_cast<unsigned char>(input[i]);
    switch (state_) {
      case State::size_first:
      case State::size: {
        int digit = hex_value(c);
        if (digit >= 0) {
          // Leading zeros count too, so that a size line cannot grow without end.
          if (++digits_ > 16 || remaining_ >> 59) return fail(i, e::kBadChunkSize);
          remaining_ = remaining_ << 4 | static_cast<unsigned>(digit);
          state_ = State::size;
        } else if (state_ == State::size_first) {
          return fail(i, e::kBadChunkSize);
        } else if (c == '\r') {
          state_ = State::size_lf;
        } else if (c == ';') {
          state_ = State::extension;
          if (++extension_bytes_ > limits.max_chunk_extension_bytes) return fail(i, e::kChunkExtensionTooLarge);
        } else {
          // Also a blank: RFC 9112 allows BWS before ';' only as a grammar of the past, and it has hidden bytes
          // before.
          return fail(i, e::kBadChunkSize);
        }
        break;
      }
      case State::extension:
      case State::quoted:
      case State::quoted_pair:
        if (c == '\r' && state_ == State::extension) {
          state_ = State::size_lf;
          break;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f) return fail(i, e::kBadChunkExtension);
        if (++extension_bytes_ > limits.max_chunk_extension_bytes) return fail(i, e::kChunkExtensionTooLarge);
        if (state_ == State::quoted_pair)
          state_ = State::quoted;
        else if (c == '"')
          state_ = state_ == State::quoted ? State::extension : State::quoted;
        else if (c == '\\' && state_ == State::quoted)
          state_ = State::quoted_pair;
        else if (c >= 0x80 && state_ == State::extension)
          return fail(i, e::kBadChunkExtension);
        break;
      case State::size_lf:
        if (c != '\n') return fail(i, e::kBadChunkSize);
        digits_ = 0;
        state_ = remaining_ ? State::data : State::trailer_start;
        break;
      case State::data_cr:
        if (c != '\r') return fail(i, e::kBadChunkEnd);
        state_ = State::data_lf;
        break;
      case State::data_lf:
        if (c != '\n') return fail(i, e::kBadChunkEnd);
        state_ = State::size_first;
        break;
      case State::trailer_start:
        if (c == '\r') {
          state_ = State::end_lf;
          break;
        }
        name_size_ = 0;
        if (++trailers_ > limits.max_trailers) return fail(i, e::kTooManyTrailers);
        state_ = State::trailer_name;
        [[fallthrough]];
      case State::trailer_name:
        if (++trailer_bytes_ > limits.max_trailer_bytes) return fail(i, e::kTrailerTooLarge);
        if (c == ':') {
          if (name_size_ == 0) return fail(i, e::kBadTrailer);
          if (name_size_ <= sizeof name_ && forbidden({name_, name_size_})) return fail(i, e::kForbiddenTrailer);
          state_ = State::trailer_value;
        } else {
          if (detail::kBytes.not_token[c]) return fail(i, e::kBadTrailer);
          if (name_size_ < sizeof name_)
            name_[name_size_] = static_cast<char>(c - unsigned{'A'} < 26 ? c | 0x20 : c);
          if (name_size_ <= sizeof name_) ++name_size_;
        }
        break;
      case State::trailer_value:
        if (++trailer_bytes_ > limits.max_trailer_bytes) return fail(i, e::kTrailerTooLarge);
        if (c == '\r')
          state_ = State::trailer_lf;
        else if (detail::kBytes.control[c])
          return fail(i, e::kBadTrailer);
        break;
      case State::trailer_lf:
        if (c != '\n') return fail(i, e::kBadTrailer);
        state_ = State::trailer_start;
        break;
      case State::end_lf:
        if (c != '\n') return fail(i, e::kBadTrailer);
        state_ = State::done;
        break;
      case State::data:
      case State::done:
      case State::failed: break;
    }
    ++i;
  }
  return {Step::Kind::need_more, i, {}, nullptr};
}

}  // namespace fasterapi::http
