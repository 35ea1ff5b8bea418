#pragma once
// Content codings: which answers are compressed, and the coders themselves.
//   Cost     nothing for answers that are not compressed but a look at their head; coders work on the calling
//   thread Threads  a coder belongs to one message Errors   false where the library fails or a limit is passed
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/http/negotiate.hpp>

namespace fasterapi::http {

struct CompressionOptions {
  std::vector<Coding> codings;                   // in order of preference; empty: off
  std::uint64_t minimum_size = 500;              // shorter bodies gain nothing
  std::uint64_t maximum_size = 4 * 1024 * 1024;  // of a body in one piece: it is compressed on the loop
  int gzip_level = 5, br_level = 4, zstd_level = 3;
  bool enabled() const noexcept { return !codings.empty(); }
};

/// Whether this build has the coding's library (gzip always).
bool coding_available(Coding coding) noexcept;

class Encoder {
 public:
  enum class Flush : std::uint8_t {
    none,
    sync,
    finish
  };  // sync: all that went in can be decoded by what came out
  virtual ~Encoder();
  virtual bool encode(std::string_view input, Flush flush, core::OutBuffer& out) = 0;
};
/// Null when the library is missing or refuses.
std::unique_ptr<Encoder> make_encoder(Coding coding, const CompressionOptions& options);

/// Decodes a whole message while it counts: false with `*too_large` set when the result passes `limit` bytes or
/// grows beyond `max_ratio` times its input (the first 64 KiB are free), else false for malformed input.
bool decode_message(Coding coding, std::string_view input, std::uint64_t limit, std::uint64_t max_ratio,
                    core::OutBuffer& out, bool& too_large);

/// What an answer's head says about compressing it.
struct CompressionVerdict {
  bool eligible = false;  // a type that is worth it, whole, not coded yet, and allowed to be transformed
};
/// `fields`: status line and field lines, each with CRLF.
CompressionVerdict judge_head(int status, std::string_view fields) noexcept;

/// The same lines for the coded answer: without content-length, a strong ETag made weak, `content-encoding` and
/// `vary` added. Coding::identity only adds `vary`.
std::string coded_head(std::string_view fields, Coding coding);

}  // namespace fasterapi::http
