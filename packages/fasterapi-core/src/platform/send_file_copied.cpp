// Files sent through memory, where sendfile(2) is missing or differs.
#include <algorithm>

#include <stream/tail.hpp>

#include "socket_calls.hpp"

namespace fasterapi::core {

std::ptrdiff_t send_file(int socket, int file, std::uint64_t offset, std::size_t size) noexcept {
  char piece[32 * 1024];
  const std::ptrdiff_t got = read_at(file, piece, std::min(size, sizeof piece), offset);
  return got > 0 ? net::send(socket, piece, static_cast<std::size_t>(got)) : got;
}

bool in_page_cache(int, std::uint64_t, std::size_t) noexcept { return true; }

}  // namespace fasterapi::core
