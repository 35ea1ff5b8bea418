// One file because the state machine reads top to bottom: input, framing, dispatch, end of an answer, timers.
#include "connection.hpp"

#include "body_stream.hpp"
#include "peer.hpp"
#include "upload.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/server.hpp>

#include "inbox.hpp"

namespace fasterapi::http {
namespace {

using core::Nanos;
constexpr Nanos kLingerTime = 2 * kSecond;       // for the client to read an error answer
constexpr std::size_t kInboxBytes = 64 * 1024;   // pipelined input that waits before reading pauses
constexpr std::size_t kBodyReserve = 64 * 1024;  // announced lengths are not believed beyond this

constexpr ParseError kHeaderTimeout{408, "http.header_timeout",
                                    "The request head did not arrive within header_timeout_ms."};

std::size_t count_heads(std::string_view bytes, std::size_t enough) noexcept {
  std::size_t count = 0;
  for (std::size_t at = 0; count < enough && (at = bytes.find("\r\n\r\n", at)) != bytes.npos; at += 4) ++count;
  return count;
}

}  // namespace

Connection::Connection(Server& server)
    : server_(server), stream_(server.reactor(), *this), timer_(&Connection::timer_fired, this) {}

Connection::~Connection() {
  if (tunnel_) tunnel_->on_closed(0);
}

bool Connection::start(int fd) noexcept {
  since_ = server_.reactor().now();
  if (FASTERAPI_UNLIKELY(server_.secure())) return start_tls(fd);
  if (stream_.adopt(fd) != 0) return false;
  if (FASTERAPI_UNLIKELY(server_.options().proxy_protocol != nullptr) && expects_proxy_header())
    phase_ = Phase::proxy;
  arm(since_ + static_cast<Nanos>(server_.limits().header_timeout_ms) * kMillisecond);
  return true;
}

// ---------------------------------------------------------------- input

void Connection::on_data(char* data, std::size_t size) noexcept {
  received_ = true;
  if (FASTERAPI_UNLIKELY(phase_ >= Phase::discard) && !take_rare(data, size)) return;
  if (FASTERAPI_UNLIKELY(closing_)) return;
  try {
    if (FASTERAPI_UNLIKELY(active_ != nullptr || blocked())) {
      if (active_ && upload_) {
        std::size_t used = feed(data, size);
        if (used == size || !stream_.open() || closing_) return;
        data += used;
        size -= used;
      }
      if (active_ || blocked()) {  // else the end of the body made its handler answer
        stash(data, size);
        if (inbox_->rest().size() >= kInboxBytes ||
            count_heads(inbox_->rest(), server_.limits().max_pipelined) >= server_.limits().max_pipelined)
          stream_.pause_reading();
        return;
      }
    }
    processing_ = true;
    if (FASTERAPI_UNLIKELY(inbox_ != nullptr)) {
      stash(data, size);
      process_inbox();
    } else {
      std::size_t used = process(data, size);
      if (FASTERAPI_UNLIKELY(used < size && stream_.open() && phase_ != Phase::linger && !closing_))
        stash(data + used, size - used);
    }
  } catch (const std::bad_alloc&) {
    out_of_memory();
  }
  processing_ = false;
  after_input();
}

void Connection::stash(const char* data, std::size_t size) {
  if (!inbox_) inbox_ = std::make_unique<Inbox>();
  if (inbox_->taken) {
    inbox_->bytes.erase_front(inbox_->taken);
    inbox_->taken = 0;
  }
  inbox_->bytes.reserve(size + kReadPadding);
  inbox_->bytes.append({data, size});
}

void Connection::process_inbox() {
  auto inbox = std::move(inbox_);  // ours while handlers run: a refusal drops what waits
  std::string_view rest = inbox->rest();
  std::size_t used = process(rest.data(), rest.size());
  if (used == rest.size() || !stream_.open() || phase_ == Phase::linger || closing_) return;
  inbox->taken += used;
  inbox_ = std::move(inbox);
}

std::size_t Connection::process(const char* data, std::size_t size) {
  std::size_t at = 0;
  while (at < size) {
    if (phase_ != Phase::body) {
      if (!incoming_) {
        incoming_ = server_.acquire();
        incoming_->connection_ = this;
      }
      ParseResult result = parse_request(data + at, size - at, server_.limits(), incoming_->head, memo_);
      if (FASTERAPI_UNLIKELY(!result.complete())) {
        if (result.failed()) {
          refuse(*result.error);
          return size;
        }
        if (phase_ != Phase::head) {
          phase_ = Phase::head;
          since_ = server_.reactor().now();
          arm(since_ + static_cast<Nanos>(server_.limits().header_timeout_ms) * kMillisecond);
        }
        return at;
      }
      at += result.consumed;
      if (FASTERAPI_UNLIKELY(!begin_request())) return size;
    }
    if (phase_ == Phase::body) {
      bool complete = false;
      at += read_body(data + at, size - at, complete);
      if (!stream_.open() || phase_ == Phase::linger) return size;
      if (!complete) {
        if (FASTERAPI_UNLIKELY(streams())) {
          if (eof_) {  // it will never be complete
            closing_ = true;
            return size;
          }
          dispatch_upload();
        }
        return at;
      }
      if (FASTERAPI_UNLIKELY(server_.options_.decode_requests) && !decode_body()) return size;
    }
    if (!dispatch()) return at;
    if (FASTERAPI_UNLIKELY(at < size && blocked())) return at;
  }
  return at;
}

// ---------------------------------------------------------------- framing

bool Connection::begin_request() {
  Transaction& tx = *incoming_;
  RequestHead& head = tx.head;
  tx.route_ = server_.route_for(tx);
  if (FASTERAPI_UNLIKELY(server_.guard_ != nullptr)) server_.admit(tx);
  if (FASTERAPI_LIKELY(!head.has_body())) {
    if (FASTERAPI_UNLIKELY(head.expect_continue | head.upgrade)) unusual_request(tx);
    phase_ = Phase::running;
    return true;
  }
  if (head.content_length > max_body(tx)) {
    refuse(kBodyTooLarge);
    return false;
  }
  phase_ = Phase::body;
  since_ = server_.reactor().now();
  if (head.chunked) upload_ = std::make_unique<Upload>();
  return true;
}

std::size_t Connection::read_body(const char* data, std::size_t size, bool& complete) {
  Transaction& tx = *incoming_;
  bool first = !tx.owned();
  if (!tx.head.chunked) {
    if (first && size >= tx.head.content_length) {  // the usual case: no copy
      tx.body_ = {data, static_cast<std::size_t>(tx.head.content_length)};
      complete = true;
      return tx.body_.size();
    }
    if (first) {
      tx.own();
      tx.storage_.reserve(std::min<std::size_t>(tx.head.content_length, kBodyReserve) + kReadPadding);
    }
    std::size_t have = tx.storage_.size() - tx.stored_head_;
    std::size_t take = std::min<std::uint64_t>(size, tx.head.content_length - have);
    tx.storage_.append({data, take});
    complete = have + take == tx.head.content_length;
    size = take;
  } else {
    if (first) tx.own();
    std::uint64_t allowed = max_body(tx);
    std::size_t at = 0;
    for (;;) {
      auto step = upload_->decoder.next(data + at, size - at, server_.limits());
      at += step.consumed;
      if (step.kind == ChunkedDecoder::Step::Kind::data) {
        if (upload_->decoder.total() > allowed) {
          refuse(kBodyTooLarge);
          return size;
        }
        tx.storage_.append(step.data);
        continue;
      }
      if (step.kind == ChunkedDecoder::Step::Kind::error) {
        refuse(*step.error);
        return size;
      }
      complete = step.kind == ChunkedDecoder::Step::Kind::done;
      break;
    }
    // RFC 9112 section 7.1.2 lets a sender announce more than it may send: refuse before it is buffered.
    if (!complete && upload_->decoder.remaining_in_chunk() > allowed) {
      refuse(kBodyTooLarge);
      return size;
    }
    size = at;
  }
  if (complete) {
    tx.storage_.reserve(kReadPadding);
    tx.rebase();
    tx.body_ = tx.storage_.view().substr(tx.stored_head_);
    upload_.reset();
    return size;
  }
  if (first && !streams()) {
    if (tx.head.expect_continue && size == 0) stream_.out().append(kContinue);  // RFC 9110 section 10.1.1
    arm(since_ + static_cast<Nanos>(server_.limits().body_grace_ms) * kMillisecond);
  }
  return size;
}

// ---------------------------------------------------------------- dispatch

bool Connection::dispatch() {
  Transaction& tx = *incoming_;
  incoming_ = nullptr;
  active_ = &tx;
  phase_ = Phase::running;
  ++server_.counters_.requests;
  tx.persistence_ = FASTERAPI_UNLIKELY(!tx.head.keep_alive || eof_ || server_.draining_) ? Persistence::close
                    : FASTERAPI_LIKELY(tx.head.minor_version)                            ? Persistence::implied
                                                                                         : Persistence::keep_alive;
  if (server_.access_log_) {
    timespec clock{};
    ::clock_gettime(CLOCK_MONOTONIC, &clock);
    tx.begun_ = static_cast<Nanos>(clock.tv_sec) * kSecond + clock.tv_nsec;
    (void)tx.client();
  }
  dispatching_ = true;
  if (FASTERAPI_LIKELY(tx.route_ != nullptr))
    tx.route_->handler->handle(tx);
  else
    server_.answer_unmatched(tx);
  dispatching_ = false;
  if (FASTERAPI_UNLIKELY(!stream_.open())) {
    // Closed from within (out of memory, a handler that aborted): on_closed() settles the rest.
    return false;
  }
  if (FASTERAPI_LIKELY(tx.answered())) {
    bool last = tx.persistence_ == Persistence::close;
    if (FASTERAPI_UNLIKELY(tx.references() > 1)) {  // somebody keeps the request
      tx.own();
      if (upload_) tx.body_ended(BodyState::gone);
    }
    release_active();
    if (FASTERAPI_UNLIKELY(last)) {
      if (tunnel_)
        open_tunnel();
      else
        closing_ = true;
      return false;
    }
    return true;
  }
  if (FASTERAPI_UNLIKELY(tx.references() == 1)) {  // nobody is left who could answer
    dispatching_ = true;
    tx.started() ? tx.abort() : tx.respond_error(500, "Internal Server Error");
    dispatching_ = false;
    if (!stream_.open()) return false;
    bool last = tx.persistence_ == Persistence::close;
    release_active();
    closing_ = last;
    return !last;
  }
  tx.own();
  since_ = server_.reactor().now();
  return false;
}

void Connection::release_active() noexcept {
  Transaction* tx = active_;
  active_ = nullptr;
  phase_ = Phase::idle;
  tx->drop_connection();
  tx->release();
}

void Connection::after_input() noexcept {
  if (!stream_.open()) return;
  flush();
  if (!stream_.open() || phase_ == Phase::linger) return;
  if (FASTERAPI_UNLIKELY(closing_)) return end_after_flush();
  if (phase_ == Phase::idle) {
    since_ = server_.reactor().now();
    arm(since_ + static_cast<Nanos>(server_.limits().keep_alive_ms) * kMillisecond);     // a compare, mostly
    if (FASTERAPI_UNLIKELY(inbox_ && stream_.unsent())) return stream_.pause_reading();  // until on_drained()
    if (FASTERAPI_UNLIKELY(server_.draining_ && !inbox_)) return retire();
  }
  if (FASTERAPI_UNLIKELY(eof_ && !active_ && !(inbox_ && stream_.unsent()))) stream_.close_when_sent();
}

bool Connection::blocked() noexcept {
  // A pipelining client that does not read its answers gets no further ones computed.
  std::size_t limit = server_.limits().max_unsent_bytes;
  if (FASTERAPI_UNLIKELY(stream_.unsent() > 0)) return stream_.unsent() > limit;
  if (processing_ && stream_.out().size() > limit) {
    stream_.flush();
    return stream_.open() ? stream_.unsent() > limit : true;
  }
  return false;
}

void Connection::flush() noexcept {
  stream_.flush();
  if (FASTERAPI_LIKELY(stream_.unsent() == 0)) {
    stalled_since_ = 0;
    return;
  }
  if (stalled_since_ == 0) {
    stalled_since_ = server_.reactor().now();
    stalled_at_ = stream_.taken_late();
    arm(stalled_since_ + static_cast<Nanos>(server_.limits().write_stall_ms) * kMillisecond);
  }
}

// ---------------------------------------------------------------- end of an answer

void Connection::answered(Transaction& transaction) noexcept {
  if (dispatching_) return;  // dispatch() goes on by itself
  bool last = transaction.persistence_ == Persistence::close;
  if (FASTERAPI_UNLIKELY(upload_ != nullptr) && transaction.body_state() == BodyState::open)
    transaction.body_ended(BodyState::gone);
  release_active();
  flush();
  if (!stream_.open()) return;
  if (FASTERAPI_UNLIKELY(upload_ != nullptr) && !last) return start_discard();
  since_ = server_.reactor().now();
  arm(since_ + static_cast<Nanos>(server_.limits().keep_alive_ms) * kMillisecond);
  if (last) {
    if (tunnel_) return open_tunnel();
    closing_ = true;
    return end_after_flush();
  }
  if (FASTERAPI_UNLIKELY(server_.draining_ && !inbox_)) retire();
  if (closing_) return;
  if (inbox_) return server_.resume_later(*this);  // not from within whatever finished the answer
  if (eof_) return stream_.close_when_sent();
  if (!stream_.reading()) stream_.resume_reading();
}

void Connection::resume() noexcept {
  queued_ = false;
  if (phase_ == Phase::tunnel) return feed_tunnel(nullptr, 0);
  if (active_ || closing_ || phase_ == Phase::linger || !stream_.open()) return;
  if (inbox_ && !blocked()) {
    processing_ = true;
    try {
      process_inbox();
    } catch (const std::bad_alloc&) {
      out_of_memory();
    }
    processing_ = false;
    after_input();
    if (!stream_.open() || closing_ || phase_ == Phase::linger) return;
  }
  if (!stream_.reading() && !eof_ && (!inbox_ || inbox_->rest().size() < kInboxBytes) && !stream_.unsent())
    stream_.resume_reading();
}

void Connection::end_after_flush() noexcept {
  // Bytes that were received but not read would make the kernel reset the connection, and the answer with it.
  if (inbox_ || incoming_ || upload_) return linger();
  stream_.close_when_sent();
  if (stream_.open())
    arm(server_.reactor().now() + static_cast<Nanos>(server_.limits().write_stall_ms) * kMillisecond);
}

void Connection::linger() noexcept {
  closing_ = true;
  phase_ = Phase::linger;
  inbox_.reset();
  upload_.reset();
  if (incoming_) {
    incoming_->drop_connection();
    incoming_->release();
    incoming_ = nullptr;
  }
  flush();
  if (!stream_.open()) return;
  stream_.shutdown_write();
  if (!stream_.open()) return;
  if (eof_) return stream_.close_when_sent();
  if (!stream_.reading()) stream_.resume_reading();
  since_ = server_.reactor().now();
  arm(since_ + kLingerTime);
}

void Connection::refuse(const ParseError& error) noexcept { refuse(error.status, error.code, error.text); }

void Connection::refuse(int status, const char* code, const char* text) noexcept {
  ++server_.counters_.protocol_errors;
  try {
    std::string body = std::string("{\"detail\":\"") + text + "\",\"code\":\"" + code + "\"}";
    HeadTemplate head = server_.make_head(status, "application/json");
    core::OutBuffer& out = stream_.out();
    char* at = out.reserve(head.max_size() + body.size());
    at = head.write(at, body.size(), Persistence::close, server_.head_tail());
    bool bodyless = incoming_ && incoming_->head.method == Method::head;
    if (!bodyless) {
      std::memcpy(at, body.data(), body.size());
      at += body.size();
    }
    out.commit(at);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  linger();
}

void Connection::out_of_memory() noexcept { abort(ENOMEM); }

// ---------------------------------------------------------------- the client leaves, the server stops

void Connection::on_eof() noexcept {
  eof_ = true;
  if (phase_ == Phase::linger) return stream_.close_when_sent();
  if (phase_ == Phase::tunnel) return tunnel_->on_eof();
  if (active_) {
    // A FIN looks the same for "I have sent everything" and "I have gone". A handler that waits is cancelled;
    // who cannot be cancelled (threads) still gets its answer out.
    if (!active_->half_close_ || upload_) {
      disconnect_active();
      stream_.close();
    }
    return;
  }
  upload_.reset();
  if (inbox_ && stream_.unsent()) return;  // pipelined requests that wait for the client to read: on_drained()
  closing_ = true;
  stream_.close_when_sent();
}

void Connection::on_drained() noexcept {
  stalled_since_ = 0;
  if (phase_ == Phase::tunnel) return tunnel_->on_drained();
  if (active_) {
    if (active_->drained_) active_->drained_(active_->drained_arg_);
    return;
  }
  if (phase_ == Phase::linger) {
    since_ = server_.reactor().now();
    arm(since_ + kLingerTime);
  } else if (!closing_) {
    server_.resume_later(*this);
  }
}

void Connection::disconnect_active() noexcept {
  if (!active_) return;
  Transaction* tx = active_;
  active_ = nullptr;
  upload_.reset();
  tx->drop_connection();
  if (tx->stream_ && tx->body_state() == BodyState::open) tx->body_ended(BodyState::gone);
  auto fn = std::exchange(tx->disconnect_, nullptr);
  tx->drained_ = nullptr;
  if (fn) fn(tx->disconnect_arg_);
  tx->release();
}

void Connection::on_closed(int error) noexcept {
  if (FASTERAPI_UNLIKELY(phase_ == Phase::handshake)) handshake_failed(error);
  phase_ = Phase::closed;
  if (auto tunnel = std::move(tunnel_)) tunnel->on_closed(error);
  disconnect_active();
  if (incoming_) {
    incoming_->drop_connection();
    incoming_->release();
    incoming_ = nullptr;
  }
  server_.reclaim(*this);  // deletes this
}

void Connection::drain() noexcept {
  if (phase_ == Phase::tunnel) return tunnel_->on_server_drain();
  if (active_ || incoming_ || inbox_ || processing_) {
    if (active_ && !active_->started()) active_->close_after();
    return;
  }
  if (closing_ || phase_ == Phase::linger) return;
  retire();
}

void Connection::retire() noexcept {
  Nanos grace = server_.idle_grace_;
  if (grace == 0) {
    closing_ = true;
    return end_after_flush();
  }
  // Serial numbers are spread over the second half of the grace, so that clients do not all come back at once.
  grace =
      grace / 2 + static_cast<Nanos>(serial_ * 0x9E3779B97F4A7C15ull % static_cast<std::uint64_t>(grace / 2 + 1));
  const Limits& limits = server_.limits();
  Nanos patience = static_cast<Nanos>(received_ ? limits.keep_alive_ms : limits.header_timeout_ms) * kMillisecond;
  since_ = server_.reactor().now() + grace - patience;  // due in `grace`
  arm(since_ + patience);
}

void Connection::abort(int error) noexcept { stream_.close(error); }

// ---------------------------------------------------------------- time

void Connection::arm(Nanos deadline) noexcept {
  if (!timer_.armed() || timer_.deadline() > deadline) server_.reactor().arm(timer_, deadline);
}

void Connection::timer_fired(void* self) noexcept { static_cast<Connection*>(self)->on_timer(); }

void Connection::on_timer() noexcept {
  if (!stream_.open()) return;
  const Limits& limits = server_.limits();
  Nanos now = server_.reactor().now();
  Nanos next = now + static_cast<Nanos>(limits.keep_alive_ms) * kMillisecond;
  auto due = [&](Nanos deadline) {
    if (now >= deadline) return true;
    next = std::min(next, deadline);
    return false;
  };
  if (stream_.unsent()) {
    const Nanos patience = static_cast<Nanos>(limits.write_stall_ms) * kMillisecond;
    if (stalled_since_ && now >= stalled_since_ + patience) {
      const std::int64_t taken = stream_.taken_late();
      if (taken - stalled_at_ < static_cast<std::int64_t>(limits.write_window_bytes)) {
        ++server_.counters_.timeouts;
        return abort(ETIMEDOUT);
      }
      stalled_since_ = now;
      stalled_at_ = taken;
    }
    if (stalled_since_ == 0) {
      stalled_since_ = now;
      stalled_at_ = stream_.taken_late();
    }
    next = std::min(next, stalled_since_ + patience);
  }
  switch (phase_) {
    case Phase::handshake:
      if (due(since_ + static_cast<Nanos>(limits.tls_handshake_timeout_ms) * kMillisecond)) {
        ++server_.counters_.timeouts;
        return abort(ETIMEDOUT);
      }
      break;
    case Phase::idle: {
      auto patience = received_ ? limits.keep_alive_ms : limits.header_timeout_ms;
      if (!stream_.unsent() && !inbox_ && due(since_ + static_cast<Nanos>(patience) * kMillisecond)) {
        closing_ = true;
        return stream_.close_when_sent();
      }
      break;
    }
    case Phase::proxy:
      if (due(since_ + static_cast<Nanos>(limits.header_timeout_ms) * kMillisecond)) {
        ++server_.counters_.timeouts;
        return stream_.close();
      }
      break;
    case Phase::head:
      if (due(since_ + static_cast<Nanos>(limits.header_timeout_ms) * kMillisecond)) {
        ++server_.counters_.timeouts;
        return refuse(kHeaderTimeout);
      }
      break;
    case Phase::body: {
      Nanos grace = static_cast<Nanos>(limits.body_grace_ms) * kMillisecond;
      Nanos elapsed = now - since_;
      if (elapsed >= grace && incoming_) {
        auto received = static_cast<double>(incoming_->storage_.size() - incoming_->stored_head_);
        if (received < static_cast<double>(elapsed - grace) / 1e9 *
                           static_cast<double>(limits.min_body_bytes_per_second) ||
            (received == 0 && limits.min_body_bytes_per_second)) {
          ++server_.counters_.timeouts;
          return refuse(kBodyTimeout);
        }
      }
      next = std::min(next, now + kSecond);
      break;
    }
    case Phase::linger:
      // The clock starts when the answers are sent: who still reads them is not cut off (write_stall_ms above is).
      if (!stream_.unsent() && due(since_ + kLingerTime)) return stream_.close();
      break;
    case Phase::running:
      if (upload_) {
        if (upload_too_slow(now)) {
          ++server_.counters_.timeouts;
          fail_upload(kBodyTimeout);
          break;
        }
        next = std::min(next, now + kSecond);
      }
      break;
    case Phase::discard:
      if (due(since_ + static_cast<Nanos>(limits.body_grace_ms) * kMillisecond)) {
        ++server_.counters_.timeouts;
        return abort(ETIMEDOUT);
      }
      break;
    case Phase::tunnel:
      if (!stream_.unsent()) return;  // flush() arms it again
      break;
    case Phase::closed: break;
  }
  if (stream_.open()) arm(next);
}

}  // namespace fasterapi::http
