// Completions through an I/O completion port (Windows).
//   Receiving   overlapped WSARecv into a buffer of the request, one per stream that reads
//   Accepting   AcceptEx, a few at a time; connecting: ConnectEx
//   kReadable   overlapped WSARecv of no bytes: it completes when there is something to read
//   kWritable, hangups of who does not read, and systems on which a receive of no bytes does not wait: looked at
//               by WSAPoll, every millisecond at first and then less often. Completion ports do not tell these
//   wake        PostQueuedCompletionStatus
// A request belongs to the kernel until its completion is taken from the port; remove() cancels it, and the
// completion of a cancelled request only frees it. A socket stays with the port that it was first added to.
#include <winsock2.h>
#include <ws2tcpip.h>

#include <mswsock.h>
#include <windows.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/core/error.hpp>

#include "backends.hpp"
#include "socket_calls.hpp"

namespace fasterapi::core {
namespace {

constexpr ULONG kMaxEntries = 256;
constexpr std::size_t kBuffer = 32 * 1024;
constexpr int kAccepts = 4;  // AcceptEx in flight per listener
constexpr DWORD kAddress = sizeof(sockaddr_storage) + 16;
constexpr unsigned kIndexShift = 16;  // of BackendEvent::events: place in delivered_
constexpr ULONG_PTR kWakeKey = 1;
constexpr Nanos kMs = 1'000'000;
constexpr Nanos kFirstLook = kMs, kLastLook = 16 * kMs;

enum class Kind { readable, receive, accept, connect };

struct Request {
  OVERLAPPED overlapped{};  // first: the port gives its address back
  Kind kind;
  int fd;
  bool orphan = false;  // nobody waits for it any more
  int accepted = -1;
  int result = 0;
  std::unique_ptr<char[]> buffer;
};

struct Entry {
  std::uint64_t token = 0;
  unsigned interest = 0;
  bool present = false;
  bool noted = false;
  bool watched = false;
  bool polled_reads = false;  // a receive of no bytes did not wait here
  std::vector<Request*> in_flight;
  std::unique_ptr<Request> held;  // received while paused

  Request* find(Kind kind) const noexcept {
    const auto found =
        std::find_if(in_flight.begin(), in_flight.end(), [=](Request* r) { return r->kind == kind; });
    return found == in_flight.end() ? nullptr : *found;
  }
};

class IocpBackend final : public Backend {
 public:
  IocpBackend() {
    net::start_up();
    delivered_.reserve(kMaxEntries * 2);
    port_ = ::CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, 1);
    if (!port_) refuse("CreateIoCompletionPort", static_cast<int>(::GetLastError()));
    const SOCKET probe = ::WSASocketW(AF_INET, SOCK_STREAM, 0, nullptr, 0, WSA_FLAG_OVERLAPPED);
    GUID accept_id = WSAID_ACCEPTEX, connect_id = WSAID_CONNECTEX;
    const bool found = probe != INVALID_SOCKET && extension(probe, accept_id, accept_ex_) &&
                       extension(probe, connect_id, connect_ex_);
    const int error = found ? 0 : ::WSAGetLastError();
    if (probe != INVALID_SOCKET) ::closesocket(probe);
    if (!found) {
      ::CloseHandle(port_);
      refuse("AcceptEx and ConnectEx", error);
    }
  }
  ~IocpBackend() override {
    for (std::size_t fd = 0; fd < entries_.size(); ++fd) cancel_all(static_cast<int>(fd), entries_[fd]);
    // The kernel writes into requests until it has given them back.
    const Nanos end = monotonic_now() + 5'000 * kMs;
    while (outstanding_ > 0 && monotonic_now() < end) {
      OVERLAPPED_ENTRY done[kMaxEntries];
      ULONG count = 0;
      if (!::GetQueuedCompletionStatusEx(port_, done, kMaxEntries, &count, 100, FALSE)) continue;
      for (ULONG i = 0; i < count; ++i) {
        if (done[i].lpOverlapped) free_orphan(request_of(done[i]));
      }
    }
    ::CloseHandle(port_);
  }

  const char* name() const noexcept override { return "iocp"; }
  unsigned completions() const noexcept override { return kReceive | kAccept | kConnect; }
  int fd() const noexcept override { return -1; }

  int add(int fd, unsigned interest, std::uint64_t token) noexcept override {
    int type = 0, size = sizeof type;
    if (::getsockopt(net::handle(fd), SOL_SOCKET, SO_TYPE, reinterpret_cast<char*>(&type), &size)) {
      return -net::failure();
    }
    try {
      if (static_cast<std::size_t>(fd) >= entries_.size()) entries_.resize(static_cast<std::size_t>(fd) * 2 + 64);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    if (entry.present) return EEXIST;
    // Refused with ERROR_INVALID_PARAMETER when the socket has been here before: then it is ours already.
    if (!::CreateIoCompletionPort(reinterpret_cast<HANDLE>(net::handle(fd)), port_, 0, 0) &&
        ::GetLastError() != ERROR_INVALID_PARAMETER) {
      return net::errno_of(static_cast<int>(::GetLastError()));
    }
    entry.present = true;
    entry.polled_reads = false;
    entry.token = token;
    entry.interest = interest;
    return note(fd, entry);
  }

  int modify(int fd, unsigned interest, std::uint64_t token) noexcept override {
    Entry* entry = find(fd);
    if (!entry) return ENOENT;
    entry->token = token;
    entry->interest = interest;
    look_soon();
    return note(fd, *entry);
  }

  int remove(int fd) noexcept override {
    Entry* entry = find(fd);
    if (!entry) return ENOENT;
    cancel_all(fd, *entry);
    entry->held.reset();
    entry->present = false;
    entry->interest = 0;
    return 0;
  }

  int connect(int fd, const sockaddr* address, unsigned length) noexcept override {
    Entry* entry = find(fd);
    if (!entry) return ENOENT;
    // ConnectEx wants a bound socket.
    sockaddr_storage any{};
    any.ss_family = address->sa_family;
    if (::bind(net::handle(fd), reinterpret_cast<sockaddr*>(&any), static_cast<int>(length)) != 0) {
      return -net::failure();
    }
    Request* request = begin(fd, *entry, Kind::connect);
    if (!request) return ENOMEM;
    const BOOL done =
        connect_ex_(net::handle(fd), address, static_cast<int>(length), nullptr, 0, nullptr, &request->overlapped);
    return started(*entry, request, done);
  }

  int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept override {
    delivered_.clear();
    const Nanos end = timeout > 0 ? monotonic_now() + timeout : 0;
    capacity = std::min<int>(capacity, kMaxEntries);
    int count = arm_noted(events, capacity);
    for (;;) {
      count += look(events + count, capacity - count);
      Nanos left = timeout < 0 ? INT64_MAX : timeout == 0 ? 0 : std::max<Nanos>(end - monotonic_now(), 0);
      if (count > 0) left = 0;
      const Nanos sleep = watched_.empty() ? left : std::min(left, look_every_);
      count += take(events + count, capacity - count, sleep);
      // A wait for a port may end a little early, and only because something has to be looked at again.
      if (count > 0 || timeout == 0 || (timeout > 0 && monotonic_now() >= end)) return count;
      arm_noted(nullptr, 0);
    }
  }

  void wake() noexcept override {
    if (!woken_.exchange(true)) ::PostQueuedCompletionStatus(port_, 0, kWakeKey, nullptr);
  }

  bool claim(const BackendEvent& event, char*& data) noexcept override {
    std::unique_ptr<Request>& request = delivered_[event.events >> kIndexShift];
    Entry& entry = entries_[static_cast<std::uint32_t>(event.token)];
    if (!(entry.interest & kReceive)) {
      entry.held = std::move(request);
      return false;
    }
    data = request->buffer.get();
    return true;
  }
  void recycle(const BackendEvent& event) noexcept override {
    if (event.events & kReceive) delivered_[event.events >> kIndexShift].reset();
  }

 private:
  [[noreturn]] static void refuse(const char* what, int code) {
    const int error = net::errno_of(code);
    throw Error(std::string("iocp: ") + what + ": error " + std::to_string(code), error);
  }

  template <class Function>
  static bool extension(SOCKET socket, GUID& id, Function& function) noexcept {
    DWORD bytes = 0;
    return ::WSAIoctl(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &function, sizeof function,
                      &bytes, nullptr, nullptr) == 0;
  }

  static Request* request_of(const OVERLAPPED_ENTRY& done) noexcept {
    return reinterpret_cast<Request*>(done.lpOverlapped);
  }

  Entry* find(int fd) noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= entries_.size()) return nullptr;
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    return entry.present ? &entry : nullptr;
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

  // ---- requests

  Request* begin(int fd, Entry& entry, Kind kind) noexcept {
    try {
      auto request = std::make_unique<Request>();
      request->kind = kind;
      request->fd = fd;
      if (kind == Kind::receive) request->buffer.reset(new char[kBuffer + Reactor::kReadPadding]());
      if (kind == Kind::accept) request->buffer.reset(new char[2 * kAddress]);
      entry.in_flight.push_back(request.get());
      ++outstanding_;
      return request.release();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  /// What the call that began the request said: 0 when its completion will come.
  int started(Entry& entry, Request* request, bool done) noexcept {
    if (done) return 0;
    const int error = ::WSAGetLastError();
    if (error == WSA_IO_PENDING) return 0;
    std::erase(entry.in_flight, request);
    --outstanding_;
    if (request->accepted >= 0) net::close(request->accepted);
    delete request;
    return net::errno_of(error);
  }

  void cancel(int fd, Entry& entry, Kind kind) noexcept {
    std::erase_if(entry.in_flight, [&](Request* request) {
      if (request->kind != kind) return false;
      request->orphan = true;
      ::CancelIoEx(reinterpret_cast<HANDLE>(net::handle(fd)), &request->overlapped);
      return true;
    });
  }
  void cancel_all(int fd, Entry& entry) noexcept {
    for (Kind kind : {Kind::readable, Kind::receive, Kind::accept, Kind::connect}) cancel(fd, entry, kind);
  }

  void free_orphan(Request* request) noexcept {
    if (request->accepted >= 0) net::close(request->accepted);
    delete request;
    --outstanding_;
  }

  int receive(int fd, Entry& entry, Kind kind) noexcept {
    Request* request = begin(fd, entry, kind);
    if (!request) return ENOMEM;
    WSABUF into{kind == Kind::receive ? static_cast<ULONG>(kBuffer) : 0, request->buffer.get()};
    DWORD flags = 0;
    return started(entry, request,
                   ::WSARecv(net::handle(fd), &into, 1, nullptr, &flags, &request->overlapped, nullptr) == 0);
  }

  int accept(int fd, Entry& entry) noexcept {
    sockaddr_storage local{};
    int size = sizeof local;
    if (::getsockname(net::handle(fd), reinterpret_cast<sockaddr*>(&local), &size)) return -net::failure();
    const int fresh = net::open_stream(local.ss_family);
    if (fresh < 0) return -fresh;
    Request* request = begin(fd, entry, Kind::accept);
    if (!request) {
      net::close(fresh);
      return ENOMEM;
    }
    request->accepted = fresh;
    DWORD bytes = 0;
    return started(entry, request,
                   accept_ex_(net::handle(fd), net::handle(fresh), request->buffer.get(), 0, kAddress, kAddress,
                              &bytes, &request->overlapped));
  }

  /// Brings requests in line with the interests, and reports what that shows at once.
  int arm_noted(BackendEvent* events, int capacity) noexcept {
    int count = 0;
    std::vector<int> noted;
    noted.swap(noted_);
    for (int fd : noted) {
      Entry& entry = entries_[static_cast<std::size_t>(fd)];
      entry.noted = false;
      if (!entry.present) continue;
      if (count == capacity && events) {
        note(fd, entry);
        continue;
      }
      if (entry.held && entry.interest & kReceive) {
        if (!events) {
          note(fd, entry);
        } else {
          report_received(entry, std::move(entry.held), events[count++]);
        }
        continue;  // the next receive begins when this one is delivered
      }
      if (int error = arm(fd, entry)) {
        const unsigned kind = entry.interest & (kReceive | kAccept);
        if (!events) {
          note(fd, entry);
        } else if (kind == kReceive) {
          auto failed = std::make_unique<Request>();
          failed->result = -error;
          report_received(entry, std::move(failed), events[count++]);
        } else {
          events[count++] = {entry.token, kind ? kind : kHangup, -error};
          if (kind) note(fd, entry);
        }
      }
    }
    return count;
  }

  int arm(int fd, Entry& entry) noexcept {
    const unsigned interest = entry.interest;
    // A paused stream's receive stays: cancelling it could lose bytes that it has taken already. What it brings is
    // held; there is no next one until the stream resumes.
    if (!(interest & kReadable) || entry.polled_reads) cancel(fd, entry, Kind::readable);
    if (!(interest & kAccept)) cancel(fd, entry, Kind::accept);
    watch(fd, entry);
    if (interest & kReceive && !entry.find(Kind::receive)) return receive(fd, entry, Kind::receive);
    if (interest & kReadable && !entry.polled_reads && !entry.find(Kind::readable)) {
      return receive(fd, entry, Kind::readable);
    }
    if (interest & kAccept) {
      while (std::count_if(entry.in_flight.begin(), entry.in_flight.end(),
                           [](Request* r) { return r->kind == Kind::accept; }) < kAccepts) {
        if (int error = accept(fd, entry)) return error;
      }
    }
    return 0;
  }

  // ---- what completion ports do not tell

  static bool needs_looks(const Entry& entry) noexcept {
    if (!entry.present || entry.find(Kind::connect)) return false;
    return entry.interest & kWritable || (entry.interest & kReadable && entry.polled_reads) ||
           !(entry.interest & (kReadable | kReceive | kAccept));
  }
  void watch(int fd, Entry& entry) noexcept {
    if (entry.watched || !needs_looks(entry)) return;
    try {
      watched_.push_back(fd);
      entry.watched = true;
      look_soon();
    } catch (const std::bad_alloc&) {
      note(fd, entry);  // again at the next wait
    }
  }
  void look_soon() noexcept {
    look_every_ = kFirstLook;
    looked_at_ = 0;
  }

  int look(BackendEvent* events, int capacity) noexcept {
    if (watched_.empty()) return 0;
    const Nanos now = monotonic_now();
    if (now - looked_at_ < look_every_) return 0;
    std::size_t kept = 0;
    for (int fd : watched_) {
      Entry& entry = entries_[static_cast<std::size_t>(fd)];
      entry.watched = needs_looks(entry);
      if (entry.watched) watched_[kept++] = fd;
    }
    watched_.resize(kept);
    int count = 0;
    for (int fd : watched_) {
      if (count == capacity) break;
      const Entry& entry = entries_[static_cast<std::size_t>(fd)];
      if (const unsigned seen = look_at(fd, entry)) events[count++] = {entry.token, seen, 0};
    }
    looked_at_ = count ? 0 : now;  // level-triggered: what is ready is reported by every wait
    look_every_ = count ? kFirstLook : std::min(look_every_ * 2, kLastLook);
    return count;
  }

  static unsigned look_at(int fd, const Entry& entry) noexcept {
    const bool reads = entry.interest & kReadable && entry.polled_reads;
    WSAPOLLFD item{net::handle(fd),
                   static_cast<SHORT>((reads ? POLLRDNORM : 0) | (entry.interest & kWritable ? POLLWRNORM : 0)),
                   0};
    if (item.events && ::WSAPoll(&item, 1, 0) < 0) return kHangup;
    unsigned seen = item.revents & POLLWRNORM ? kWritable : 0u;
    if (reads && item.revents & (POLLRDNORM | POLLHUP)) seen |= kReadable;
    // Who receives is told of a reset by that. POLLHUP would not do: it is also an orderly end.
    if (!(entry.interest & (kReceive | kReadable)) && gone(fd)) seen |= kHangup;
    return seen;
  }
  static bool gone(int fd) noexcept {
    char byte;
    const int got = ::recv(net::handle(fd), &byte, 1, MSG_PEEK);
    return (got == SOCKET_ERROR && ::WSAGetLastError() != WSAEWOULDBLOCK) || net::take_error(fd) != 0;
  }

  // ---- completions

  int take(BackendEvent* events, int capacity, Nanos timeout) noexcept {
    if (capacity == 0) return 0;
    OVERLAPPED_ENTRY done[kMaxEntries];
    ULONG taken = 0;
    const Nanos ms = timeout == INT64_MAX ? INT64_MAX : (timeout + kMs - 1) / kMs;
    const DWORD span =
        ms >= static_cast<Nanos>(INT_MAX) ? (timeout == INT64_MAX ? INFINITE : INT_MAX) : static_cast<DWORD>(ms);
    const ULONG room = std::min<ULONG>(static_cast<ULONG>(capacity), kMaxEntries);
    if (!::GetQueuedCompletionStatusEx(port_, done, room, &taken, span, FALSE)) return 0;
    int count = 0;
    for (ULONG i = 0; i < taken; ++i) {
      if (!done[i].lpOverlapped) {
        woken_.store(false);
        events[count++] = {kWakeToken, 0, 0};
      } else if (complete(request_of(done[i]), events[count])) {
        ++count;
      }
    }
    return count;
  }

  /// Whether there is an event to report.
  bool complete(Request* done, BackendEvent& event) noexcept {
    if (done->orphan) {
      free_orphan(done);
      return false;
    }
    std::unique_ptr<Request> request(done);
    --outstanding_;
    const int fd = request->fd;
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    std::erase(entry.in_flight, done);
    DWORD bytes = 0, flags = 0;
    const BOOL well = ::WSAGetOverlappedResult(net::handle(fd), &request->overlapped, &bytes, FALSE, &flags);
    request->result = well ? static_cast<int>(bytes) : net::failure();
    note(fd, entry);
    switch (request->kind) {
      case Kind::readable: return readable(fd, entry, event);
      case Kind::receive: report_received(entry, std::move(request), event); return true;
      case Kind::accept: return accepted(fd, entry, *request, event);
      case Kind::connect: break;
    }
    if (well) ::setsockopt(net::handle(fd), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, nullptr, 0);
    event = {entry.token, kConnect, well ? 0 : request->result};
    return true;
  }

  bool readable(int fd, Entry& entry, BackendEvent& event) noexcept {
    WSAPOLLFD item{net::handle(fd), POLLRDNORM, 0};
    if (::WSAPoll(&item, 1, 0) <= 0) {
      entry.polled_reads = true;  // it did not wait for anything: such a system has to be asked
      return false;
    }
    event = {entry.token, kReadable, 0};
    return entry.interest & kReadable;
  }

  void report_received(Entry& entry, std::unique_ptr<Request> request, BackendEvent& event) noexcept {
    const auto index = static_cast<unsigned>(delivered_.size());
    event = {entry.token, kReceive | index << kIndexShift, request->result};
    delivered_.push_back(std::move(request));
  }

  static bool accepted(int fd, Entry& entry, Request& request, BackendEvent& event) noexcept {
    const int fresh = std::exchange(request.accepted, -1);
    const SOCKET listening = net::handle(fd);
    if (request.result < 0 || ::setsockopt(net::handle(fresh), SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT,
                                           reinterpret_cast<const char*>(&listening), sizeof listening)) {
      net::close(fresh);
      return false;  // that client has left already; the next request takes its place
    }
    event = {entry.token, kAccept, fresh};
    return true;
  }

  HANDLE port_ = nullptr;
  LPFN_ACCEPTEX accept_ex_ = nullptr;
  LPFN_CONNECTEX connect_ex_ = nullptr;
  std::vector<Entry> entries_;  // by descriptor
  std::vector<int> noted_, watched_;
  std::vector<std::unique_ptr<Request>> delivered_;
  Nanos look_every_ = kFirstLook, looked_at_ = 0;
  std::size_t outstanding_ = 0;  // requests that the kernel has
  std::atomic<bool> woken_{false};
};

}  // namespace

std::unique_ptr<Backend> make_iocp_backend() { return std::make_unique<IocpBackend>(); }

}  // namespace fasterapi::core
