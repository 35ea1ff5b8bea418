// From HTTP to another protocol: the request that asks for it, the hand-over, and what came behind the request.
#include "connection/tunnel.hpp"

#include <new>
#include <utility>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/server.hpp>
#include <fasterapi/http/websocket.hpp>

#include "connection/connection.hpp"
#include "connection/inbox.hpp"

namespace fasterapi::http {

void Connection::unusual_request(Transaction& tx) noexcept {
  tx.head.expect_continue = false;
  if (!tx.head.upgrade || !ws::asks_for_websocket(tx.head)) return;
  // What follows such a request is not HTTP, whether it is granted or not.
  tx.head.keep_alive = false;
  if (server_.websocket_.handler) tx.route_ = &server_.websocket_;
}

void Connection::open_tunnel() noexcept {
  phase_ = Phase::tunnel;
  if (server_.draining_) tunnel_->on_server_drain();
  if (stream_.open() && phase_ == Phase::tunnel) server_.resume_later(*this);  // with what came behind the request
}

void Connection::feed_tunnel(char* data, std::size_t size) noexcept {
  if (FASTERAPI_UNLIKELY(inbox_ != nullptr)) {
    auto inbox = std::move(inbox_);
    tunnel_->on_data(inbox->bytes.data() + inbox->taken, inbox->bytes.size() - inbox->taken);
    if (!stream_.open() || phase_ != Phase::tunnel) return;
  }
  if (size) return tunnel_->on_data(data, size);
  tunnel_->on_resumed();
}

void Connection::count_protocol_error() noexcept { ++server_.counters_.protocol_errors; }

bool Transaction::upgrade(std::span<const HeaderField> fields, std::unique_ptr<Tunnel> tunnel) noexcept {
  if (state_ != State::waiting || !reachable()) return false;
  status_ = 101;
  try {
    HeadTemplate template_ = server_->make_head(101, {}, fields);
    core::OutBuffer& out = connection_->stream_.out();
    out.append(template_.fields());
    out.append(server_->head_tail());
  } catch (const std::bad_alloc&) {
    connection_->out_of_memory();
    return false;
  }
  persistence_ = Persistence::close;  // no request follows
  connection_->tunnel_ = std::move(tunnel);
  connection_->tunnel_->on_open(*connection_);
  complete();
  return true;
}

}  // namespace fasterapi::http
