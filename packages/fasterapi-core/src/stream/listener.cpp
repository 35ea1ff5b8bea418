#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include <fasterapi/core/stream.hpp>

namespace fasterapi::core {
namespace {

constexpr int kAcceptsPerTurn = 64;              // then others get their turn
constexpr Nanos kExhaustedPause = 100'000'000;   // out of descriptors: accepting again sooner would spin

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
  int error = reactor_.add(fd_, kReadable, this);
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
  if (listener->started_) listener->reactor_.modify(listener->fd_, kReadable);
}

void Listener::on_io(unsigned) noexcept {
  for (int i = 0; i < kAcceptsPerTurn && started_; ++i) {
    int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accept_(arg_, fd);
      continue;
    }
    switch (errno) {
      case EINTR:
      case ECONNABORTED:  // that client has left already
        continue;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        reactor_.modify(fd_, 0);
        reactor_.arm_after(retry_, kExhaustedPause);
        return;
      default:
        return;
    }
  }
}

}  // namespace fasterapi::core
