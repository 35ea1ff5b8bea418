#pragma once
// Tunnel: who takes over the bytes of a connection after 101 Switching Protocols.
//   The connection keeps stream, write-stall clock and end; everything else is the tunnel's.
//   Threads    the reactor's thread
//   Ownership  the connection owns its tunnel and deletes it after on_closed()
#include <cstddef>

namespace fasterapi::http {

class Connection;

class Tunnel {
 public:
  virtual ~Tunnel() = default;
  /// The answer is written (not necessarily sent): the tunnel may write. Input follows later.
  virtual void on_open(Connection& connection) noexcept = 0;
  virtual void on_data(char* data, std::size_t size) noexcept = 0;
  /// Reading may have been paused before the tunnel was opened.
  virtual void on_resumed() noexcept = 0;
  virtual void on_eof() noexcept = 0;
  virtual void on_drained() noexcept = 0;
  /// The server stops: end soon.
  virtual void on_server_drain() noexcept = 0;
  /// The stream is closed. The last call.
  virtual void on_closed(int error) noexcept = 0;
};

}  // namespace fasterapi::http
