#pragma once
// What a connection has read and not yet dealt with. Private to the connection's files.
#include <string_view>

#include "connection/connection.hpp"

namespace fasterapi::http {

struct Connection::Inbox {
  core::OutBuffer bytes;
  std::size_t taken = 0;
  std::string_view rest() const noexcept { return bytes.view().substr(taken); }
};

}  // namespace fasterapi::http
