#include <windows.h>
#include <winsock2.h>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

Nanos monotonic_now() noexcept {
  static const Nanos frequency = [] {
    LARGE_INTEGER ticks;
    ::QueryPerformanceFrequency(&ticks);  // cannot fail since Windows XP
    return static_cast<Nanos>(ticks.QuadPart);
  }();
  LARGE_INTEGER ticks;
  ::QueryPerformanceCounter(&ticks);
  const Nanos count = ticks.QuadPart;
  return count / frequency * 1'000'000'000 + count % frequency * 1'000'000'000 / frequency;
}

}  // namespace fasterapi::core
