#include "connection/session.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>

#include "protocol/wire.hpp"

namespace fasterapi::pg {
namespace {

/// Statement names are unique in this process: behind a pooler that hands server connections around
/// (PgBouncer), two clients must not mean different statements by one name.
std::atomic<std::uint64_t> g_statement_names{0};

}  // namespace

Session::Session(core::Reactor& reactor, std::shared_ptr<const Options> options, SessionListener* listener)
    : reactor_(reactor),
      options_(std::move(options)),
      listener_(listener),
      stream_(reactor, *this),
      flush_(&Session::deferred_flush, this) {}

Session::~Session() {
  if (derivation_target_) *derivation_target_ = nullptr;
  if (derivation_.joinable()) derivation_.join();
  forget_all();
}

void Session::open(int fd, Address address, std::size_t host, TlsUse tls) {
  address_ = std::move(address);
  host_ = host;
  tls_use_ = tls;
  opened_at_ = reactor_.now();
  if (int error = stream_.adopt(fd)) {
    // The listener must not be called from within open(): report at the end of the turn.
    failure_ = {Failure::Kind::connect, "cannot connect to " + address_.text + ": " + std::strerror(error), {}};
    state_ = State::closing;
    reactor_.post([target = derivation_target_ = std::make_shared<Session*>(this)] {
      if (*target) (*target)->on_closed(0);
    });
    return;
  }
  on_connected();
}

void Session::set_socket_options() noexcept {
  if (address_.family() == AF_UNIX) return;
  auto set = [fd = stream_.fd()](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, options_->keepalives);
#ifdef TCP_KEEPIDLE
  if (options_->keepalives_idle) set(IPPROTO_TCP, TCP_KEEPIDLE, options_->keepalives_idle);
  if (options_->keepalives_interval) set(IPPROTO_TCP, TCP_KEEPINTVL, options_->keepalives_interval);
  if (options_->keepalives_count) set(IPPROTO_TCP, TCP_KEEPCNT, options_->keepalives_count);
#endif
#ifdef TCP_USER_TIMEOUT
  if (options_->tcp_user_timeout_ms) set(IPPROTO_TCP, TCP_USER_TIMEOUT, options_->tcp_user_timeout_ms);
#endif
}

// ---------------------------------------------------------------- stream events

void Session::on_closed(int error) noexcept {
  if (state_ == State::closed) return;
  // This may run at the start of a turn, ahead of its wait: what it completes must not sleep through that.
  reactor_.post([] {});
  if (failure_.kind == Failure::Kind::none) {
    bool login = state_ != State::ready && state_ != State::closing;
    if (error == EPROTO && stream_.tls()) {
      failure_ = {Failure::Kind::tls, "TLS with " + address_.text + " failed: " + stream_.error_text(error), {}};
    } else if (login) {
      failure_ = {Failure::Kind::connect,
                  "cannot connect to " + address_.text + ": " +
                      (error ? std::string(std::strerror(error)) : "the server closed the connection"),
                  {}};
    } else if (state_ == State::closing) {
      failure_ = {Failure::Kind::closed, "the connection was closed", {}};
    } else {
      failure_ = {Failure::Kind::lost,
                  "the connection to the server was lost" +
                      (error ? std::string(": ") + std::strerror(error) : std::string()),
                  {}};
    }
  }
  state_ = State::closed;
  status_ = '?';
  lose_operations();
  forget_all();
  if (listener_) listener_->on_session_closed(*this, failure_);  // may delete this
}

void Session::on_eof() noexcept { stream_.close(); }

void Session::lose_operations() noexcept {
  while (Operation* op = head_) {
    head_ = op->next_;
    op->next_ = nullptr;
    if (!head_) tail_ = nullptr;
    --in_flight_;
    op->on_lost(*this, failure_);
  }
}

void Session::abort(Failure why) noexcept {
  if (state_ == State::closed) return;
  if (failure_.kind == Failure::Kind::none) failure_ = std::move(why);
  if (stream_.open()) stream_.close();
}

void Session::close_gracefully() noexcept {
  if (state_ == State::closed || state_ == State::closing) return;
  if (state_ != State::ready) {
    abort({Failure::Kind::closed, "the connection was closed", {}});
    return;
  }
  state_ = State::closing;
  frontend::terminate(out_);
  std::string_view bytes = out_.view();
  sent_ += bytes.size();
  stream_.flush_with(bytes);
  out_.clear();
  if (stream_.open()) stream_.close_when_sent();
}

bool Session::reject(Failure::Kind kind, std::string message) noexcept {
  abort({kind, std::move(message), {}});
  return false;
}

bool Session::violation(const char* what) noexcept {
  return reject(Failure::Kind::protocol, std::string("the server broke the protocol: ") + what);
}

void Session::push(Operation& operation) noexcept {
  operation.next_ = nullptr;
  operation.sent_ = reactor_.now();
  (tail_ ? tail_->next_ : head_) = &operation;
  tail_ = &operation;
  ++in_flight_;
}

void Session::flush_now() noexcept {
  if (out_.empty()) return;
  if (stream_.open()) {
    sent_ += out_.size();
    stream_.flush_with(out_.view());
  }
  out_.clear();
  out_.shrink(256 * 1024);
}

void Session::on_data(char* data, std::size_t size) noexcept {
  received_ += size;
  if (state_ == State::tls_answer) {
    // CVE-2021-23222: whatever follows the one byte was sent in clear text, by whoever was in the middle.
    if (size != 1) {
      violation("bytes follow the answer to SSLRequest");
    } else if (data[0] == 'S') {
      state_ = State::tls_handshake;
      int error = stream_.start_tls(options_->tls_context, options_->hosts[host_].name);
      if (error) reject(Failure::Kind::tls, "cannot start TLS");
    } else if (data[0] == 'N') {
      if (tls_use_ == TlsUse::require) {
        reject(Failure::Kind::tls, "the server at " + address_.text + " does not offer TLS");
      } else {
        send_startup();
      }
    } else {
      violation("unknown answer to SSLRequest");
    }
    return;
  }
  if (state_ != State::login && state_ != State::ready) {
    if (state_ != State::closing) violation("unexpected bytes");
    return;
  }
  try {
    if (partial_.empty()) {
      std::size_t used = consume(data, size);
      if (stream_.open() && used < size) partial_.append({data + used, size - used});
    } else {
      // Large messages arrive in many pieces: grow once to what the header asked for.
      if (partial_wanted_ > partial_.size())
        partial_.reserve(std::min(partial_wanted_, partial_.size() + (std::size_t{1} << 24)) - partial_.size());
      partial_.append({data, size});
      if (partial_.size() < partial_wanted_) return;
      std::size_t used = consume(partial_.data(), partial_.size());
      if (used == partial_.size()) {
        partial_.clear();
        partial_.shrink(64 * 1024);
      } else {
        partial_.erase_front(used);
      }
    }
  } catch (const std::bad_alloc&) {
    reject(Failure::Kind::lost, "out of memory while receiving");
  }
}

std::size_t Session::consume(const char* data, std::size_t size) {
  std::size_t position = 0;
  std::size_t limit = state_ == State::ready ? options_->max_message : std::size_t{64 * 1024};
  backend::Message message;
  for (;;) {
    switch (backend::next(data, size, position, message, limit, partial_wanted_)) {
      case backend::Frame::incomplete: return position;
      case backend::Frame::malformed: {
        std::uint64_t length = wire::get32(data + position + 1);
        if (length >= 4 && state_ == State::ready) {
          violation(("a message of " + std::to_string(length) + " bytes is longer than max_message_bytes (" +
                     std::to_string(limit) + ")")
                        .c_str());
        } else {
          violation("message length");
        }
        return size;
      }
      case backend::Frame::complete:
        if (!dispatch(message) || !stream_.open()) return size;
        if (state_ == State::ready) limit = options_->max_message;
        break;
    }
  }
}

bool Session::dispatch(const backend::Message& message) {
  if (FASTERAPI_LIKELY(message.type == 'D')) {
    if (head_ && head_->handle(*this, 'D', message.body)) return true;
    return violation("DataRow");
  }
  switch (message.type) {
    case 'Z': {
      char status;
      if (!backend::ready_for_query(message.body, status)) return violation("ReadyForQuery");
      if (state_ == State::login) return login_message(message);
      Operation* op = head_;
      if (!op ||
          (!op->failed_ && (op->executions_ || op->parse_ || op->describe_ || op->closes_ || op->bind_only_))) {
        return violation("ReadyForQuery out of order");
      }
      status_ = status;
      head_ = op->next_;
      if (!head_) tail_ = nullptr;
      op->next_ = nullptr;
      --in_flight_;
      last_progress = reactor_.now();
      if (op->failed_ && op->parsing_) {
        forget(*op->parsing_.get());
        op->parsing_ = StatementRef();
      }
      op->on_ready(*this, status);
      if (state_ == State::closed) return false;
      if (listener_) listener_->on_session_progress(*this);
      return state_ != State::closed;
    }
    case 'S': {
      std::string_view name, value;
      if (!backend::parameter_status(message.body, name, value)) return violation("ParameterStatus");
      if (parameters_.size() > 1000) return violation("too many parameters");
      parameters_.insert_or_assign(std::string(name), std::string(value));
      return true;
    }
    case 'N': {
      backend::Report report;
      if (!backend::report(message.body, report)) return violation("NoticeResponse");
      if (listener_) listener_->on_notice(*this, report);
      return state_ != State::closed;
    }
    case 'A': {
      std::uint32_t pid;
      std::string_view channel, payload;
      if (state_ != State::ready || !backend::notification(message.body, pid, channel, payload)) {
        return violation("NotificationResponse");
      }
      if (listener_) listener_->on_notification(*this, pid, channel, payload);
      return state_ != State::closed;
    }
    default: break;
  }
  if (state_ == State::login) return login_message(message);
  if (message.type == 'E' && !head_) {  // the server says good-bye: shutdown, idle timeout, ...
    backend::Report report;
    if (!backend::report(message.body, report)) return violation("ErrorResponse");
    failure_.kind = Failure::Kind::server;
    failure_.message = report.get('M');
    failure_.fields = std::move(report.fields);
    stream_.close();
    return false;
  }
  if (!head_ || !head_->handle(*this, message.type, message.body))
    return violation("message out of order or malformed");
  if (message.type == 'E') {
    std::string_view severity = head_->report_.get('V');
    if (severity.empty()) severity = head_->report_.get('S');
    if (severity == "FATAL" || severity == "PANIC") {
      failure_.kind = Failure::Kind::server;
      failure_.message = head_->report_.get('M');
      failure_.fields = head_->report_.fields;
      stream_.close();
      return false;
    }
  }
  return state_ != State::closed;
}

bool Session::refuse_copy_in(Operation& operation, bool script) noexcept {
  // The server has swallowed our Sync (it ignores Sync while it waits for copy data). With other operations behind
  // this one their messages would be taken for copy data, and answers could no longer be told apart.
  if (operation.next_) return violation("COPY FROM STDIN with queries queued behind it");
  frontend::copy_fail(out_, "COPY FROM STDIN needs one of the copy_to_table methods");
  if (!script) frontend::sync(out_);
  flush_soon();
  return true;
}

std::string_view Session::parameter(std::string_view name) const noexcept {
  auto found = parameters_.find(name);
  return found == parameters_.end() ? std::string_view() : std::string_view(found->second);
}

std::string Session::tls_version() const { return stream_.tls() ? stream_.tls()->version() : std::string(); }

// ---------------------------------------------------------------- prepared statements

void Session::unlink(Prepared& e) noexcept {
  (e.newer ? e.newer->older : newest_) = e.older;
  (e.older ? e.older->newer : oldest_prepared_) = e.newer;
  e.newer = e.older = nullptr;
}

void Session::link_newest(Prepared& e) noexcept {
  e.older = newest_;
  e.newer = nullptr;
  (newest_ ? newest_->newer : oldest_prepared_) = &e;
  newest_ = &e;
}

void Session::erase(Prepared& entry) noexcept {
  unlink(entry);
  StatementRef keep = entry.statement;
  if (keep->last_session == this) keep->last_session = nullptr, keep->last_prepared = nullptr;
  prepared_.erase(keep.get());
}

Prepared* Session::find(Statement& statement) noexcept {
  if (FASTERAPI_LIKELY(statement.last_session == this)) return statement.last_prepared;
  auto found = prepared_.find(&statement);
  if (found == prepared_.end()) return nullptr;
  statement.last_session = this;
  statement.last_prepared = &found->second;
  return &found->second;
}

const std::string* Session::prepare(Statement& statement, Operation& operation, bool describe) {
  static const std::string kUnnamed;
  if (options_->unnamed_statements() || !statement.cacheable) {
    if (!frontend::parse(out_, kUnnamed, statement.sql, statement.parameters)) return nullptr;
    operation.expect_parse(nullptr);
    if (describe) {
      frontend::describe_statement(out_, kUnnamed);
      operation.expect_description();
    }
    return &kUnnamed;
  }
  if (Prepared* entry = find(statement)) {
    if (entry != newest_) {
      unlink(*entry);
      link_newest(*entry);
    }
    if (describe) {
      frontend::describe_statement(out_, entry->name);
      operation.expect_description();
    }
    return &entry->name;
  }
  std::size_t mark = out_.size();
  while (prepared_.size() >= options_->statement_cache_size) {
    Prepared* victim = oldest_prepared_;
    while (victim && victim->pins) victim = victim->newer;
    if (!victim) break;
    frontend::close_statement(out_, victim->name);
    operation.expect_close();
    erase(*victim);
  }
  (void)mark;
  std::string name = "fasterapi_" + std::to_string(++g_statement_names);
  if (!frontend::parse(out_, name, statement.sql, statement.parameters)) return nullptr;
  Prepared& entry = prepared_[&statement];
  entry.statement = StatementRef(&statement);
  entry.name = std::move(name);
  entry.since = reactor_.now();
  link_newest(entry);
  statement.last_session = this;
  statement.last_prepared = &entry;
  operation.expect_parse(&statement);
  if (describe) {
    frontend::describe_statement(out_, entry.name);
    operation.expect_description();
  }
  return &entry.name;
}

void Session::forget(Statement& statement) noexcept {
  if (Prepared* entry = find(statement)) erase(*entry);
}

void Session::drop(Statement& statement, Operation& operation) {
  if (Prepared* entry = find(statement)) {
    frontend::close_statement(out_, entry->name);
    operation.expect_close();
    erase(*entry);
  }
}

void Session::forget_all() noexcept {
  while (newest_) erase(*newest_);
}

}  // namespace fasterapi::pg
