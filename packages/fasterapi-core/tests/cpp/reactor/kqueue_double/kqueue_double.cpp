// A double of kqueue over epoll, with the semantics that backend_kqueue.cpp relies on and no others:
//   - one event per (ident, filter); EV_ADD of what is there changes it, EV_DELETE and EV_ENABLE of what is not
//     say ENOENT, a closed descriptor leaves by itself; EV_RECEIPT answers each change with EV_ERROR and an errno
//   - level-triggered unless EV_CLEAR; EV_EOF on EVFILT_READ when the peer finished or died (then fflags is set),
//     whatever NOTE_LOWAT says; a mark that is not reached hides everything else
//   - EVFILT_USER with NOTE_TRIGGER from any thread; EVFILT_TIMER, one-shot, in nanoseconds; the queue itself is
//     readable when it has something to report
// A queue is an epoll instance with two others inside, one per direction, and one eventfd or timerfd per event of
// the other filters.
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../backends_under_test.hpp"
#include "reactor/backends.hpp"

namespace {

using Key = std::pair<std::uintptr_t, short>;

struct Queue {
  int main = -1;
  int directions[2] = {-1, -1};  // EVFILT_READ, EVFILT_WRITE
  std::mutex mutex;
  std::map<Key, struct kevent> events;
  std::map<Key, int> helpers;  // eventfds and timerfds
  ~Queue() {
    for (int fd : directions) ::close(fd);
    for (auto& [key, fd] : helpers) ::close(fd);
  }
};

std::mutex queues_mutex;
std::map<int, std::shared_ptr<Queue>> queues;  // by descriptor; a number that is used again replaces the old one

std::shared_ptr<Queue> queue_of(int kq) {
  std::lock_guard lock(queues_mutex);
  auto found = queues.find(kq);
  return found == queues.end() ? nullptr : found->second;
}

int control(int epoll, int operation, int fd, unsigned events, std::uint64_t data) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  return ::epoll_ctl(epoll, operation, fd, &event) == 0 ? 0 : errno;
}

int change_descriptor(Queue& queue, const struct kevent& change) {
  const int fd = static_cast<int>(change.ident);
  const int epoll = queue.directions[change.filter == EVFILT_WRITE];
  const Key key{change.ident, change.filter};
  if (change.flags & EV_DELETE) {
    queue.events.erase(key);
    return control(epoll, EPOLL_CTL_DEL, fd, 0, 0);
  }
  const auto known = queue.events.find(key);
  const unsigned short kept = known == queue.events.end() ? change.flags : known->second.flags;
  const unsigned short flags = change.flags & EV_ADD ? change.flags : kept;
  const unsigned wanted = (change.filter == EVFILT_WRITE ? EPOLLOUT : EPOLLIN | EPOLLRDHUP) |
                          (flags & EV_CLEAR ? static_cast<unsigned>(EPOLLET) : 0u);
  int error = control(epoll, EPOLL_CTL_MOD, fd, wanted, change.ident);
  if (error == ENOENT) {
    if (!(change.flags & EV_ADD)) return ENOENT;
    error = control(epoll, EPOLL_CTL_ADD, fd, wanted, change.ident);
  }
  if (error) return error;
  struct kevent stored = change;
  stored.flags = flags;
  queue.events[key] = stored;
  return 0;
}

int change_helper(Queue& queue, const struct kevent& change) {
  const Key key{change.ident, change.filter};
  auto helper = queue.helpers.find(key);
  if (change.flags & EV_DELETE) {
    if (helper == queue.helpers.end()) return ENOENT;
    ::close(helper->second);  // leaves the epoll as well
    queue.helpers.erase(helper);
    queue.events.erase(key);
    return 0;
  }
  if (change.flags & EV_ADD && helper == queue.helpers.end()) {
    const int fd = change.filter == EVFILT_USER ? ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
                                                : ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) return errno;
    helper = queue.helpers.emplace(key, fd).first;
    if (int error = control(queue.main, EPOLL_CTL_ADD, fd, EPOLLIN, static_cast<std::uint64_t>(fd))) return error;
  }
  if (helper == queue.helpers.end()) return ENOENT;
  if (change.flags & EV_ADD) queue.events[key] = change;
  if (change.fflags & NOTE_TRIGGER) {
    const std::uint64_t one = 1;
    return ::write(helper->second, &one, sizeof one) == sizeof one ? 0 : errno;
  }
  if (change.filter == EVFILT_TIMER) {
    itimerspec spec{};
    spec.it_value = {static_cast<time_t>(change.data / 1'000'000'000),
                     static_cast<long>(change.data % 1'000'000'000)};
    return ::timerfd_settime(helper->second, 0, &spec, nullptr) == 0 ? 0 : errno;
  }
  return 0;
}

// One ready descriptor of a direction, or nothing when a low-water mark hides it.
bool report(Queue& queue, short filter, const epoll_event& ready, struct kevent& out) {
  const auto known = queue.events.find({static_cast<std::uintptr_t>(ready.data.u64), filter});
  if (known == queue.events.end()) return false;
  out = known->second;
  const unsigned gone = filter == EVFILT_READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
  const bool eof = ready.events & gone;
  const bool hidden = out.fflags & NOTE_LOWAT;
  out.flags = eof ? EV_EOF : 0;
  out.fflags = ready.events & EPOLLERR ? ECONNRESET : 0;  // the double does not take SO_ERROR away to look at it
  return eof || !hidden;
}

int collect(Queue& queue, struct kevent* events, int nevents) {
  std::lock_guard lock(queue.mutex);
  int count = 0;
  for (auto helper = queue.helpers.begin(); helper != queue.helpers.end() && count < nevents;) {
    std::uint64_t value;
    if (::read(helper->second, &value, sizeof value) == sizeof value) {
      const auto known = queue.events.find(helper->first);
      events[count++] = known->second;
      if (known->second.flags & EV_ONESHOT) {
        queue.events.erase(known);
        ::close(helper->second);
        helper = queue.helpers.erase(helper);
        continue;
      }
    }
    ++helper;
  }
  for (short filter : {EVFILT_READ, EVFILT_WRITE}) {
    if (count >= nevents) break;
    std::vector<epoll_event> ready(static_cast<std::size_t>(nevents - count));
    const int n = ::epoll_wait(queue.directions[filter == EVFILT_WRITE], ready.data(), nevents - count, 0);
    for (int i = 0; i < n; ++i) count += report(queue, filter, ready[static_cast<std::size_t>(i)], events[count]);
  }
  return count;
}

std::int64_t now() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

int kqueue() {
  auto queue = std::make_shared<Queue>();
  queue->main = ::epoll_create1(EPOLL_CLOEXEC);
  for (int& direction : queue->directions) {
    direction = ::epoll_create1(EPOLL_CLOEXEC);
    control(queue->main, EPOLL_CTL_ADD, direction, EPOLLIN, static_cast<std::uint64_t>(direction));
  }
  std::lock_guard lock(queues_mutex);
  queues[queue->main] = queue;
  return queue->main;
}

int kevent(int kq, const struct kevent* changes, int nchanges, struct kevent* events, int nevents,
           const timespec* timeout) {
  const auto queue = queue_of(kq);
  if (!queue) {
    errno = EBADF;
    return -1;
  }
  for (int i = 0; i < nchanges; ++i) {
    std::lock_guard lock(queue->mutex);
    const struct kevent& change = changes[i];
    const bool helper = change.filter == EVFILT_USER || change.filter == EVFILT_TIMER;
    const int error = helper ? change_helper(*queue, change) : change_descriptor(*queue, change);
    events[i] = change;
    events[i].flags = EV_ERROR;
    events[i].data = error;
  }
  if (nchanges) return nchanges;
  const std::int64_t end = timeout ? now() + timeout->tv_sec * 1'000'000'000 + timeout->tv_nsec : 0;
  for (;;) {
    if (int count = collect(*queue, events, nevents)) return count;
    const std::int64_t left = timeout ? end - now() : 1'000'000'000;
    if (left <= 0) return 0;
    timespec span{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    epoll_event any;
    if (::epoll_pwait2(kq, &any, 1, &span, nullptr) < 0) return -1;
  }
}

namespace fasterapi::core::test {

std::vector<BackendUnderTest> doubles_under_test() {
  return {{"kqueue_double", "kqueue", [](const std::string&) { return make_kqueue_backend(); }}};
}

}  // namespace fasterapi::core::test
