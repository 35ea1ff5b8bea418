#pragma once
// zlib behind permessage-deflate. Objects come from a small pool per thread: without context takeover one inflater
// and one deflater serve every connection; with it a connection keeps its own between messages.
//   Memory   inflater about 2^bits + 7 KiB, deflater about 2^(bits+2) + 2^(bits+2) bytes at these memory levels
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/http/websocket.hpp>

namespace fasterapi::http::ws::detail {

class Inflater {
 public:
  enum class Result : std::uint8_t { ok, too_long, too_dense, bad };
  virtual ~Inflater() = default;
  /// Appends what the bytes inflate to, never more than one byte beyond the limit. `compressed` counts all bytes
  /// of the message so far, these included.
  virtual Result feed(std::string_view bytes, std::uint64_t compressed, const FrameLimits& limits,
                      core::OutBuffer& out) = 0;
  /// The message is complete: adds the tail that the sender left off (RFC 7692 section 7.2.2).
  virtual Result finish(std::uint64_t compressed, const FrameLimits& limits, core::OutBuffer& out) = 0;

  static std::unique_ptr<Inflater, InflaterEnd> lease(int window_bits);
};

class Deflater {
 public:
  virtual ~Deflater() = default;
  /// Appends the compressed message without its tail; `keep` says that the next message may refer to this one.
  virtual void message(std::string_view payload, bool keep, core::OutBuffer& out) = 0;

  static std::unique_ptr<Deflater, DeflaterEnd> lease(int window_bits);
};

}  // namespace fasterapi::http::ws::detail
