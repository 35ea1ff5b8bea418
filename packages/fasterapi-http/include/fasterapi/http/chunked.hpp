#pragma once
// Decoder of the chunked transfer coding (RFC 9112 section 7.1): bytes in, slices of the same bytes out.
//   Cost     O(bytes); chunk data is passed on as slices, never copied; 10^6 one-byte chunks are linear
//   State    64 bytes, resumable at every byte; nothing of the input has to be kept between calls
//   Strict   hex digits only, sizes below 2^63, exact CRLF after size and data, no bare CR or LF, extensions
//   limited in
//            sum, trailers limited in bytes and count, trailer fields that frame, route or authenticate refused
// Trailers are validated and dropped.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fasterapi/http/limits.hpp>
#include <fasterapi/http/parser.hpp>

namespace fasterapi::http {

class ChunkedDecoder {
 public:
  struct Step {
    enum class Kind : std::uint8_t { need_more, data, done, error };
    Kind kind;
    std::size_t consumed;     // bytes of the input that are dealt with, including `data`
    std::string_view data;    // data: a non-empty slice of the input
    const ParseError* error;  // error: close the connection after the answer
  };

  /// The next event. need_more: everything was consumed. data: call again with the rest. done: the body has ended,
  /// bytes after `consumed` belong to the next request.
  Step next(const char* input, std::size_t size, const Limits& limits) noexcept;

  bool done() const noexcept { return state_ == State::done; }
  /// Body bytes seen so far.
  std::uint64_t total() const noexcept { return total_; }
  /// Bytes that the current chunk still has to bring: a hint for buffer sizes.
  std::uint64_t remaining_in_chunk() const noexcept { return state_ == State::data ? remaining_ : 0; }
  void reset() noexcept { *this = ChunkedDecoder(); }

 private:
  enum class State : std::uint8_t {
    size_first,
    size,
    extension,
    quoted,
    quoted_pair,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_name,
    trailer_value,
    trailer_lf,
    end_lf,
    done,
    failed
  };
  Step fail(std::size_t at, const ParseError& error) noexcept;
  std::uint64_t remaining_ = 0, total_ = 0;
  std::uint32_t extension_bytes_ = 0, trailer_bytes_ = 0;
  std::uint16_t trailers_ = 0;
  State state_ = State::size_first;
  std::uint8_t digits_ = 0, name_size_ = 0;
  char name_[27];  // start of the current trailer's name, lower case
  const ParseError* error_ = nullptr;
};

}  // namespace fasterapi::http
