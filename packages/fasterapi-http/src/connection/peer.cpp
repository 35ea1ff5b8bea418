#include "peer.hpp"

#include <sys/socket.h>

#include <new>

#include <fasterapi/http/server.hpp>

#include "../peer/networks.hpp"
#include "../peer/proxy_protocol.hpp"
#include "inbox.hpp"

namespace fasterapi::http {
namespace {

void fill(Peer& peer, const IpAddress& address, int port) {
  peer.host = address.text();
  peer.port = port;
  peer.text = (address.v4() ? peer.host : "[" + peer.host + "]") + ":" + std::to_string(port);
}

bool address_of(core::Stream& stream, IpAddress& address, int& port) noexcept {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  return ::getpeername(stream.fd(), reinterpret_cast<sockaddr*>(&raw), &size) == 0 && ip_of(raw, address, port);
}

}  // namespace

const Peer* Connection::peer() {
  if (!peer_) {
    if (!stream_.open()) return nullptr;
    auto peer = std::make_unique<Peer>();
    IpAddress address{};
    int port = 0;
    if (address_of(stream_, address, port)) fill(*peer, address, port);
    peer_ = std::move(peer);
  }
  return peer_.get();
}

bool Connection::expects_proxy_header() noexcept {
  const Networks& senders = *server_.options().proxy_protocol;
  IpAddress address{};
  int port = 0;
  return senders.all() || !address_of(stream_, address, port) || senders.contains(address);
}

void Connection::take_proxy_header(const char* data, std::size_t size) noexcept {
  try {
    stash(data, size);
    ProxyHeader header;
    std::size_t consumed = 0;
    switch (parse_proxy_header(inbox_->rest(), header, consumed)) {
      case ProxyResult::incomplete: return;  // header_timeout_ms is running
      case ProxyResult::error:
        // Whatever this is, it does not speak HTTP to us: no answer.
        ++server_.counters_.protocol_errors;
        return stream_.close();
      case ProxyResult::complete: break;
    }
    if (header.has_client) {
      auto peer = std::make_unique<Peer>();
      fill(*peer, header.client, header.client_port);
      peer->server_host = header.server.text();
      peer->server_port = header.server_port;
      peer_ = std::move(peer);
    }
    phase_ = Phase::idle;
    received_ = false;  // the request has its own time from its first byte
    inbox_->taken += consumed;
    if (inbox_->rest().empty()) {
      inbox_.reset();
    } else {
      received_ = true;
      server_.resume_later(*this);
    }
  } catch (const std::bad_alloc&) {
    out_of_memory();
  }
}

}  // namespace fasterapi::http
