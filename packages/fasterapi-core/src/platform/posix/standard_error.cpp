#include <platform/standard_error.hpp>

#include <poll.h>
#include <unistd.h>

namespace fasterapi::core {

bool write_to_stderr(const char* line, std::size_t size) noexcept {
  // A pipe that is ready takes PIPE_BUF bytes (4096 on Linux, 512 on macOS) in one piece.
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  return ::poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT &&
         ::write(STDERR_FILENO, line, size) == static_cast<ssize_t>(size);
}

}  // namespace fasterapi::core
