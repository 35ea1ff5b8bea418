#pragma once
// Hub: the connections of one database on one reactor, and who may use which when. Link: one of them.
//   Policy   requests free of session effects share connections (see balancer.hpp); everything else takes a lease.
//            Leases and parked requests wait in one first-in, first-out queue.
//   Threads  the reactor's thread, with the GIL. Blocking callers are in blocking.cpp.
//   Ownership  counted under the GIL; links belong to the hub and end in on_session_closed()
#include <deque>
#include <memory>
#include <vector>

#include <fasterapi/core/reactor.hpp>

#include "connection/connector.hpp"
#include "request.hpp"

namespace fasterapi::pg::py {

struct ConnectionObject;
struct ConfigObject;

/// A lease that somebody waits for.
struct Acquisition {
  PyObject* future = nullptr;  // owned; or
  Wait* wait = nullptr;
  PyObject* owner = nullptr;  // the pool object, owned
  core::Timer timer;
  Hub* hub;
  bool gone = false;  // cancelled or timed out
  explicit Acquisition(Hub* h);
  ~Acquisition();
  void fail(Ref error) noexcept;
  static void timed_out(void* self) noexcept;
  static void cancelled(void* self) noexcept;
};

struct Waiter {
  Request* request = nullptr;
  Acquisition* lease = nullptr;
};

/// Outlives its link: what callbacks of other objects (a cancel under way) hold.
struct LinkToken {
  Link* link;
  unsigned uses;
};

class Link final : private SessionListener, private ConnectorListener {
 public:
  explicit Link(Hub& hub);
  ~Link();

  void connect();
  /// Sends, or queues behind what this lease waits for.
  void submit(Request* request);
  void send(Request* request);
  void lease(ConnectionObject* handle) noexcept;  // or nullptr for a request of its own
  void release() noexcept;                        // ends the lease, when everything of it has ended
  void release_from_any_thread() noexcept;
  void close() noexcept;
  void abort(const char* why) noexcept;
  /// Asks the server to cancel `request` if it is what runs now.
  void cancel(Request& request) noexcept;
  bool usable() const noexcept { return session && session->ready() && !closing; }
  bool idle() const noexcept { return usable() && !leased && !session->pipelined() && !setting_up; }
  std::size_t in_flight() const noexcept { return (session ? session->in_flight() : 0) + lane.size(); }

  Hub* hub;
  std::unique_ptr<Connector> connector;
  std::unique_ptr<Session> session;
  ConnectionObject* handle = nullptr;  // borrowed
  std::deque<Request*> lane;           // of the lease, behind `gate`
  bool gate = false;                   // a description is under way for the first in the lane
  bool leased = false, returning = false, closing = false, setting_up = false, expired = false;
  unsigned cancelling = 0;
  Ref on_notice_handler, on_notification_handler, on_close;
  Nanos idle_since = 0;

  void finished(Request& request) noexcept;  // an operation of it has ended
  void again(Request* request) noexcept;     // once more, after its connection or plan was healed
  /// A cancel that was sent for another query may have hit this one.
  bool stray_cancel(const Request& request) const noexcept { return recently_cancelled && !request.abandoned(); }
  bool recently_cancelled = false;
  void run_lane() noexcept;
  /// Asks the server for the types of a statement, then goes on with who waits for it.
  void describe_for(PyStatement& statement);

 private:
  friend class Hub;
  class Describe;
  class Introspect;
  void on_session_ready(Session&) noexcept override {}
  void on_session_closed(Session& session, const Failure& why) noexcept override;
  void on_session_progress(Session& session) noexcept override;
  void on_notice(Session& session, const backend::Report& report) noexcept override;
  void on_notification(Session& session, std::uint32_t pid, std::string_view channel,
                       std::string_view payload) noexcept override;
  void on_connector_done(Connector& connector, std::unique_ptr<Session> session,
                         const Failure* failure) noexcept override;
  bool encode(Request& request);
  void account(Request& request) noexcept;
  static void swallow(Request& request, Ref error) noexcept;
  static bool script_is_dirty(const Request& request) noexcept;
  Nanos previous_end = 0;
  LinkToken* token_ = nullptr;
  bool encode_args(PyStatement& statement, const std::string& name, const std::string& portal, Request& request,
                   PyObject* const* args, std::size_t count, OutBuffer& out);
  void described(PyStatement& statement, Ref error) noexcept;
  void finish_release() noexcept;
  void set_up() noexcept;
  static void set_up_done(void* self, PyObject* result, PyObject* exception) noexcept;
  static void cancel_done(void* self) noexcept;
};

class Hub {
 public:
  Hub(ConfigObject* config, int min_size, int max_size);
  void ref() noexcept { ++refs_; }
  void unref() noexcept;

  // ---- binding to a loop
  /// Makes sure that the hub is bound to this thread's running loop (binds or moves it). False with an exception.
  bool attach();
  bool attach_private();
  /// This thread is the one that the loop was bound in.
  bool on_loop_thread() const noexcept { return thread_ == PyThread_get_thread_ident(); }
  bool is_private() const noexcept { return own_reactor_ != nullptr; }
  core::Reactor* reactor() const noexcept { return reactor_; }
  PyObject* loop() const noexcept { return loop_.get(); }

  // ---- work
  void submit(Request* request);
  void wait_for_lease(Acquisition* lease);
  /// A free link, leased, or nullptr.
  Link* try_lease();
  void pump() noexcept;
  void grow(std::size_t wanted) noexcept;
  void close() noexcept;      // when idle; `closed` follows
  void terminate() noexcept;  // at once
  void expire() noexcept;
  bool quiet() const noexcept { return links.empty(); }
  void link_ready(Link& link) noexcept;
  void link_failed(Link& link, const Failure& why) noexcept;
  void link_closed(Link& link) noexcept;
  void fail_waiting(const Ref& error) noexcept;

  std::vector<std::unique_ptr<Link>> links;
  std::deque<Waiter> waiting;
  std::shared_ptr<const Options> options;
  ConfigObject* config;  // owned
  Catalog* catalog;      // counted
  int min_size, max_size;
  bool multiplex = true;
  std::uint64_t max_queries = 0;
  Nanos max_idle = 0;
  Nanos acquire_timeout = 0;
  Ref on_connect;                        // async callable
  PyObject* connection_class = nullptr;  // owned type
  PyTypeObject* record = &record_type;   // owned when not record_type
  bool single = false;                   // a connection of its own, not a pool
  bool closing = false, closed = false, opened = false;
  std::vector<PyObject*> open_futures, close_futures;  // owned
  std::vector<Wait*> open_waits, close_waits;
  struct Stats {
    std::uint64_t queries = 0, shared = 0, exclusive = 0, connects = 0, connect_errors = 0, resets = 0,
                  prepared = 0, healed = 0, cancelled = 0, received = 0, sent = 0;
  } stats;
  std::size_t leased_count() const noexcept;
  Ref closed_error() const;

  // ---- blocking callers (blocking.cpp)
  /// Finds out where blocking work of this thread goes: to the hub's own reactor, or (`posted`) to its loop.
  /// False with an exception: on a loop's thread, or the pool cannot be used from here.
  bool prepare_blocking(bool& posted);
  /// Returns when `wait` is done; false when a signal handler raised or the loop has stopped (exception set).
  bool block(Wait& wait);
  bool driving = false;  // a thread is in a turn of own_reactor_

  void check_open() noexcept;
  void check_closed() noexcept;

 private:
  ~Hub();
  bool bind_loop(PyObject* loop, core::Reactor* reactor);
  void unbind() noexcept;
  Link* pick_shared() noexcept;
  bool place(Request* request);
  Link* pick_idle() noexcept;
  bool drive(Wait& wait);
  bool sleep_for_loop(Wait& wait);
  unsigned long driver_ = 0;
  std::mutex drive_mutex_;
  std::condition_variable drive_ready_;
  std::uint64_t drive_epoch_ = 0;
  unsigned sleepers_ = 0;
  Nanos last_blocking_ = 0;
  PyThreadState* saved_thread_ = nullptr;
  static void tick(void* self) noexcept;
  static void sweep(void* self) noexcept;
  std::size_t refs_ = 1;
  bool dying_ = false;
  unsigned long thread_ = 0;
  core::Reactor* reactor_ = nullptr;
  std::unique_ptr<core::Reactor> own_reactor_;
  Ref loop_;
  std::unique_ptr<core::Timer> timer_;
  std::unique_ptr<core::Deferred> sweep_;
};

/// Keeps a hub for a scope.
class HubRef {
 public:
  explicit HubRef(Hub* hub) noexcept : hub_(hub) { hub_->ref(); }
  ~HubRef() { hub_->unref(); }
  HubRef(const HubRef&) = delete;
  HubRef& operator=(const HubRef&) = delete;

 private:
  Hub* hub_;
};

/// Resolves a wait; any thread that holds the GIL. Takes both references.
void finish_wait(Wait& wait, PyObject* value, PyObject* error) noexcept;
bool init_hub();
/// New reference to the loop that runs in this thread, None when none does.
PyObject* running_loop();

}  // namespace fasterapi::pg::py
