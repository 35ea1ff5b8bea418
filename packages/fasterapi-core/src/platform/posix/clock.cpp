#include <ctime>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

Nanos monotonic_now() noexcept {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<Nanos>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace fasterapi::core
