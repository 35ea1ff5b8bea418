#pragma once
// The logger of core's own parts.
#include <fasterapi/core/log.hpp>

namespace fasterapi::core {

inline log::Logger& core_log() noexcept {
  static log::Logger& logger = log::logger("fasterapi.core");
  return logger;
}

}  // namespace fasterapi::core
