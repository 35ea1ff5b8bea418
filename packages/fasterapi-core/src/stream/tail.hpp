#pragma once
// Stream::Tail: the source that a stream is sending, see Stream::send_source(). What is written meanwhile waits in
// Stream::plain_, which out() prefers to everything else.
#include <sys/types.h>

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

/// sendfile(2): bytes sent, -1 with errno.
ssize_t send_file(int socket, int file, std::uint64_t offset, std::size_t size) noexcept;
/// Whether the piece can be read without waiting for a disk; asks the kernel to read it ahead when not. True where
/// nobody can tell.
bool in_page_cache(int file, std::uint64_t offset, std::size_t size) noexcept;

}  // namespace fasterapi::core
