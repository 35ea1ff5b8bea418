#pragma once
// Request: one call of fetch(), execute(), ... from its arguments to its result, wherever it waits in between.
//   Cost     one object from a free list; arguments are encoded straight into the session's output
//   Ownership  exactly one place holds it: a session's queue, a link's lane, a statement's or the hub's waiting
//            list. Who takes it out and does not pass it on calls finish(), which deletes it.
//   Cancel   a future that is cancelled (or a timeout) leaves the request where it is, abandoned: its answers are
//            still read, and thrown away
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "connection/operation.hpp"
#include "python.hpp"
#include "statement.hpp"

namespace fasterapi::pg::py {

class Hub;
class Link;
class Request;
struct Acquisition;

enum class Shape : std::uint8_t {
  records,
  first,
  value,
  status,
  result,
  many,
  many_records,
  script,
  prepare,
  portal_bind,
  portal_fetch
};

/// Where a blocked thread waits for its result.
struct Wait {
  bool done = false;           // like all members down to error: guarded by the GIL
  Request* request = nullptr;  // who will resolve it; or
  Acquisition* lease = nullptr;
  PyObject* value = nullptr;
  PyObject* error = nullptr;
  std::mutex mutex;  // only for the condition
  std::condition_variable ready;
  bool signalled = false;
  /// The value, or the error raised.
  PyObject* result();
};

struct RowStore {
  OutBuffer bytes;  // every row: 32-bit length, body
  std::size_t count = 0;
};

class Request final : public Operation {
 public:
  static Request* make(Shape shape);

  // ---- what is asked (set by the caller before submit)
  Shape shape;
  bool exclusive = false;  // runs as a lease of its own
  bool on_lease = false;   // went through a lane: belongs to whoever holds the lease
  std::uint8_t retries = 0;
  std::uint32_t limit = 0;  // portal_fetch
  Ref sql;                  // str
  StatementRef statement_ref;
  std::vector<Ref> args;  // of one execution
  Ref many;               // list of sequences, for many and many_records
  Ref owner;              // connection handle or pool, kept alive
  PyTypeObject* record = &record_type;
  Ref record_ref;
  Ref column;  // of fetchval: int or str; null means 0
  Ref extra;   // prepare: class of the statement object
  std::string portal;
  Nanos timeout = 0;

  // ---- who waits
  PyObject* future = nullptr;  // owned
  Wait* wait = nullptr;
  bool abandoned() const noexcept { return !future && !wait; }

  Link* link = nullptr;  // the session it runs in (or is bound to)
  Hub* hub = nullptr;    // counted

  PyStatement* statement() const noexcept { return static_cast<PyStatement*>(statement_ref.get()); }
  PyStatement* rows_of() const noexcept {
    return static_cast<PyStatement*>(actual_ ? actual_.get() : statement_ref.get());
  }

  void arm(core::Reactor& reactor);  // starts the timeout
  void watch_cancel();               // abandons when the future is cancelled
  /// Ends it. At most one of value and error is set; both are taken.
  void succeed(PyObject* value) noexcept;
  void fail(Ref error) noexcept;
  void fail_current() noexcept { fail(take_error()); }
  void drop() noexcept;           // abandoned: just delete
  void forget_result() noexcept;  // before it is sent again
  double cost() const noexcept { return cost_; }
  double cost_ = 0;
  Nanos started = 0;

 private:
  friend class Link;
  explicit Request(Shape s);
  ~Request() override;
  void* operator new(std::size_t size);
  void operator delete(void* p) noexcept;

  bool on_row(std::string_view body) noexcept override;
  void on_described(std::vector<std::uint32_t>&& parameters, std::vector<backend::Column>&& columns,
                    bool has_rows) noexcept override;
  void on_complete(std::string_view tag, bool suspended) noexcept override;
  void on_copy_in() noexcept override;
  void on_copy_out() noexcept override;
  void on_ready(Session& session, char status) noexcept override;
  void on_lost(Session& session, const Failure& why) noexcept override;
  static void cancelled(void* self) noexcept;
  static void timed_out(void* self) noexcept;
  void disarm() noexcept;
  void deliver(PyObject* value, PyObject* error) noexcept;
  PyObject* take_result();

  core::Timer timer_;
  StatementRef actual_;        // described differently than we knew
  PyObject* value_ = nullptr;  // list, record or value
  Ref error_;
  RowStore rows_;
  std::string tag_;
  bool suspended_ = false, copy_ = false;
  Py_ssize_t column_index_ = 0;
};

/// The exception for an ErrorResponse.
Ref server_error(const std::vector<std::pair<char, std::string>>& fields, PyObject* sql);
/// The exception for a connection that could not be made (or, `lost`, that ended while in use).
Ref failure_error(const Failure& why, bool lost, bool safe_to_retry);

}  // namespace fasterapi::pg::py
