#pragma once
// One group of messages up to its Sync (or one simple query) and the answers it must get, in order.
// The session feeds the answers to the oldest operation; an answer out of order is a protocol error.
//   Cost     one switch per message; rows go to on_row() as they lie in the receive buffer
//   Ownership  the session holds a queue of borrowed pointers; exactly one of on_ready() and on_lost() ends it,
//            and the operation may be deleted from there
#include <cstdint>
#include <string_view>

#include "connection/options.hpp"
#include "connection/statement.hpp"
#include "protocol/backend.hpp"

namespace fasterapi::pg {

class Session;

class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  // ---- what was sent (set while encoding)
  void expect_close() noexcept { ++closes_; }
  void expect_parse(Statement* statement) noexcept {
    parse_ = true;
    parsing_ = StatementRef(statement);
  }
  void expect_description() noexcept { describe_ = true; }
  void expect_executions(std::uint32_t n, bool bind = true) noexcept {
    executions_ = n;
    bind_ = bind;
    in_rows_ = !bind;
  }
  void expect_portal_bind() noexcept { bind_only_ = true; }
  void expect_script() noexcept { script_ = true; }
  /// Forgets what was expected, to be encoded and sent again.
  void reset() noexcept;

  // ---- what arrived
  bool failed() const noexcept { return failed_; }
  const backend::Report& report() const noexcept { return report_; }

 protected:
  virtual ~Operation() = default;
  virtual void on_described(std::vector<std::uint32_t>&& parameters, std::vector<backend::Column>&& columns,
                            bool has_rows) noexcept {}
  virtual bool on_row(std::string_view body) noexcept = 0;  // false: malformed
  virtual void on_script_columns(std::vector<backend::Column>&& columns) noexcept {}
  virtual void on_complete(std::string_view tag, bool suspended) noexcept {}
  virtual void on_copy_in() noexcept {}
  virtual void on_copy_out() noexcept {}
  virtual void on_ready(Session& session, char status) noexcept = 0;
  virtual void on_lost(Session& session, const Failure& why) noexcept = 0;

 private:
  friend class Session;
  bool handle(Session& session, char type, std::string_view body);
  Operation* next_ = nullptr;
  Nanos sent_ = 0;
  std::uint32_t executions_ = 0;
  std::uint16_t closes_ = 0;
  bool parse_ = false, describe_ = false, bind_ = false, bind_only_ = false, script_ = false;
  bool in_rows_ = false, failed_ = false, copying_ = false;
  std::vector<std::uint32_t> parameters_;
  StatementRef parsing_;
  bool have_parameters_ = false;
  backend::Report report_;
};

}  // namespace fasterapi::pg
