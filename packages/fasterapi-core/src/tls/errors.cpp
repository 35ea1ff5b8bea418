#include <openssl/err.h>

#include <cstring>

#include <fasterapi/core/error.hpp>

#include "internal.hpp"

namespace fasterapi::core::tls {

std::string drain_errors() {
  std::string text;
  while (unsigned long code = ERR_get_error()) {
    if (!text.empty()) continue;  // the first is the cause, what follows are its consequences
    const char* reason =
        ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    if (reason) text = reason;
  }
  return text;
}

void config_error(std::string message) {
  if (std::string cause = drain_errors(); !cause.empty()) message += ": " + cause;
  throw Error("TLS: " + message);
}

std::string quoted(const char* option, const std::string& value) {
  return std::string(option) + " \"" + value + '"';
}

}  // namespace fasterapi::core::tls
