#include "backends.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <fasterapi/core/error.hpp>

#include "log/core_log.hpp"

namespace fasterapi::core {
namespace {

class MonotonicClock final : public Clock {
 public:
  Nanos now() noexcept override { return monotonic_now(); }
};

}  // namespace

Backend::~Backend() = default;
int Backend::alarm(Nanos) noexcept { return ENOTSUP; }
int Backend::connect(int, const sockaddr*, unsigned) noexcept { return ENOTSUP; }

Clock& monotonic_clock() noexcept {
  static MonotonicClock clock;
  return clock;
}

const std::vector<const char*>& backend_names() noexcept {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> found;
    for (const BackendEntry& entry : platform_backends()) found.push_back(entry.name);
    return found;
  }();
  return names;
}

std::unique_ptr<Backend> make_backend(const char* name) {
  const bool given = name != nullptr;
  if (!given) name = std::getenv("FASTERAPI_REACTOR");
  if (!name || !*name) name = platform_backends().front().name;
  std::string known;
  for (const BackendEntry& entry : platform_backends()) {
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
    if (std::string_view(name) != entry.name) continue;
    if (!entry.instead) return entry.make();
    try {
      return entry.make();
    } catch (const Error& refused) {
      // Once per process: every loop of every thread would say the same.
      static std::atomic<bool> told{false};
      if (!told.exchange(true)) {
        FASTERAPI_LOG_WARNING(core_log(), "%s; using %s instead", refused.what(), entry.instead);
      }
      return make_backend(entry.instead);
    }
  }
  throw Error(std::string(given ? "backend" : "FASTERAPI_REACTOR") + ": no reactor backend named '" + name +
              "' in this build (available: " + known + ")");
}

}  // namespace fasterapi::core
