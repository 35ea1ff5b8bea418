// Completions and readiness through io_uring.
//   Receiving   one multishot recv per stream into a ring of provided buffers; each has kReadPadding to spare
//   Accepting   by readiness: what a request in flight accepts is no longer in the backlog, and who stops
//   listening
//               could only reset it, while another process that listens there would have served it
//   Readiness   one-shot polls, armed again in the submission of the next wait: that is what makes them
//               level-triggered (a multishot poll is edge-triggered). The wake descriptor is a multishot poll
//   Removal     cancels in flight synchronously: the kernel holds the file of a request, and the close() that
//               follows must be a close. What was already completed is told apart by a sequence number
//   Threads     a ring belongs to the thread that made it (SINGLE_ISSUER, DEFER_TASKRUN: completions are posted
//               while we wait, not in between). A loop that moves to another thread, or into the child of a
//               fork, gets a new ring
// A wait that polls makes no system call when there is nothing to submit and the kernel has nothing to say.
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/platform.hpp>

#include "backends.hpp"

namespace fasterapi::core {
namespace {

constexpr unsigned kSubmissions = 256, kCompletionQueue = 4096;
constexpr unsigned kBuffers = 32, kBufferSize = 128 * 1024;  // pages are touched as they are first used
constexpr std::size_t kUsable = kBufferSize - Reactor::kReadPadding;
constexpr int kGroup = 0;
constexpr unsigned kBufferShift = 16;  // of BackendEvent::events: the buffer, kNoBuffer, or kHeld
constexpr unsigned kNoBuffer = 0xffff, kHeld = 0xfffe;

// user_data: what the request is for, its sequence number, its descriptor.
enum class Op : unsigned { poll, recv, cancel, wake, alarm };
constexpr std::uint32_t kSequences = (1u << 28) - 1;
std::uint64_t tag(Op op, std::uint32_t sequence, int fd) noexcept {
  return static_cast<std::uint64_t>(op) << 60 | static_cast<std::uint64_t>(sequence & kSequences) << 32 |
         static_cast<std::uint32_t>(fd);
}

short to_poll(unsigned interest) noexcept {
  return static_cast<short>((interest & kReadable ? POLLIN : 0) | (interest & kWritable ? POLLOUT : 0));
}

thread_local char thread_mark;

/// A received piece (or end, or error) that a paused descriptor does not want yet.
struct Held {
  int result;
  std::unique_ptr<char[]> data;
};

struct Request {
  std::uint32_t sequence = 0;
  bool active = false;      // the kernel has it
  bool cancelling = false;  // and was told to give it up
};

struct Entry {
  std::uint64_t token = 0;
  dev_t device = 0;
  ino_t inode = 0;
  unsigned interest = 0;
  bool present = false;
  bool anonymous = false;  // eventfds and the like share one inode
  bool noted = false;      // is on the list of what the next wait looks at
  short polled = 0;        // mask of the active poll
  Request poll, recv;
  bool lost = false;  // a piece could not be held: the stream has a hole and must end
  std::vector<Held> held;
};

class UringBackend final : public Backend {
 public:
  UringBackend() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0) refuse(errno);
    try {
      open();
    } catch (...) {
      ::close(wake_);
      throw;
    }
  }
  ~UringBackend() override {
    if (!foreign()) cancel_everything();
    shut(ring_);
    ::close(wake_);
    if (notify_ >= 0) ::close(notify_);
  }

  const char* name() const noexcept override { return "io_uring"; }
  unsigned completions() const noexcept override { return kReceive; }

  int add(int fd, unsigned interest, std::uint64_t token) noexcept override {
    struct stat file;
    if (int error = look(fd, file)) return error;
    try {
      if (static_cast<std::size_t>(fd) >= entries_.size()) entries_.resize(static_cast<std::size_t>(fd) * 2 + 64);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    if (entry.present) {
      if (entry.anonymous || same(entry, file)) return EEXIST;
      remove(fd);  // closed behind our back, and the number is in use again
    }
    entry.present = true;
    entry.token = token;
    entry.interest = interest;
    entry.device = file.st_dev;
    entry.inode = file.st_ino;
    entry.anonymous = !S_ISSOCK(file.st_mode) && !S_ISFIFO(file.st_mode) && !S_ISCHR(file.st_mode);
    return note(fd, entry);
  }

  int modify(int fd, unsigned interest, std::uint64_t token) noexcept override {
    Entry* entry = find(fd);
    struct stat file;
    if (!entry) return ENOENT;
    if (int error = look(fd, file)) return error;
    if (!same(*entry, file)) return ENOENT;  // as above; the caller removes and adds
    entry->token = token;
    entry->interest = interest;
    if (entry->anonymous && !foreign()) stop_poll(fd, *entry);  // may be of a file that is closed by now
    return note(fd, *entry);
  }

  int remove(int fd) noexcept override {
    Entry* entry = find(fd);
    if (!entry) return ENOENT;
    entry->held.clear();
    entry->present = entry->lost = false;
    entry->interest = 0;
    bool active = false;
    if (!foreign()) {  // else the ring goes away with everything in it
      active |= cancel(fd, Op::poll, entry->poll);
      active |= cancel(fd, Op::recv, entry->recv);
    }
    // What still comes is of an old sequence, so that whoever gets the number next never sees it.
    for (Request* request : {&entry->poll, &entry->recv}) {
      request->active = request->cancelling = false;
      ++request->sequence;
    }
    if (active) io_uring_submit_and_get_events(&ring_.uring);
    return 0;
  }

  int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept override {
    if (FASTERAPI_UNLIKELY(foreign())) {
      if (int error = reopen()) return -error;
    }
    int count = 0;
    if (!noted_.empty()) count = arm_noted(events, capacity);
    if (count > 0) timeout = 0;
    enter(timeout);
    if (FASTERAPI_UNLIKELY(notify_ >= 0)) drain(notify_);  // what is seen from here on is taken or told again
    io_uring_cqe* cqe;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring_.uring, head, cqe) {
      if (count == capacity) break;
      if (complete(*cqe, events[count])) ++count;
      ++seen;
    }
    io_uring_cq_advance(&ring_.uring, seen);
    if (FASTERAPI_UNLIKELY(notify_ >= 0) && (io_uring_cq_ready(&ring_.uring) || work_waits())) signal(notify_);
    return count;
  }

  void wake() noexcept override {
    signal(wake_);
    // The ring would do it, but late: an eventfd that is signalled from the wake-up of another goes through RCU.
    if (const int notify = notify_; notify >= 0) signal(notify);
  }
  /// Not the ring itself: work that waits for us to enter the kernel does not make it readable for epoll.
  int fd() const noexcept override { return notify_; }

  int alarm(Nanos deadline) noexcept override {
    if (notify_ < 0) {
      if ((notify_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) return errno;
      if (!foreign()) {
        if (int error = -io_uring_register_eventfd(&ring_.uring, notify_)) return error;
      }
    }
    if (deadline == alarm_at_) return 0;
    alarm_at_ = deadline;
    if (foreign()) return 0;  // armed with the new ring
    arm_alarm();
    io_uring_submit(&ring_.uring);
    return 0;
  }
  void flush() noexcept override {
    if (foreign()) return;  // needs a turn, which submits
    // Events to give out at once have no completion that would make fd() readable: a wake has.
    if (!noted_.empty() && arm_noted(nullptr, 0) > 0) wake();
    if (io_uring_sq_ready(&ring_.uring)) io_uring_submit_and_get_events(&ring_.uring);
  }

  bool claim(const BackendEvent& event, char*& data) noexcept override {
    const unsigned buffer = event.events >> kBufferShift;
    Entry& entry = entries_[static_cast<std::uint32_t>(event.token)];
    if (entry.interest & kReceive && (buffer == kHeld || (entry.held.empty() && !entry.lost))) {
      if (buffer == kHeld) {
        if (entry.held.empty()) {
          entry.lost = false;
          return true;
        }
        current_ = std::move(entry.held.front());
        entry.held.erase(entry.held.begin());
        data = current_.data.get();
      } else if (buffer != kNoBuffer) {
        data = ring_.area + std::size_t{buffer} * kBufferSize;
      }
      return true;
    }
    if (buffer == kHeld) return false;  // is still the first of the queue
    hold(entry, event.result, buffer);
    return false;
  }
  void recycle(const BackendEvent& event) noexcept override {
    const unsigned buffer = event.events >> kBufferShift;
    if (buffer == kHeld) {
      current_.data.reset();
    } else if (event.events & kReceive && buffer != kNoBuffer) {
      give_back(buffer);
    }
  }

 private:
  [[noreturn]] static void refuse(int error) {
    throw Error(
        std::string("io_uring: ") + (error == EINVAL ? "Linux 6.1 or newer is needed" : std::strerror(error)),
        error);
  }

  static void signal(int eventfd) noexcept {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t put = ::write(eventfd, &one, sizeof one);  // EAGAIN: it is signalled already
  }
  static void drain(int eventfd) noexcept {
    std::uint64_t value;
    [[maybe_unused]] ssize_t got = ::read(eventfd, &value, sizeof value);
  }

  // ---- the ring

  struct Ring {
    io_uring uring{};
    io_uring_buf_ring* buffers = nullptr;
    char* area = nullptr;         // of the buffers
    char* alive = nullptr;        // a page that the child of a fork finds wiped
    const char* owner = nullptr;  // thread
  };

  void open() {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = kCompletionQueue;
    Ring fresh;
    if (int error = -io_uring_queue_init_params(kSubmissions, &fresh.uring, &parameters)) refuse(error);
    int error = 0;
    fresh.area = map(std::size_t{kBuffers} * kBufferSize);
    fresh.buffers = reinterpret_cast<io_uring_buf_ring*>(map(kBuffers * sizeof(io_uring_buf)));
    fresh.alive = map(1);
    if (!fresh.area || !fresh.buffers || !fresh.alive || ::madvise(fresh.alive, 1, MADV_WIPEONFORK)) error = errno;
    if (!error) {
      io_uring_buf_reg registration{};
      registration.ring_addr = reinterpret_cast<std::uintptr_t>(fresh.buffers);
      registration.ring_entries = kBuffers;
      registration.bgid = kGroup;
      error = -io_uring_register_buf_ring(&fresh.uring, &registration, 0);
    }
    if (error) {
      shut(fresh);
      refuse(error);
    }
    io_uring_buf_ring_init(fresh.buffers);
    *fresh.alive = 1;
    fresh.owner = &thread_mark;
    std::swap(ring_, fresh);
    for (unsigned i = 0; i < kBuffers; ++i) give_back(i);
    alarm_active_ = false;
    arm_wake();
    arm_alarm();
    if (const int submitted = io_uring_submit(&ring_.uring); submitted < 0) {
      std::swap(ring_, fresh);
      shut(fresh);
      refuse(-submitted);
    }
    if (fresh.owner) shut(fresh);
    if (notify_ >= 0) io_uring_register_eventfd(&ring_.uring, notify_);
  }

  static void shut(Ring& ring) noexcept {
    io_uring_queue_exit(&ring.uring);
    if (ring.area) ::munmap(ring.area, std::size_t{kBuffers} * kBufferSize);
    if (ring.buffers) ::munmap(ring.buffers, kBuffers * sizeof(io_uring_buf));
    if (ring.alive) ::munmap(ring.alive, 1);
  }

  static char* map(std::size_t size) noexcept {
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
  }

  /// Another thread, or the child of a fork: the page was wiped there.
  bool foreign() const noexcept { return ring_.owner != &thread_mark || !*ring_.alive; }

  int reopen() noexcept {
    const bool forked = !*ring_.alive;
    if (!forked) {  // what is completed already counts: nobody gets those bytes a second time
      io_uring_cqe* cqe;
      unsigned head, seen = 0;
      BackendEvent event;
      io_uring_for_each_cqe(&ring_.uring, head, cqe) {
        ++seen;
        if (complete(*cqe, event)) keep(event);
      }
      io_uring_cq_advance(&ring_.uring, seen);
    }
    try {
      open();
    } catch (const Error& error) {
      return error.code() ? error.code() : EIO;
    }
    noted_.clear();
    for (std::size_t fd = 0; fd < entries_.size(); ++fd) {
      Entry& entry = entries_[fd];
      entry.noted = false;
      for (Request* request : {&entry.poll, &entry.recv}) {
        request->active = request->cancelling = false;
        ++request->sequence;
      }
      if (entry.present) note(static_cast<int>(fd), entry);
    }
    return 0;
  }

  /// Of the old ring of another thread: kept until the next wait gives it out.
  void keep(const BackendEvent& event) noexcept {
    if (event.token == kWakeToken) return wake();
    const unsigned kind = event.events & kCompletions;
    Entry& entry = entries_[static_cast<std::uint32_t>(event.token)];
    if (kind == kReceive) {
      hold(entry, event.result, event.events >> kBufferShift);
    }  // readiness is level-triggered: it comes again
  }

  // ---- descriptors

  Entry* find(int fd) noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= entries_.size()) return nullptr;
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    return entry.present ? &entry : nullptr;
  }
  static bool same(const Entry& entry, const struct stat& file) noexcept {
    return entry.device == file.st_dev && entry.inode == file.st_ino;
  }
  /// As epoll refuses: what is not open, and files that are always ready.
  static int look(int fd, struct stat& file) noexcept {
    if (::fstat(fd, &file) != 0) return errno;
    return S_ISREG(file.st_mode) || S_ISDIR(file.st_mode) ? EPERM : 0;
  }
  int note(int fd, Entry& entry) noexcept {
    if (entry.noted) return 0;
    try {
      noted_.push_back(fd);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
    entry.noted = true;
    return 0;
  }
  void hold(Entry& entry, int result, unsigned buffer) noexcept {
    try {
      Held held{result, nullptr};
      if (result > 0) {
        held.data.reset(new char[static_cast<std::size_t>(result) + Reactor::kReadPadding]());
        std::memcpy(held.data.get(), ring_.area + std::size_t{buffer} * kBufferSize,
                    static_cast<std::size_t>(result));
      }
      entry.held.push_back(std::move(held));
    } catch (const std::bad_alloc&) {
      entry.lost = true;
    }
    if (buffer < kHeld) give_back(buffer);
  }
  void give_back(unsigned buffer) noexcept {
    io_uring_buf_ring_add(ring_.buffers, ring_.area + std::size_t{buffer} * kBufferSize, kUsable,
                          static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(ring_.buffers, 1);
  }

  // ---- requests

  io_uring_sqe* submission() noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_.uring);
    while (!sqe) {
      io_uring_submit(&ring_.uring);
      sqe = io_uring_get_sqe(&ring_.uring);
    }
    return sqe;
  }

  bool cancel(int fd, Op op, Request& request) noexcept {
    if (!request.active) return false;
    if (!request.cancelling) {
      io_uring_sqe* sqe = submission();
      io_uring_prep_cancel64(sqe, tag(op, request.sequence, fd), 0);
      io_uring_sqe_set_data64(sqe, tag(Op::cancel, 0, fd));
      request.cancelling = true;
    }
    return true;
  }

  /// What it still says is of an old sequence, so that another poll may start at once.
  void stop_poll(int fd, Entry& entry) noexcept {
    cancel(fd, Op::poll, entry.poll);
    entry.poll.active = entry.poll.cancelling = false;
  }

  void cancel_everything() noexcept {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      const int fd = static_cast<int>(i);
      cancel(fd, Op::poll, entry.poll);
      cancel(fd, Op::recv, entry.recv);
      entry.present = false;
    }
    io_uring_submit_and_get_events(&ring_.uring);
  }

  void arm_wake() noexcept {
    io_uring_sqe* sqe = submission();
    io_uring_prep_poll_multishot(sqe, wake_, POLLIN);
    io_uring_sqe_set_data64(sqe, tag(Op::wake, 0, wake_));
  }

  void arm_alarm() noexcept {
    if (alarm_active_) {
      io_uring_sqe* sqe = submission();
      io_uring_prep_cancel64(sqe, tag(Op::alarm, alarm_sequence_, 0), 0);
      io_uring_sqe_set_data64(sqe, tag(Op::cancel, 0, 0));
      alarm_active_ = false;
    }
    if (alarm_at_ == INT64_MAX) return;
    alarm_spec_ = {alarm_at_ / 1'000'000'000, alarm_at_ % 1'000'000'000};
    io_uring_sqe* sqe = submission();
    io_uring_prep_timeout(sqe, &alarm_spec_, 0, IORING_TIMEOUT_ABS);
    io_uring_sqe_set_data64(sqe, tag(Op::alarm, ++alarm_sequence_, 0));
    alarm_active_ = true;
  }

  /// Brings the kernel's requests in line with the interests; gives out what was held back meanwhile. Without
  /// room for events it only counts them and keeps them noted.
  int arm_noted(BackendEvent* events, int capacity) noexcept {
    int count = 0;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < noted_.size(); ++i) {
      const int fd = noted_[i];
      Entry& entry = entries_[static_cast<std::size_t>(fd)];
      if (!entry.present) {
        entry.noted = false;
        continue;
      }
      if ((entry.held.empty() && !entry.lost) || !(entry.interest & kReceive)) {
        entry.noted = false;
      } else {
        // One piece per wait, so that a handler that pauses again after it is heeded.
        noted_[kept++] = fd;
        if (count < capacity) give_out(entry, events[count]);
        ++count;
      }
      arm(fd, entry);
    }
    noted_.resize(kept);
    return events ? std::min(count, capacity) : count;
  }

  static void give_out(const Entry& entry, BackendEvent& event) noexcept {  // claim() takes it
    const int result = entry.held.empty() ? -ENOMEM : entry.held.front().result;
    event = {entry.token, kReceive | kHeld << kBufferShift, result};
  }

  void arm(int fd, Entry& entry) noexcept {
    const unsigned interest = entry.interest;
    if (!(interest & kReceive)) {
      cancel(fd, Op::recv, entry.recv);
    } else if (!entry.recv.active) {
      io_uring_sqe* sqe = submission();
      io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = kGroup;
      start(sqe, Op::recv, entry.recv, fd);
    }
    // Somebody who receives hears of the end that way; everybody else is told of a hangup at least.
    const bool poll = interest & (kReadable | kWritable) || !(interest & kReceive);
    const short mask = to_poll(interest);
    if (!poll || (mask & ~entry.polled)) stop_poll(fd, entry);
    if (poll && !entry.poll.active) {
      io_uring_sqe* sqe = submission();
      io_uring_prep_poll_add(sqe, fd, static_cast<unsigned>(mask));
      start(sqe, Op::poll, entry.poll, fd);
      entry.polled = mask;
    }
  }

  static void start(io_uring_sqe* sqe, Op op, Request& request, int fd) noexcept {
    io_uring_sqe_set_data64(sqe, tag(op, ++request.sequence, fd));
    request.active = true;
  }

  /// The kernel has something that it does only while we are in it.
  bool work_waits() const noexcept {
    return __atomic_load_n(ring_.uring.sq.kflags, __ATOMIC_RELAXED) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
  }

  void enter(Nanos timeout) noexcept {
    if (timeout == 0) {
      if (io_uring_sq_ready(&ring_.uring) || work_waits()) io_uring_submit_and_get_events(&ring_.uring);
      return;
    }
    io_uring_cqe* first = nullptr;
    if (timeout < 0) {
      io_uring_submit_and_wait(&ring_.uring, 1);
      return;
    }
    __kernel_timespec span{timeout / 1'000'000'000, timeout % 1'000'000'000};
    io_uring_submit_and_wait_timeout(&ring_.uring, &first, 1, &span, nullptr);
  }

  // ---- completions

  /// Whether there is an event to report.
  bool complete(const io_uring_cqe& cqe, BackendEvent& event) noexcept {
    const Op op = static_cast<Op>(cqe.user_data >> 60);
    if (op == Op::cancel) return false;
    if (op == Op::wake) {
      drain(wake_);
      if (!(cqe.flags & IORING_CQE_F_MORE)) arm_wake();
      event = {kWakeToken, 0, 0};
      return true;
    }
    const auto sequence = static_cast<std::uint32_t>(cqe.user_data >> 32) & kSequences;
    if (op == Op::alarm) {
      if (sequence != (alarm_sequence_ & kSequences) || !alarm_active_) return false;
      alarm_active_ = false;
      alarm_at_ = INT64_MAX;
      event = {kWakeToken, 0, 0};
      return true;
    }
    const int fd = static_cast<int>(static_cast<std::uint32_t>(cqe.user_data));
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    Request& request = op == Op::poll ? entry.poll : entry.recv;
    const bool current = request.active && sequence == (request.sequence & kSequences);
    if (current && !(cqe.flags & IORING_CQE_F_MORE)) {
      request.active = request.cancelling = false;
      if (cqe.res != -EBADF) note(fd, entry);  // EBADF: closed without remove(); epoll would forget it as well
    }
    return op == Op::poll ? polled(entry, cqe.res, current, event) : received(entry, cqe, current, event);
  }

  static bool polled(const Entry& entry, int result, bool current, BackendEvent& event) noexcept {
    if (!current || result < 0) return false;
    const unsigned ready =
        ((result & (POLLIN | POLLPRI) ? kReadable : 0u) | (result & POLLOUT ? kWritable : 0u)) & entry.interest;
    const unsigned events = ready | (result & (POLLHUP | POLLERR) ? kHangup : 0u);
    event = {entry.token, events, 0};
    return events != 0;
  }

  bool received(Entry& entry, const io_uring_cqe& cqe, bool current, BackendEvent& event) noexcept {
    const unsigned buffer = cqe.flags & IORING_CQE_F_BUFFER ? cqe.flags >> IORING_CQE_BUFFER_SHIFT : kNoBuffer;
    if (!current) {
      if (buffer != kNoBuffer) give_back(buffer);
      return false;
    }
    if (cqe.res == -ECANCELED || cqe.res == -ENOBUFS) return false;  // armed again while it is wanted
    event = {entry.token, kReceive | buffer << kBufferShift, cqe.res};
    return true;
  }

  Ring ring_;
  int wake_;
  std::atomic<int> notify_{-1};  // signalled by the ring, for a foreign loop; made when there is one
  std::vector<Entry> entries_;   // by descriptor
  std::vector<int> noted_;
  Held current_{};  // the held piece that is being delivered
  Nanos alarm_at_ = INT64_MAX;
  __kernel_timespec alarm_spec_{};
  std::uint32_t alarm_sequence_ = 0;
  bool alarm_active_ = false;
};

}  // namespace

std::unique_ptr<Backend> make_uring_backend() { return std::make_unique<UringBackend>(); }

}  // namespace fasterapi::core
