#include <reactor/backends.hpp>

namespace fasterapi::core {

const std::vector<BackendEntry>& platform_backends() {
  static const std::vector<BackendEntry> entries{{"epoll", &make_epoll_backend, nullptr},
                                                 {"io_uring", &make_uring_backend, "epoll"}};
  return entries;
}

}  // namespace fasterapi::core
