#pragma once
// What is known about one SQL text in one database, shared by all connections to it, and the entry that says
// under which name one connection has it prepared.
//   Threads  one reactor; reference counts are not atomic
//   Ownership  Statement is counted (StatementRef); a Prepared belongs to its session and keeps its Statement
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "protocol/backend.hpp"
#include "protocol/classify.hpp"

namespace fasterapi::pg {

class Session;
struct Prepared;

class Statement {
 public:
  explicit Statement(std::string text) : sql(std::move(text)), kind(classify(sql)) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  const std::string sql;
  StatementClass kind;
  bool ready = false;     // parameter and result types are known
  bool stale = false;     // the plan's result changed: nobody may start it any more
  bool cacheable = true;  // false: too long, prepared without a name each time
  std::vector<std::uint32_t> parameters;
  std::vector<backend::Column> columns;  // empty for statements without rows
  bool has_rows = false;
  std::vector<std::uint16_t> parameter_formats{1};  // one code for all, or one per parameter
  std::vector<std::uint16_t> result_formats{1};
  double cost_us = 1000;  // moving average of the time the server needs; unknown statements count as 1 ms
  std::uint32_t runs = 0;

  /// The session that used it last: one compare instead of a look-up when few connections are shared.
  Session* last_session = nullptr;
  Prepared* last_prepared = nullptr;

  void ref() noexcept { ++refs_; }
  void unref() noexcept {
    if (--refs_ == 0) delete this;
  }

 protected:
  virtual ~Statement() = default;

 private:
  std::size_t refs_ = 0;
};

class StatementRef {
 public:
  StatementRef() noexcept = default;
  StatementRef(Statement* s) noexcept : s_(s) {
    if (s_) s_->ref();
  }
  StatementRef(const StatementRef& o) noexcept : StatementRef(o.s_) {}
  StatementRef(StatementRef&& o) noexcept : s_(std::exchange(o.s_, nullptr)) {}
  StatementRef& operator=(StatementRef o) noexcept {
    std::swap(s_, o.s_);
    return *this;
  }
  ~StatementRef() {
    if (s_) s_->unref();
  }
  Statement* get() const noexcept { return s_; }
  Statement* operator->() const noexcept { return s_; }
  Statement& operator*() const noexcept { return *s_; }
  explicit operator bool() const noexcept { return s_ != nullptr; }

 private:
  Statement* s_ = nullptr;
};

struct Prepared {
  StatementRef statement;
  std::string name;
  std::int64_t since = 0;  // when it was prepared, for max_cached_statement_lifetime
  unsigned pins = 0;       // PreparedStatement objects that hold it: not evicted
  Prepared* newer = nullptr;
  Prepared* older = nullptr;
};

}  // namespace fasterapi::pg
