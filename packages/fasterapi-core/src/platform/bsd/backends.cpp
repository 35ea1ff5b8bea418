#include <reactor/backends.hpp>

namespace fasterapi::core {

const std::vector<BackendEntry>& platform_backends() {
  static const std::vector<BackendEntry> entries{{"kqueue", &make_kqueue_backend, nullptr}};
  return entries;
}

}  // namespace fasterapi::core
