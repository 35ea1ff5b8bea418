#pragma once
// The backends of the platform that this is built for; src/platform/SYSTEM/backends.cpp has the list.
#include <memory>
#include <vector>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

struct BackendEntry {
  const char* name;
  std::unique_ptr<Backend> (*make)();  // throws Error
  const char* instead;                 // takes its place, with one log line, when the system refuses; or nullptr
};

/// The default first.
extern const std::vector<BackendEntry>& platform_backends();

std::unique_ptr<Backend> make_epoll_backend();
std::unique_ptr<Backend> make_uring_backend();
std::unique_ptr<Backend> make_kqueue_backend();
std::unique_ptr<Backend> make_iocp_backend();

}  // namespace fasterapi::core
