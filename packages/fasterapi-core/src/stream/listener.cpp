#include <cerrno>

#include <fasterapi/core/stream.hpp>

#include "socket_calls.hpp"

namespace fasterapi::core {
namespace {

constexpr int kAcceptsPerTurn = 64;             // then others get their turn
constexpr Nanos kExhaustedPause = 100'000'000;  // out of descriptors: accepting again sooner would spin

}  // namespace

Listener::Listener(Reactor& reactor, int listening_fd, Accept accept, void* arg) noexcept
    : reactor_(reactor), fd_(listening_fd), accept_(accept), arg_(arg), retry_(&Listener::resume, this) {
  reactor_.retain();
}

Listener::~Listener() {
  stop();
  reactor_.release();
}

int Listener::start() noexcept {
  if (started_) return 0;
  int error = reactor_.add(fd_, interest(), this);
  started_ = error == 0;
  return error;
}

void Listener::stop() noexcept {
  if (!started_) return;
  started_ = false;
  reactor_.cancel(retry_);
  reactor_.remove(fd_);
}

void Listener::resume(void* self) noexcept {
  auto* listener = static_cast<Listener*>(self);
  if (listener->started_) listener->reactor_.modify(listener->fd_, listener->interest());
}

unsigned Listener::interest() const noexcept { return reactor_.completions() & kAccept ? kAccept : kReadable; }

void Listener::on_io(unsigned) noexcept {
  for (int i = 0; i < kAcceptsPerTurn && started_; ++i) {
    if (!accepted(net::accept(fd_))) return;
  }
}

void Listener::on_complete(const Completion& completion) noexcept { accepted(completion.result); }

bool Listener::accepted(int fd) noexcept {
  if (fd >= 0) {
    accept_(arg_, fd);
    return true;
  }
  switch (-fd) {
    case ECONNABORTED:  // that client has left already
      return true;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      reactor_.modify(fd_, 0);
      reactor_.arm_after(retry_, kExhaustedPause);
      return false;
    default: return false;
  }
}

}  // namespace fasterapi::core
