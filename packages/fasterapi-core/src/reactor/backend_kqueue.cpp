// Readiness through kqueue (macOS, FreeBSD), level-triggered.
//   kReadable   EVFILT_READ
//   kWritable   EVFILT_WRITE
//   neither     EVFILT_READ with a low-water mark that no socket reaches, edge-triggered: it fires when the peer
//               is gone, and only an error then counts as a hangup (an orderly end waits until it is read)
//   wake        EVFILT_USER
//   alarm       EVFILT_TIMER
// Changes are made at once with EV_RECEIPT, so that errors come back to who made them.
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <vector>

#include <fasterapi/core/error.hpp>

#include "backends.hpp"

namespace fasterapi::core {
namespace {

static_assert(sizeof(void*) == sizeof(std::uint64_t), "udata carries the token");

constexpr int kMaxEvents = 512;
constexpr std::uintptr_t kWakeIdent = 0, kAlarmIdent = 1;

class KqueueBackend final : public Backend {
 public:
  KqueueBackend() : kqueue_(::kqueue()), pid_(::getpid()) {
    if (kqueue_ < 0) throw Error(std::string("kqueue: ") + std::strerror(errno), errno);
    ::fcntl(kqueue_, F_SETFD, FD_CLOEXEC);
    if (int error = change(kWakeIdent, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, kWakeToken)) {
      ::close(kqueue_);
      throw Error(std::string("kqueue: EVFILT_USER: ") + std::strerror(error), error);
    }
  }
  ~KqueueBackend() override {
    if (::getpid() == pid_) ::close(kqueue_);  // a kqueue is not inherited by fork: the number is another's there
  }

  const char* name() const noexcept override { return "kqueue"; }

  int add(int fd, unsigned interest, std::uint64_t token) noexcept override {
    try {
      if (static_cast<std::size_t>(fd) >= entries_.size()) entries_.resize(static_cast<std::size_t>(fd) * 2 + 64);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    if (entry.present && still_there(fd)) return EEXIST;
    entry = {};
    int error = apply(fd, entry, interest, token);
    entry.present = error == 0;
    if (error) forget(fd, entry);
    return error;
  }

  int modify(int fd, unsigned interest, std::uint64_t token) noexcept override {
    Entry* entry = find(fd);
    if (!entry || !still_there(fd)) return ENOENT;
    return apply(fd, *entry, interest, token);
  }

  int remove(int fd) noexcept override {
    Entry* entry = find(fd);
    if (!entry) return ENOENT;
    forget(fd, *entry);
    return 0;
  }

  int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept override {
    struct kevent ready[kMaxEvents];
    timespec span{static_cast<time_t>(timeout / 1'000'000'000), static_cast<long>(timeout % 1'000'000'000)};
    const int n =
        ::kevent(kqueue_, nullptr, 0, ready, std::min(capacity, kMaxEvents), timeout < 0 ? nullptr : &span);
    if (n < 0) return -errno;
    int count = 0;
    for (int i = 0; i < n; ++i) {
      const struct kevent& event = ready[i];
      const auto token = reinterpret_cast<std::uint64_t>(event.udata);
      unsigned found = 0;
      switch (event.filter) {
        case EVFILT_READ:
          if (entries_[event.ident].reading) found |= kReadable;
          if (event.flags & EV_EOF && event.fflags) found |= kHangup;
          break;
        case EVFILT_WRITE: found = kWritable | (event.flags & EV_EOF ? kHangup : 0u); break;
        default:  // wake or alarm
          events[count++] = {kWakeToken, 0, 0};
          continue;
      }
      if (found) events[count++] = {token, found, 0};
    }
    return count;
  }

  void wake() noexcept override { change(kWakeIdent, EVFILT_USER, 0, NOTE_TRIGGER, 0, kWakeToken); }
  int fd() const noexcept override { return kqueue_; }

  int alarm(Nanos deadline) noexcept override {
    if (deadline == INT64_MAX) {
      const int error = change(kAlarmIdent, EVFILT_TIMER, EV_DELETE, 0, 0, kWakeToken);
      return error == ENOENT ? 0 : error;  // it has rung
    }
    const Nanos after = std::max<Nanos>(deadline - monotonic_now(), 1);
    return change(kAlarmIdent, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS, after, kWakeToken);
  }

 private:
  struct Entry {
    std::uint64_t token = 0;
    bool present = false;
    bool reading = false;  // EVFILT_READ says readable; else it only watches for the peer's death
    bool writing = false;  // EVFILT_WRITE is there
  };

  Entry* find(int fd) noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= entries_.size()) return nullptr;
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    return entry.present ? &entry : nullptr;
  }

  int change(std::uintptr_t ident, short filter, unsigned flags, unsigned fflags, Nanos data,
             std::uint64_t token) noexcept {
    struct kevent request, receipt;
    EV_SET(&request, ident, filter, static_cast<unsigned short>(flags | EV_RECEIPT), fflags,
           static_cast<decltype(request.data)>(data), reinterpret_cast<void*>(token));
    if (::kevent(kqueue_, &request, 1, &receipt, 1, nullptr) < 0) return errno;
    return static_cast<int>(receipt.data);
  }

  /// A descriptor that was closed has left the kqueue: then the number belongs to another file by now.
  bool still_there(int fd) noexcept {
    const Entry& entry = entries_[static_cast<std::size_t>(fd)];
    return change(static_cast<std::uintptr_t>(fd), EVFILT_READ, EV_ENABLE, entry.reading ? 0 : NOTE_LOWAT,
                  entry.reading ? 0 : INT_MAX, entry.token) == 0;
  }

  int apply(int fd, Entry& entry, unsigned interest, std::uint64_t token) noexcept {
    entry.token = token;
    const auto ident = static_cast<std::uintptr_t>(fd);
    const bool reading = interest & kReadable, writing = interest & kWritable;
    // The flavour of a filter is fixed when it is added: it goes and comes back.
    if (entry.present && entry.reading != reading) change(ident, EVFILT_READ, EV_DELETE, 0, 0, token);
    int error = reading ? change(ident, EVFILT_READ, EV_ADD, 0, 0, token)
                        : change(ident, EVFILT_READ, EV_ADD | EV_CLEAR, NOTE_LOWAT, INT_MAX, token);
    entry.reading = reading;
    if (!error && writing) {
      error = change(ident, EVFILT_WRITE, EV_ADD, 0, 0, token);
      entry.writing = error == 0;
    } else if (!error && entry.writing) {
      error = change(ident, EVFILT_WRITE, EV_DELETE, 0, 0, token);
      entry.writing = false;
    }
    return error;
  }

  void forget(int fd, Entry& entry) noexcept {
    const auto ident = static_cast<std::uintptr_t>(fd);
    change(ident, EVFILT_READ, EV_DELETE, 0, 0, 0);
    if (entry.writing) change(ident, EVFILT_WRITE, EV_DELETE, 0, 0, 0);
    entry = {};
  }

  int kqueue_;
  pid_t pid_;
  std::vector<Entry> entries_;  // by descriptor
};

}  // namespace

std::unique_ptr<Backend> make_kqueue_backend() { return std::make_unique<KqueueBackend>(); }

}  // namespace fasterapi::core
