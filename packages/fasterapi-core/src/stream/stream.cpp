#include <fasterapi/core/stream.hpp>

#include <cerrno>
#include <cstring>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/tls.hpp>

#include "log/core_log.hpp"
#include "socket_calls.hpp"
#include "tail.hpp"

namespace fasterapi::core {
namespace {

constexpr int kReadsPerEvent = 4;              // a fast sender does not starve the others
constexpr std::size_t kTlsRecord = 16 * 1024;  // what a TLS record carries at most
// Under TLS the read scratch has two parts: here the plain text, behind it the ciphertext that it is made from.
constexpr std::size_t kTlsPlain = 64 * 1024;
// Alerts and key updates that may wait for a peer that does not read.
constexpr std::size_t kTlsAnswers = 64 * 1024;
constexpr std::size_t kKeepScratch = 1 << 20;  // scratch memory that one large response may leave behind

// Bytes handed over by the backend where it does that, else readiness.
unsigned input_interest(const Reactor& reactor) noexcept {
  return reactor.completions() & kReceive ? kReceive : kReadable;
}

/// Ciphertext on its way into the socket; empty but within one call.
OutBuffer& tls_scratch() noexcept {
  static thread_local OutBuffer scratch;
  return scratch;
}

}  // namespace

Stream::Stream(Reactor& reactor, StreamHandler& handler) noexcept
    : reactor_(reactor),
      handler_(handler),
      closed_(
          [](void* self) noexcept {
            auto* stream = static_cast<Stream*>(self);
            stream->handler_.on_closed(stream->error_);  // may delete the stream
          },
          this),
      decrypt_([](void* self) noexcept { static_cast<Stream*>(self)->pump_tls_in(nullptr, 0); }, this) {
  reactor_.retain();
}

Stream::~Stream() {
  tail_.reset();  // its timer is the reactor's
  if (reactor_.scratch_owner() == this) {
    reactor_.scratch().clear();
    reactor_.scratch_owner() = nullptr;
  }
  if (fd_ >= 0) {
    reactor_.remove(fd_);
    net::close(fd_);
  }
  reactor_.release();
}

int Stream::adopt(int fd) noexcept {
  const unsigned interest = input_interest(reactor_);
  int error = reactor_.add(fd, interest, this);
  if (error) {
    net::close(fd);
    return error;
  }
  net::set_no_delay(fd);
  fd_ = fd;
  interest_ = interest;
  FASTERAPI_LOG_DEBUG(core_log(), "connection on descriptor %d accepted", fd);
  return 0;
}

int Stream::connect(const sockaddr* address, unsigned length) noexcept {
  const int fd = net::open_stream(address->sa_family);
  if (fd < 0) return -fd;
  const bool completes = reactor_.completions() & kConnect;
  int error = 0;
  if (!completes) {
    // A UNIX socket whose backlog is full says EAGAIN; a TCP one may refuse at once.
    error = -net::connect(fd, address, length);
    if (error == EINPROGRESS) error = 0;
  }
  if (!error) error = reactor_.add(fd, completes ? 0 : kWritable, this);
  if (!error && completes && (error = reactor_.connect(fd, address, length))) reactor_.remove(fd);
  if (error) {
    net::close(fd);
    return error;
  }
  if (address->sa_family != AF_UNIX) net::set_no_delay(fd);
  fd_ = fd;
  interest_ = completes ? 0 : kWritable;
  connecting_ = true;
  FASTERAPI_LOG_DEBUG(core_log(), "connection on descriptor %d begun", fd);
  return 0;
}

int Stream::start_tls(std::shared_ptr<TlsContext> context, std::string_view host) noexcept {
  if (tls_ || fd_ < 0 || connecting_) return EINVAL;
  try {
    try {
      tls_ = std::make_unique<TlsSession>(std::move(context), host);
    } catch (const Error& error) {
      tls_error_ = std::make_unique<std::string>(error.what());
      return EPROTO;
    }
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  pump_tls_in(nullptr, 0);  // the client speaks first
  return 0;
}

// ---------------------------------------------------------------- output

OutBuffer& Stream::out() {
  if (plain_) return *plain_;
  if (pending_ && !tls_) return *pending_;
  Stream*& owner = reactor_.scratch_owner();
  if (FASTERAPI_LIKELY(owner == nullptr)) owner = this;
  if (owner == this) return reactor_.scratch();
  std::unique_ptr<OutBuffer>& own = tls_ ? plain_ : pending_;
  own = std::make_unique<OutBuffer>();  // somebody else is between out() and flush()
  return *own;
}

std::size_t Stream::send_some(const char* data, std::size_t size) noexcept {
  if (size == 0) return 0;
  const net::Length sent = net::send(fd_, data, size);
  if (FASTERAPI_LIKELY(sent >= 0)) return static_cast<std::size_t>(sent);
  if (!net::would_block(sent)) close(static_cast<int>(-sent));
  return 0;
}

void Stream::keep(std::string_view unsent) noexcept {
  try {
    if (FASTERAPI_UNLIKELY(tail_ != nullptr) && !tail_->pumping) return plain_->append(unsent);
    if (!pending_) pending_ = std::make_unique<OutBuffer>();
    pending_->append(unsent);
  } catch (const std::bad_alloc&) {
    close(ENOMEM);
  }
}

void Stream::flush() noexcept { flush_with({}); }

void Stream::flush_with(std::string_view body) noexcept {
  Stream*& owner = reactor_.scratch_owner();
  OutBuffer* scratch = owner == this ? &reactor_.scratch() : nullptr;
  if (fd_ < 0 || connecting_ || (shutdown_ && !(tail_ && tail_->pumping))) {
    if (fd_ >= 0 && connecting_) {  // goes out once connected
      if (scratch) keep(scratch->view());
      if (!body.empty()) keep(body);
    }
  } else if (FASTERAPI_UNLIKELY(tail_ != nullptr) && !tail_->pumping) {
    if (!body.empty()) keep(body);
  } else if (tls_) {
    // A short body travels in the record of its head.
    if (scratch && !body.empty() && scratch->size() + body.size() <= kTlsRecord) {
      try {
        scratch->append(body);
        body = {};
      } catch (const std::bad_alloc&) {  // then in one of its own
      }
    }
    std::string_view head = scratch ? scratch->view() : plain_ ? plain_->view() : std::string_view{};
    const bool sent = tls_step([&](OutBuffer& cipher) {
      tls_->write(head, cipher);
      tls_->write(body, cipher);
    });
    plain_.reset();
    if (scratch) {
      scratch->clear();
      scratch->shrink(kKeepScratch);
      owner = nullptr;
    }
    if (sent) update_interest();
    return;
  } else if (pending_) {
    if (!body.empty()) keep(body);
    if (!(interest_ & kWritable)) write_ready();
  } else if (scratch && !scratch->empty()) {
    std::size_t head = scratch->size(), sent;
    if (body.empty()) {
      sent = send_some(scratch->data(), head);
    } else {
      const net::Length n = net::send(fd_, scratch->view(), body);
      if (n < 0 && !net::would_block(n)) close(static_cast<int>(-n));
      sent = n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    if (fd_ >= 0 && sent < head + body.size()) {
      if (sent < head) keep(scratch->view().substr(sent));
      keep(body.substr(sent > head ? sent - head : 0));
    }
  } else if (!body.empty()) {
    std::size_t sent = send_some(body.data(), body.size());
    if (fd_ >= 0 && sent < body.size()) keep(body.substr(sent));
  }
  if (scratch) {
    scratch->clear();
    scratch->shrink(kKeepScratch);
    owner = nullptr;
  }
  if (pending_ && fd_ >= 0) update_interest();
}

void Stream::write_ready() noexcept {
  if (!pending_) return;
  std::size_t sent = send_some(pending_->data(), pending_->size());
  if (fd_ < 0) return;
  handed_late_ += static_cast<std::int64_t>(sent);
  if (sent < pending_->size()) {
    pending_->erase_front(sent);
    return;
  }
  pending_.reset();
  tls_answers_ = 0;
  if (tail_ && !tail_->pumping) pump_tail();
}

// Runs something that makes ciphertext and sends that. False when the stream is closed afterwards.
template <class Step>
bool Stream::tls_step(Step step) noexcept {
  OutBuffer& cipher = pending_ ? *pending_ : tls_scratch();
  try {
    step(cipher);
  } catch (const std::bad_alloc&) {
    if (!pending_) cipher.clear();
    close(ENOMEM);
    return false;
  }
  if (pending_) {
    if (!(interest_ & kWritable)) write_ready();
    return fd_ >= 0;
  }
  if (cipher.empty()) return true;
  const std::size_t sent = send_some(cipher.data(), cipher.size());
  if (fd_ >= 0 && sent < cipher.size()) keep(cipher.view().substr(sent));
  cipher.clear();
  cipher.shrink(kKeepScratch);
  return fd_ >= 0;
}

void Stream::say_close_notify() noexcept {
  if (tls_step([this](OutBuffer& cipher) { tls_->close_notify(cipher); })) update_interest();
}

// ---------------------------------------------------------------- input

// In line: both ways in pass here for every piece.
[[gnu::always_inline]] inline void Stream::received(char* data, std::size_t size) noexcept {
  if (FASTERAPI_UNLIKELY(tls_ != nullptr))
    pump_tls_in(data, size);
  else
    handler_.on_data(data, size);
}

void Stream::on_io(unsigned events) noexcept {
  if (connecting_) return connected(net::take_error(fd_));
  if (events & kWritable) {
    bool waiting = pending_ != nullptr;
    write_ready();
    if (fd_ < 0) return;
    if (waiting && !pending_) {
      sent_all();
      if (fd_ < 0) return;
    }
  }
  if (events & kReadable) return read_ready();
  if (events & kHangup) {
    // What the peer sent before leaving comes first, then its end or error; a backend that receives by itself
    // is about to hand both over.
    if (reading_ && !eof_) return interest_ & kReceive ? void() : read_ready();
    int error = net::take_error(fd_);
    close(error ? error : ECONNRESET);
  }
}

void Stream::on_complete(const Completion& completion) noexcept {
  if (completion.kind == kConnect) return connected(-completion.result);
  if (FASTERAPI_LIKELY(completion.result > 0)) {
    return received(completion.data, static_cast<std::size_t>(completion.result));
  }
  return completion.result == 0 ? ended() : close(-completion.result);
}

void Stream::connected(int error) noexcept {
  if (error) return close(error);
  connecting_ = false;
  update_interest();
  handler_.on_connected();
  if (fd_ >= 0 && pending_) flush();
}

void Stream::sent_all() noexcept {
  if (closing_) return close(0);
  if (shutdown_) net::shutdown_write(fd_);
  update_interest();
  handler_.on_drained();
}

void Stream::read_ready() noexcept {
  for (int i = 0; i < kReadsPerEvent; ++i) {
    const std::size_t offset = FASTERAPI_UNLIKELY(tls_ != nullptr) ? kTlsPlain : 0;
    const std::size_t room = Reactor::kReadScratch - offset;
    char* buffer = reactor_.read_scratch() + offset;
    const net::Length got = net::recv(fd_, buffer, room);
    if (FASTERAPI_LIKELY(got > 0)) {
      received(buffer, static_cast<std::size_t>(got));
      if (fd_ < 0 || !reading_ || static_cast<std::size_t>(got) < room) return;
      continue;
    }
    if (got == 0) return ended();
    if (!net::would_block(got)) close(static_cast<int>(-got));
    return;
  }
}

void Stream::ended() noexcept {
  if (eof_) return;
  if (tls_) {  // an end that no close_notify announced is a truncation
    tls_->feed_eof();
    return pump_tls_in(nullptr, 0);
  }
  eof_ = true;
  update_interest();
  handler_.on_eof();
}

// `data` is decrypted in place: it must not lie in the first kTlsPlain bytes of the read scratch.
void Stream::pump_tls_in(const char* data, std::size_t size) noexcept {
  if (fd_ < 0 || !tls_) return;
  try {
    if (size) tls_->feed({data, size});
    decrypt();
    tls_->settle();  // a paused stream keeps what it has not read
  } catch (const std::bad_alloc&) {
    close(ENOMEM);
  }
}

void Stream::decrypt() noexcept {
  using Status = TlsSession::Status;
  Status status = Status::ok;
  if (!tls_->handshake_done()) {
    if (!tls_step([&](OutBuffer& cipher) { status = tls_->handshake(cipher); })) return;
    update_interest();
    if (status == Status::failed) return close(EPROTO);
    if (status != Status::ok) return;
    handler_.on_connected();
  }
  char* plain = reactor_.read_scratch();
  while (fd_ >= 0 && reading_ && !eof_) {
    std::size_t got = 0;
    const std::size_t before = unsent();
    if (!tls_step([&](OutBuffer& cipher) {
          status = tls_->read(plain, kTlsPlain - Reactor::kReadPadding, got, cipher);
        })) {
      return;
    }
    if (FASTERAPI_UNLIKELY(unsent() > before)) {  // answers of TLS itself, to key updates and the like
      tls_answers_ += static_cast<std::uint32_t>(unsent() - before);
      if (tls_answers_ > kTlsAnswers) return flooded();
      update_interest();
    }
    if (got) {
      handler_.on_data(plain, got);
      continue;
    }
    if (status == Status::failed) return close(EPROTO);  // the alert that says why is sent
    if (status == Status::closed) {
      eof_ = true;
      update_interest();
      return handler_.on_eof();
    }
    return;
  }
}

void Stream::flooded() noexcept {
  try {
    tls_error_ = std::make_unique<std::string>("TLS: the peer asks for answers that it does not read");
  } catch (const std::bad_alloc&) {  // then without words
  }
  close(EPROTO);
}

// ---------------------------------------------------------------- state

void Stream::update_interest() noexcept {
  if (fd_ < 0 || connecting_) return;
  unsigned wanted = (reading_ && !eof_ ? input_interest(reactor_) : 0u) |
                    (pending_ && !(tail_ && tail_->disk_wait) ? kWritable : 0u);
  if (wanted == interest_) return;
  interest_ = wanted;
  if (int error = reactor_.modify(fd_, wanted)) close(error);
}

void Stream::pause_reading() noexcept {
  reading_ = false;
  update_interest();
}

void Stream::resume_reading() noexcept {
  reading_ = true;
  if (tls_ && fd_ >= 0) reactor_.defer(decrypt_);
  update_interest();
}

void Stream::shutdown_write() noexcept {
  if (fd_ < 0 || shutdown_) return;
  if (tls_ && !tail_) say_close_notify();
  if (fd_ < 0) return;
  shutdown_ = true;
  if (!pending_) net::shutdown_write(fd_);
}

void Stream::close_when_sent() noexcept {
  if (tls_ && fd_ >= 0 && !tail_) say_close_notify();
  if (pending_)
    closing_ = true;
  else
    close(0);
}

void Stream::close(int error) noexcept {
  if (fd_ < 0) return;
  FASTERAPI_LOG_DEBUG(core_log(), "connection on descriptor %d closed: %s", fd_,
                      error  ? error_text(error).c_str()
                      : eof_ ? "the peer had ended"
                             : "by this side");
  reactor_.remove(fd_);
  net::close(std::exchange(fd_, -1));
  error_ = error;
  pending_.reset();
  plain_.reset();
  tail_.reset();
  if (reactor_.scratch_owner() == this) {
    reactor_.scratch().clear();
    reactor_.scratch_owner() = nullptr;
  }
  reactor_.defer(closed_);
}

std::string Stream::error_text(int error) const {
  if (error == EPROTO && tls_error_) return *tls_error_;
  if (error == EPROTO && tls_) return "TLS: " + tls_->error();
  return std::strerror(error);
}

}  // namespace fasterapi::core
