#pragma once
// Stream::Tail: the source that a stream is sending, see Stream::send_source(). What is written meanwhile waits in
// Stream::plain_, which out() prefers to everything else.
#include <cstddef>
#include <cstdint>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>

namespace fasterapi::core {

struct Stream::Tail {
  Tail(Stream& stream, StreamSource source) noexcept;
  ~Tail();
  Tail(const Tail&) = delete;
  Tail& operator=(const Tail&) = delete;

  StreamSource source;
  Timer disk;               // asks again whether the next piece is in memory
  unsigned disk_tries = 0;  // for the next piece
  bool disk_wait = false;
  bool pumping = false;  // flush_with() is ours
};

// Of each platform, in src/platform; sizes, or -errno:
std::ptrdiff_t read_at(int file, char* into, std::size_t size, std::uint64_t offset) noexcept;
std::ptrdiff_t send_file(int socket, int file, std::uint64_t offset, std::size_t size) noexcept;
/// Bytes that were sent and are not with the peer yet; 0 where nobody can tell.
std::size_t held_by_kernel(int socket) noexcept;
/// Whether the piece can be read without waiting for a disk; asks the kernel to read it ahead when not. True where
/// nobody can tell.
bool in_page_cache(int file, std::uint64_t offset, std::size_t size) noexcept;

}  // namespace fasterapi::core
