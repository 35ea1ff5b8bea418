// What of files is particular to Linux: sendfile(2) and reading only what is in memory.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include <stream/tail.hpp>

#include "socket_calls.hpp"

namespace fasterapi::core {

std::ptrdiff_t send_file(int socket, int file, std::uint64_t offset, std::size_t size) noexcept {
  auto at = static_cast<off_t>(offset);
  return net::retried([&] { return ::sendfile(socket, file, &at, size); });
}

bool in_page_cache(int file, std::uint64_t offset, std::size_t size) noexcept {
  constexpr std::size_t kAhead = 1024 * 1024;
  char byte;
  iovec one{&byte, 1};
  for (std::uint64_t at : {offset, offset + size - 1}) {
    if (::preadv2(file, &one, 1, static_cast<off_t>(at), RWF_NOWAIT) >= 0 || errno != EAGAIN) continue;
    ::posix_fadvise(file, static_cast<off_t>(offset), static_cast<off_t>(std::max(size, kAhead)),
                    POSIX_FADV_WILLNEED);
    return false;
  }
  return true;
}

}  // namespace fasterapi::core
