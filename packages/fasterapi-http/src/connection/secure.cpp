// Connections over TLS: from the accepted socket to the end of the handshake; then they are like others.
#include <cerrno>
#include <new>

#include <fasterapi/core/log.hpp>
#include <fasterapi/core/resolver.hpp>
#include <fasterapi/core/tls.hpp>
#include <fasterapi/http/server.hpp>

#include <sys/socket.h>

#include "connection.hpp"

namespace fasterapi::http {
namespace {

constexpr core::Nanos kMillisecond = 1'000'000;

core::log::Logger& http_log() noexcept {
  static core::log::Logger& logger = core::log::logger("fasterapi.http");
  return logger;
}

std::unique_ptr<std::string> address_of(int fd) {
  core::SocketAddress address;
  socklen_t size = sizeof address.bytes;
  if (::getpeername(fd, address.get(), &size) == 0) address.size = size;
  return std::make_unique<std::string>(address.text());
}

}  // namespace

bool Connection::start_tls(int fd) noexcept {
  try {
    tls_client_ = address_of(fd);
  } catch (const std::bad_alloc&) {  // then the log has to do without
  }
  if (stream_.adopt(fd) != 0) return false;
  phase_ = Phase::handshake;
  arm(since_ + static_cast<core::Nanos>(server_.limits().tls_handshake_timeout_ms) * kMillisecond);
  if (int error = stream_.start_tls(server_.options().tls, {})) stream_.close(error);  // on_closed() follows
  return true;
}

void Connection::on_connected() noexcept {
  tls_client_.reset();
  // HTTP/2 goes its own way from here when stream_.tls()->alpn() says "h2".
  phase_ = Phase::idle;
  since_ = server_.reactor().now();
  arm(since_ + static_cast<core::Nanos>(server_.limits().header_timeout_ms) * kMillisecond);
  if (server_.draining()) drain();
}

// Whoever scans the port causes these, so they are no warnings; the logger limits them to one per second.
void Connection::handshake_failed(int error) noexcept {
  if (error == 0) return;  // ours: the server stops
  try {
    const char* client = tls_client_ ? tls_client_->c_str() : "a client";
    const std::string why = error == ETIMEDOUT ? std::string("it did not end within tls_handshake_timeout_ms")
                                               : stream_.error_text(error);
    if (why.find("http request") != why.npos) {
      FASTERAPI_LOG_INFO(http_log(), "%s spoke plain HTTP to the TLS port", client);
    } else {
      FASTERAPI_LOG_INFO(http_log(), "TLS handshake with %s failed: %s", client, why.c_str());
    }
  } catch (const std::bad_alloc&) {  // a line less
  }
}

}  // namespace fasterapi::http
