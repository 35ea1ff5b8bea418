// Readiness through epoll, level-triggered. The wake descriptor is an eventfd with its own token.
#include "backends.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <utility>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/platform.hpp>

namespace fasterapi::core {
namespace {

constexpr int kMaxEvents = 512;

unsigned to_epoll(unsigned interest) noexcept {
  return (interest & kReadable ? EPOLLIN : 0u) | (interest & kWritable ? EPOLLOUT : 0u);
}

class EpollBackend final : public Backend {
 public:
  EpollBackend() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (epoll_ >= 0 && wake_ >= 0 && control(EPOLL_CTL_ADD, wake_, EPOLLIN, kWakeToken) == 0) return;
    int error = errno;
    close_all();
    throw Error(std::string("epoll: ") + std::strerror(error), error);
  }
  ~EpollBackend() override { close_all(); }

  const char* name() const noexcept override { return "epoll"; }
  int add(int fd, unsigned interest, std::uint64_t token) noexcept override {
    return control(EPOLL_CTL_ADD, fd, to_epoll(interest), token);
  }
  int modify(int fd, unsigned interest, std::uint64_t token) noexcept override {
    return control(EPOLL_CTL_MOD, fd, to_epoll(interest), token);
  }
  int remove(int fd) noexcept override { return control(EPOLL_CTL_DEL, fd, 0, 0); }

  int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept override {
    epoll_event ready[kMaxEvents];
    int n = poll(ready, std::min(capacity, kMaxEvents), timeout);
    if (n < 0) return -errno;
    int count = 0;
    for (int i = 0; i < n; ++i) {
      if (ready[i].data.u64 == kWakeToken) {
        std::uint64_t value;
        [[maybe_unused]] ssize_t got = ::read(wake_, &value, sizeof value);
        if (FASTERAPI_UNLIKELY(alarm_ >= 0)) got = ::read(alarm_, &value, sizeof value);
        events[count++] = {kWakeToken, 0, 0};
        continue;
      }
      unsigned e = ready[i].events;
      BackendEvent& event = events[count++];
      event.token = ready[i].data.u64;
      event.events = (e & EPOLLIN ? kReadable : 0u) | (e & EPOLLOUT ? kWritable : 0u) |
                     (e & (EPOLLHUP | EPOLLERR) ? kHangup : 0u);
    }
    return count;
  }
  void wake() noexcept override {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t put = ::write(wake_, &one, sizeof one);  // EAGAIN means a wake is already pending
  }
  int fd() const noexcept override { return epoll_; }

  int alarm(Nanos deadline) noexcept override {
    if (alarm_ < 0) {
      alarm_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
      if (alarm_ < 0) return errno;
      if (int error = control(EPOLL_CTL_ADD, alarm_, EPOLLIN, kWakeToken)) {
        ::close(std::exchange(alarm_, -1));
        return error;
      }
    }
    if (deadline == INT64_MAX) deadline = 0;  // disarms
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
    spec.it_value.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
    return ::timerfd_settime(alarm_, TFD_TIMER_ABSTIME, &spec, nullptr) == 0 ? 0 : errno;
  }

 private:
  int control(int operation, int fd, unsigned events, std::uint64_t token) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = token;
    return ::epoll_ctl(epoll_, operation, fd, &event) == 0 ? 0 : errno;
  }
  int poll(epoll_event* ready, int capacity, Nanos timeout) noexcept {
    if (timeout <= 0) return ::epoll_wait(epoll_, ready, capacity, timeout < 0 ? -1 : 0);
    if (precise_) {  // nanosecond timeouts: Linux 5.11
      timespec ts{static_cast<time_t>(timeout / 1'000'000'000), static_cast<long>(timeout % 1'000'000'000)};
      int n = ::epoll_pwait2(epoll_, ready, capacity, &ts, nullptr);
      if (n >= 0 || errno != ENOSYS) return n;
      precise_ = false;
    }
    Nanos ms = (timeout + 999'999) / 1'000'000;  // up: a timer never fires early
    return ::epoll_wait(epoll_, ready, capacity, static_cast<int>(std::min<Nanos>(ms, INT_MAX)));
  }
  void close_all() noexcept {
    if (epoll_ >= 0) ::close(epoll_);
    if (wake_ >= 0) ::close(wake_);
    if (alarm_ >= 0) ::close(alarm_);
  }
  int epoll_;
  int wake_;
  int alarm_ = -1;  // a timerfd, made when a foreign loop first needs it
  bool precise_ = true;
};

}  // namespace

std::unique_ptr<Backend> make_epoll_backend() { return std::make_unique<EpollBackend>(); }

}  // namespace fasterapi::core
