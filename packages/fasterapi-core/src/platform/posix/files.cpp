#include <sys/ioctl.h>
#include <unistd.h>

#include <platform/posix_socket.hpp>
#include <stream/tail.hpp>

namespace fasterapi::core {

std::ptrdiff_t read_at(int file, char* into, std::size_t size, std::uint64_t offset) noexcept {
  return net::retried([=] { return ::pread(file, into, size, static_cast<off_t>(offset)); });
}

std::size_t held_by_kernel(int socket) noexcept {
  int held = 0;
  return ::ioctl(socket, TIOCOUTQ, &held) == 0 && held > 0 ? static_cast<std::size_t>(held) : 0;
}

}  // namespace fasterapi::core
