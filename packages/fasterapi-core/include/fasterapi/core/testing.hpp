#pragma once
// A reactor without a kernel, for deterministic tests of what is built on it: time stands still until the reactor
// sleeps, and then jumps to what the test has scheduled.
//   ManualClock clock;
//   auto scripted = std::make_unique<ScriptedBackend>(clock);
//   ScriptedBackend& script = *scripted;
//   Reactor reactor(std::move(scripted), clock);
//   script.at(5'000'000, [&] { script.set_ready(7, kReadable); });
//   reactor.turn(-1);                      // sleeps 5 ms of the clock's time, none of anybody else's
// Descriptors are numbers that nobody opens. Threads: one, but for wake() and Reactor::post().
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

/// A clock that only the test moves (and a ScriptedBackend that sleeps on it).
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Nanos start = 1'000'000'000) noexcept : now_(start) {}
  Nanos now() noexcept override { return now_; }
  void advance(Nanos by) noexcept { now_ += by; }
  void advance_to(Nanos when) noexcept {
    if (when > now_) now_ = when;
  }

 private:
  Nanos now_;
};

class ScriptedBackend final : public Backend {
 public:
  explicit ScriptedBackend(ManualClock& clock) noexcept : clock_(clock), origin_(clock.now()) {}

  // ---- the script
  /// The descriptor is ready for `events` from now on (level-triggered), until it is changed. kHangup is
  /// reported whatever the interest is.
  void set_ready(int fd, unsigned events) { ready_[fd] = events; }
  /// Runs once when the clock reaches `after` nanoseconds since this backend was made: in a sleep, or at the
  /// next wait if that time is past. Steps of one time run in the order in which they were given.
  void at(Nanos after, std::function<void()> step) { steps_.emplace(origin_ + after, std::move(step)); }
  /// The next `operation` ("add", "modify", "remove", "wait") answers with this errno.
  void fail_next(const std::string& operation, int error) { failures_[operation] = error; }
  /// From now on the backend does these of kCompletions (kAccept, kReceive) itself; give out() what it did.
  /// Before the Reactor is made.
  void set_completions(unsigned kinds) noexcept { completions_ = kinds; }
  /// A completion for the descriptor: a connection, received bytes, their end (empty) or an errno.
  void accepted(int fd, int connection) { done_.push_back({fd, kAccept, connection, {}}); }
  void received(int fd, std::string bytes) {
    const int size = static_cast<int>(bytes.size());
    bytes.append(Reactor::kReadPadding, '\0');
    done_.push_back({fd, kReceive, size, std::move(bytes)});
  }
  void failed(int fd, unsigned kind, int error) { done_.push_back({fd, kind, -error, {}}); }

  // ---- what happened
  /// Interest of a registered descriptor, -1 when it is not registered.
  int interest(int fd) const {
    const auto found = entries_.find(fd);
    return found == entries_.end() ? -1 : static_cast<int>(found->second.interest);
  }
  /// How long the reactor slept in all, and how often it waited at all.
  Nanos slept() const noexcept { return slept_; }
  int waits() const noexcept { return waits_; }
  /// The reactor was about to sleep for ever with nothing scheduled that could wake it.
  bool stalled() const noexcept { return stalled_; }
  /// Completions that were neither delivered nor dropped yet: 0 at the end of a test that leaks no buffer.
  std::size_t outstanding() const noexcept { return done_.size() + lent_.size(); }

  // ---- Backend
  const char* name() const noexcept override { return "scripted"; }
  int add(int fd, unsigned interest, std::uint64_t token) noexcept override {
    if (int error = failure("add")) return error;
    return entries_.try_emplace(fd, Entry{interest, token}).second ? 0 : EEXIST;
  }
  int modify(int fd, unsigned interest, std::uint64_t token) noexcept override {
    if (int error = failure("modify")) return error;
    const auto found = entries_.find(fd);
    if (found == entries_.end()) return ENOENT;
    found->second = {interest, token};
    return 0;
  }
  int remove(int fd) noexcept override {
    entries_.erase(fd);
    return failure("remove");
  }
  int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept override {
    ++waits_;
    if (int error = failure("wait")) return -error;
    const Nanos began = clock_.now(), end = timeout < 0 ? INT64_MAX : began + timeout;
    for (;;) {
      while (!steps_.empty() && steps_.begin()->first <= clock_.now()) {
        auto step = steps_.extract(steps_.begin());
        step.mapped()();
      }
      const int count = collect(events, capacity);
      const bool over = count > 0 || clock_.now() >= end;
      const bool nothing_left = steps_.empty() && timeout < 0;
      if (over || nothing_left) {
        stalled_ |= !over;
        slept_ += clock_.now() - began;
        return count;
      }
      clock_.advance_to(steps_.empty() || steps_.begin()->first > end ? end : steps_.begin()->first);
    }
  }
  void wake() noexcept override { woken_.store(true); }
  int fd() const noexcept override { return -1; }
  unsigned completions() const noexcept override { return completions_; }
  bool claim(const BackendEvent& event, char*& data) noexcept override {
    const auto found = entries_.find(static_cast<int>(static_cast<std::uint32_t>(event.token)));
    Done& done = lent_[event.events >> kIndexShift];
    if (found == entries_.end() || !(found->second.interest & kReceive)) {
      done_.insert(done_.begin(), std::exchange(done, {}));
      lent_.erase(event.events >> kIndexShift);
      return false;
    }
    data = done.bytes.data();
    return true;
  }
  void recycle(const BackendEvent& event) noexcept override { lent_.erase(event.events >> kIndexShift); }

 private:
  static constexpr unsigned kIndexShift = 16;
  struct Entry {
    unsigned interest;
    std::uint64_t token;
  };
  struct Done {
    int fd;
    unsigned kind;
    int result;
    std::string bytes;
  };

  int failure(const std::string& operation) {
    const auto found = failures_.find(operation);
    return found == failures_.end() ? 0 : failures_.extract(found).mapped();
  }

  int collect(BackendEvent* events, int capacity) {
    int count = 0;
    if (count < capacity && woken_.exchange(false)) events[count++] = {kWakeToken, 0, 0};
    for (const auto& [fd, state] : ready_) {
      const auto entry = entries_.find(fd);
      if (entry == entries_.end() || count == capacity) continue;
      if (const unsigned seen = state & (entry->second.interest | kHangup)) {
        events[count++] = {entry->second.token, seen, 0};
      }
    }
    for (auto done = done_.begin(); done != done_.end() && count < capacity;) {
      const auto entry = entries_.find(done->fd);
      if (entry == entries_.end() || !(entry->second.interest & done->kind)) {
        ++done;
        continue;
      }
      const unsigned index = next_index_++ & 0xffff;
      events[count++] = {entry->second.token, done->kind | index << kIndexShift, done->result};
      lent_[index] = std::move(*done);
      done = done_.erase(done);
    }
    return count;
  }

  ManualClock& clock_;
  Nanos origin_;
  Nanos slept_ = 0;
  int waits_ = 0;
  bool stalled_ = false;
  std::atomic<bool> woken_{false};
  unsigned completions_ = 0;
  unsigned next_index_ = 0;
  std::map<int, Entry> entries_;
  std::map<int, unsigned> ready_;
  std::multimap<Nanos, std::function<void()>> steps_;
  std::map<std::string, int> failures_;
  std::vector<Done> done_;
  std::map<unsigned, Done> lent_;
};

}  // namespace fasterapi::core
