#include "websocket/session.hpp"

#include <cerrno>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/server.hpp>

#include "connection/connection.hpp"

namespace fasterapi::http::ws {
namespace {

constexpr core::Nanos kMillisecond = 1'000'000;
constexpr std::size_t kCopied = 16 * 1024;  // larger messages go to the socket from where they are
constexpr std::size_t kKeptBatch = 2 * 1024;

FrameLimits frame_limits(const Limits& limits) noexcept {
  return {.max_message_bytes = limits.max_ws_message_bytes,
          .max_fragments = limits.max_ws_fragments,
          .max_inflate_ratio = limits.max_ws_inflate_ratio};
}

}  // namespace

Session::Session(SessionListener& listener, core::Reactor& reactor, const Limits& limits,
                 const std::optional<DeflateParams>& deflate)
    : listener_(&listener),
      reactor_(reactor),
      limits_(limits),
      decoder_(Role::server, frame_limits(limits), deflate),
      encoder_(Role::server, deflate),
      flush_([](void* self) noexcept { static_cast<Session*>(self)->flush(); }, this),
      timer_([](void* self) noexcept { static_cast<Session*>(self)->on_timer(); }, this) {}

void Session::on_open(Connection& connection) noexcept {
  connection_ = &connection;
  if (limits_.ws_ping_interval_ms) arm(limits_.ws_ping_interval_ms);
  schedule();
}

// ---------------------------------------------------------------- input

void Session::on_data(char* data, std::size_t size) noexcept {
  try {
    if (FASTERAPI_UNLIKELY(paused_ || taking_)) {
      backlog_.append({data, size});
      return;
    }
    take(data, size);
  } catch (const std::bad_alloc&) {
    out_of_memory();
  }
}

void Session::take(char* data, std::size_t size) {
  taking_ = true;
  for (std::size_t at = 0;;) {
    if (FASTERAPI_UNLIKELY(paused_)) {
      backlog_.append({data + at, size - at});
      connection_->stream().pause_reading();
      break;
    }
    std::size_t used = 0;
    Decoder::Event event = decoder_.next(data + at, size - at, used);
    at += used;
    if (event.kind == Decoder::Kind::none) break;
    handle(event);
    if (FASTERAPI_UNLIKELY(state_ == State::ended)) break;
  }
  taking_ = false;
}

void Session::handle(const Decoder::Event& event) {
  switch (event.kind) {
    case Decoder::Kind::text:
    case Decoder::Kind::binary:
      if (FASTERAPI_UNLIKELY(state_ != State::open || !listener_))
        return;  // RFC 6455 section 5.5.1: closing already
      paused_ = !listener_->on_message(event.kind == Decoder::Kind::text ? Opcode::text : Opcode::binary,
                                       event.data, event.ascii);
      return;
    case Decoder::Kind::ping: return pong(event.data);
    case Decoder::Kind::pong:
      if (ping_sent_ && event.data.size() == 4 && std::memcmp(event.data.data(), &ping_number_, 4) == 0) {
        ping_sent_ = 0;
        if (state_ == State::open) arm(limits_.ws_ping_interval_ms);
      }
      return;
    case Decoder::Kind::close:
      if (state_ == State::open) encoder_.close(batch_, event.close_code, event.data);
      return finish(event.close_code, event.data);
    case Decoder::Kind::failure: return fail(event.close_code, event.failure->text);
    case Decoder::Kind::none: return;
  }
}

void Session::on_resumed() noexcept {
  if (!paused_ && connection_ && !connection_->stream().reading()) connection_->stream().resume_reading();
}

void Session::resume() noexcept {
  if (!paused_ || taking_) return;
  paused_ = false;
  try {
    core::OutBuffer bytes = std::move(backlog_);
    if (!bytes.empty()) take(bytes.data(), bytes.size());
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  if (state_ != State::ended) on_resumed();
}

// ---------------------------------------------------------------- output

void Session::put(Opcode opcode, std::string_view payload) {
  encoder_.frame(batch_, opcode, true, false, payload);
  schedule();
}

void Session::pong(std::string_view payload) {
  if (state_ == State::ended) return;
  // RFC 6455 section 5.5.3: only the last of several pings needs an answer. A peer that pings and does not read
  // costs one pong.
  if (connection_->stream().unsent() + batch_.size() > limits_.max_unsent_bytes) {
    last_ping_.assign(payload);
    pong_due_ = true;
    return;
  }
  put(Opcode::pong, payload);
}

bool Session::send(Opcode opcode, std::string_view payload) noexcept {
  if (state_ != State::open || !connection_) return true;
  core::Stream& stream = connection_->stream();
  try {
    if (FASTERAPI_UNLIKELY(payload.size() > kCopied && !encoder_.compresses(payload.size()))) {
      encoder_.head(batch_, opcode, payload.size());
      stream.out().append(batch_.view());
      batch_.clear();
      stream.flush_with(payload);
      flush();
    } else {
      encoder_.message(batch_, opcode, payload);
      if (stream.unsent() + batch_.size() > limits_.max_unsent_bytes)
        flush();
      else
        schedule();
    }
  } catch (const std::bad_alloc&) {
    out_of_memory();
    return true;
  }
  return state_ == State::ended || stream.unsent() <= limits_.max_unsent_bytes;
}

void Session::schedule() noexcept {
  if (!flush_.pending()) reactor_.defer(flush_);
}

void Session::flush() noexcept {
  if (!connection_) return;
  if (!batch_.empty()) {
    connection_->stream().flush_with(batch_.view());
    batch_.clear();
    batch_.shrink(kKeptBatch);
  }
  connection_->flush_tunnel();
}

void Session::on_drained() noexcept {
  try {
    if (std::exchange(pong_due_, false)) put(Opcode::pong, last_ping_);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  if (state_ == State::open && listener_) listener_->on_writable();
}

// ---------------------------------------------------------------- end

void Session::tell_end(std::uint16_t code, std::string_view reason) noexcept {
  if (std::exchange(told_, true) || !listener_) return;
  listener_->on_end(code, reason);
}

void Session::close(std::uint16_t code, std::string_view reason) noexcept {
  if (state_ != State::open) return;
  try {
    encoder_.close(batch_, code, reason);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  state_ = State::closing;
  schedule();
  arm(limits_.ws_close_timeout_ms);
  resume();  // messages are dropped now, the peer's close is what counts
}

void Session::finish(std::uint16_t code, std::string_view reason) noexcept {
  state_ = State::ended;
  reactor_.cancel(timer_);
  tell_end(code, reason);
  flush();
  if (connection_ && connection_->stream().open()) connection_->linger_tunnel();
}

void Session::fail(std::uint16_t code, std::string_view reason) noexcept {
  try {
    if (state_ == State::open) encoder_.close(batch_, code, reason);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  connection_->count_protocol_error();
  finish(code, reason);
}

void Session::out_of_memory() noexcept {
  taking_ = false;
  state_ = State::ended;
  reactor_.cancel(timer_);
  tell_end(kAbnormal, {});
  if (connection_) connection_->abort(ENOMEM);
}

void Session::on_eof() noexcept {
  // RFC 6455 section 7.1.5: an end without a close frame is abnormal.
  state_ = State::ended;
  reactor_.cancel(timer_);
  tell_end(kAbnormal, {});
  connection_->stream().close();
}

void Session::on_server_drain() noexcept {
  if (state_ != State::open) return;
  close(kServiceRestart, "Service Restart");
  tell_end(kServiceRestart, "Service Restart");
}

void Session::on_closed(int) noexcept {
  state_ = State::ended;
  reactor_.cancel(timer_);
  connection_ = nullptr;
  tell_end(kAbnormal, {});
}

// ---------------------------------------------------------------- time

void Session::arm(std::uint64_t ms) noexcept {
  reactor_.arm(timer_, reactor_.now() + static_cast<core::Nanos>(ms) * kMillisecond);
}

void Session::on_timer() noexcept {
  if (state_ == State::ended || !connection_) return;
  if (state_ == State::closing) {
    tell_end(kAbnormal, {});
    return connection_->abort(ETIMEDOUT);
  }
  if (ping_sent_) {
    // While our own side is what does not read, its silence proves nothing.
    if (!paused_) return fail(kInternalError, "keepalive ping timeout");
    return arm(limits_.ws_ping_timeout_ms);
  }
  batch_.shrink(0);
  ++ping_number_;
  ping_sent_ = reactor_.now();
  try {
    put(Opcode::ping, {reinterpret_cast<const char*>(&ping_number_), 4});
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  if (limits_.ws_ping_timeout_ms)
    arm(limits_.ws_ping_timeout_ms);
  else
    ping_sent_ = 0, arm(limits_.ws_ping_interval_ms);
}

}  // namespace fasterapi::http::ws
