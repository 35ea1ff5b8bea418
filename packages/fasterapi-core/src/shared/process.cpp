// Which process is which.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fasterapi/core/platform.hpp>

#include "layout.hpp"

namespace fasterapi::core {

namespace {

std::uint64_t started(std::int64_t pid) noexcept {  // in clock ticks since boot, plus 1; 0 when it does not run
  if (pid <= 0) return 0;
  if (!FASTERAPI_LINUX)  // no start time: a pid that came again keeps the slot of the one before
    return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM ? 1 : 0;
  char path[48], text[1024];
  std::snprintf(path, sizeof path, "/proc/%lld/stat", static_cast<long long>(pid));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)  // without /proc, or hidden: what kill() says
    return errno == ENOENT && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH ? 0 : 1;
  const ssize_t size = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (size <= 0) return 0;
  text[size] = 0;
  const char* at = std::strrchr(text, ')');  // the name may contain anything
  if (!at || at[1] == 0) return 0;
  if (at[2] == 'Z' || at[2] == 'X') return 0;  // killed, only its parent has not looked yet
  for (int field = 2; field < 22 && at; ++field) at = std::strchr(at + 1, ' ');
  return at ? std::strtoull(at + 1, nullptr, 10) + 1 : 0;
}

}  // namespace

std::uint64_t process_identity(std::int64_t pid) noexcept {
  const std::uint64_t began = started(pid);
  if (began == 0) return 0;
  return static_cast<std::uint64_t>(pid) << kStartBits | (began & ((std::uint64_t{1} << kStartBits) - 1));
}

}  // namespace fasterapi::core
