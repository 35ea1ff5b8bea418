#include "connection/connector.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace fasterapi::pg {
namespace {

std::mt19937& random_engine() {
  static std::mt19937 engine{std::random_device{}()};
  return engine;
}

}  // namespace

/// Asks a server before 14 (which does not report it) whether it is read-only or a standby.
class Connector::Probe final : public Operation {
 public:
  explicit Probe(Connector& owner) : owner_(owner) {}
  ~Probe() override = default;
  bool on_row(std::string_view body) noexcept override {
    wire_row_ = backend::data_row(body, 2);
    if (wire_row_) {
      // Two text values: transaction_read_only as on/off, pg_is_in_recovery as t/f.
      read_only_ = body.size() > 7 && body[7] == 'n';
      standby_ = body.back() == 't';
    }
    return wire_row_;
  }
  void on_ready(Session&, char) noexcept override { owner_.check_target(read_only_, standby_); }
  void on_lost(Session&, const Failure&) noexcept override {}

 private:
  Connector& owner_;
  bool wire_row_ = false, read_only_ = false, standby_ = false;
};

Connector::Connector(core::Reactor& reactor, std::shared_ptr<const Options> options,
                     pg::ConnectorListener& listener)
    : reactor_(reactor),
      options_(std::move(options)),
      listener_(listener),
      connector_(reactor, *this),
      timer_(&Connector::timed_out, this),
      continue_(&Connector::cleanup, this) {}

Connector::~Connector() {
  if (session_) session_->set_listener(nullptr);
}

void Connector::start() {
  order_.resize(options_->hosts.size());
  for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
  if (options_->load_balance) std::shuffle(order_.begin(), order_.end(), random_engine());
  host_ = 0;
  next_host();
}

void Connector::next_host() {
  if (host_ >= order_.size()) {
    if (options_->target == SessionAttributes::prefer_standby && !second_pass_) {
      second_pass_ = true;
      host_ = 0;
    } else {
      give_up();
      return;
    }
  }
  const Host& host = options_->hosts[order_[host_]];
  if (host.is_unix()) {
    const std::string path = host.name + "/.s.PGSQL." + std::to_string(host.port);
    if (auto address = core::SocketAddress::unix_path(path)) return use_addresses({*address}, {});
    return use_addresses({}, "the path of the unix socket is too long: " + path);
  }
  if (!host.address.empty()) {
    if (auto address = core::SocketAddress::numeric(host.address, host.port)) return use_addresses({*address}, {});
    return use_addresses({}, "hostaddr \"" + host.address + "\" is not an address in numbers");
  }
  core::Resolver& resolver = core::Resolver::shared();
  if (auto known = resolver.resolve_now(host.name, host.port)) return resolved(std::move(*known));
  query_ = resolver.resolve(
      reactor_, host.name, host.port, [this](core::Resolution result) { resolved(std::move(result)); },
      options_->connect_timeout);
}

void Connector::resolved(core::Resolution result) {
  use_addresses(core::interleave_families(result.addresses), result.error);
}

void Connector::use_addresses(std::vector<core::SocketAddress> addresses, const std::string& error) {
  addresses_ = std::move(addresses);
  if (addresses_.empty()) {
    note({Failure::Kind::connect, error, {}});
    ++host_;
    reactor_.defer(continue_);
    return;
  }
  if (options_->load_balance) std::shuffle(addresses_.begin(), addresses_.end(), random_engine());
  next_address();
}

void Connector::next_address() {
  if (addresses_.empty()) {
    ++host_;
    next_host();
    return;
  }
  second_try_ = false;
  switch (options_->ssl_mode) {
    case SslMode::disable:
    case SslMode::allow: tls_ = TlsUse::none; break;
    case SslMode::prefer: tls_ = options_->direct_tls ? TlsUse::require : TlsUse::prefer; break;
    default: tls_ = TlsUse::require;
  }
  race(addresses_);
}

void Connector::race(std::vector<core::SocketAddress> addresses) {
  reactor_.refresh_now();
  started_ = reactor_.now();
  core::ConnectOptions how;
  how.timeout = options_->connect_timeout;
  connector_.connect(std::move(addresses), std::move(how));
}

std::string Connector::text_of(const core::SocketAddress& address) const {
  const Host& host = options_->hosts[order_[host_]];
  const std::string& name = host.address.empty() ? host.name : host.address;
  std::string text = address.host();
  if (address.family() == AF_UNIX) return text;
  if (name != text) text = name + " (" + text + ")";
  text += ':';
  return text += std::to_string(host.port);
}

void Connector::note_attempt(const core::SocketAddress& address, int error) {
  if (error == EINPROGRESS) {
    note({Failure::Kind::timeout,
          "no connection to " + text_of(address) + " within " +
              std::to_string(options_->connect_timeout / kMillisecond) + " ms (connect_timeout)",
          {}});
  } else {
    note({Failure::Kind::connect, "cannot connect to " + text_of(address) + ": " + std::strerror(error), {}});
  }
}

void Connector::on_connect(core::Connector& connector, int fd, const core::SocketAddress& address) noexcept {
  // What failed beside the winner is not tried again.
  for (const core::ConnectAttempt& attempt : connector.attempts()) {
    if (attempt.address != address && attempt.error == EINPROGRESS) continue;
    if (attempt.address != address) note_attempt(attempt.address, attempt.error);
    std::erase(addresses_, attempt.address);
  }
  address_ = address;
  session_ = std::make_unique<Session>(reactor_, options_, static_cast<SessionListener*>(this));
  if (options_->connect_timeout > 0) reactor_.arm(timer_, started_ + options_->connect_timeout);
  session_->open(fd, {address, text_of(address)}, order_[host_], tls_);
}

void Connector::on_connect_failed(core::Connector&, const core::ConnectFailure& failure) noexcept {
  for (const core::ConnectAttempt& attempt : failure.attempts) {
    note_attempt(attempt.address, attempt.error);
    std::erase(addresses_, attempt.address);
  }
  reactor_.post([] {});  // see Session::on_closed()
  next_address();
}

void Connector::timed_out(void* self) noexcept {
  auto* c = static_cast<Connector*>(self);
  if (c->session_) {
    c->session_->abort({Failure::Kind::timeout,
                        "no connection to " + c->session_->address().text + " within " +
                            std::to_string(c->options_->connect_timeout / kMillisecond) + " ms (connect_timeout)",
                        {}});
  }
}

void Connector::note(const Failure& why) { failures_.push_back(why); }

void Connector::on_session_closed(Session& session, const Failure& reason) noexcept {
  Failure why = reason;  // it belongs to the session, which goes below
  reactor_.cancel(timer_);
  bool unix_socket = session.address().family() == AF_UNIX;
  bool had_tls = session.tls() || why.kind == Failure::Kind::tls;
  bool server_said_no = why.kind == Failure::Kind::server;
  std::string sqlstate;
  for (const auto& [code, value] : why.fields) {
    if (code == 'C') sqlstate = value;
  }
  if (!second_try_ && !unix_socket) {
    bool again = false;
    if (options_->ssl_mode == SslMode::prefer && had_tls && (server_said_no || why.kind == Failure::Kind::tls)) {
      tls_ = TlsUse::none;
      again = true;
    } else if (options_->ssl_mode == SslMode::allow && server_said_no) {
      tls_ = TlsUse::require;
      again = true;
    }
    if (again) {
      second_try_ = true;
      session_.reset();
      race({address_});
      return;
    }
  }
  note(why);
  session_.reset();
  // A server that knows us and says no would say no again; only one that cannot serve now is passed over.
  if ((server_said_no && sqlstate != "57P03" && sqlstate != "53300") ||
      why.kind == Failure::Kind::authentication || why.kind == Failure::Kind::protocol) {
    give_up();
    return;
  }
  next_address();
}

void Connector::cleanup(void* self) noexcept { static_cast<Connector*>(self)->next_host(); }

void Connector::on_session_ready(Session& session) noexcept {
  if (options_->target == SessionAttributes::any || second_pass_) {
    accept();
    return;
  }
  std::string_view standby = session.parameter("in_hot_standby");
  std::string_view read_only = session.parameter("default_transaction_read_only");
  if (!standby.empty() && !read_only.empty()) {
    check_target(read_only == "on" || standby == "on", standby == "on");
    return;
  }
  probe_ = std::make_unique<Probe>(*this);
  frontend::query(session.out(),
                  "SELECT pg_catalog.current_setting('transaction_read_only'), "
                  "pg_catalog.pg_is_in_recovery()");
  probe_->expect_script();
  session.push(*probe_);
  session.flush_now();
}

void Connector::check_target(bool read_only, bool standby) noexcept {
  bool fits = true;
  switch (options_->target) {
    case SessionAttributes::read_write: fits = !read_only; break;
    case SessionAttributes::read_only: fits = read_only; break;
    case SessionAttributes::primary: fits = !standby; break;
    case SessionAttributes::standby:
    case SessionAttributes::prefer_standby: fits = standby; break;
    case SessionAttributes::any: break;
  }
  fits ? accept() : mismatch();
}

void Connector::mismatch() noexcept {
  static constexpr const char* kNames[] = {"any",     "read-write", "read-only",
                                           "primary", "standby",    "prefer-standby"};
  session_->abort({Failure::Kind::mismatch,
                   session_->address().text + " is not " + kNames[static_cast<int>(options_->target)] +
                       " (target_session_attrs)",
                   {}});
}

void Connector::accept() noexcept {
  reactor_.cancel(timer_);
  session_->set_listener(nullptr);
  listener_.on_connector_done(*this, std::move(session_), nullptr);
}

void Connector::give_up() noexcept {
  reactor_.post([] {});  // see Session::on_closed()
  Failure all;
  if (failures_.empty()) {
    all = {Failure::Kind::connect, "no host to connect to", {}};
  } else {
    all = failures_.back();
    if (failures_.size() > 1) {
      all.message.clear();
      for (const Failure& f : failures_) all.message += (all.message.empty() ? "" : "; ") + f.message;
      if (all.kind != Failure::Kind::authentication && all.kind != Failure::Kind::protocol &&
          all.kind != Failure::Kind::server && all.kind != Failure::Kind::mismatch) {
        all.kind = Failure::Kind::connect;
      }
    }
  }
  listener_.on_connector_done(*this, nullptr, &all);
}

// ---------------------------------------------------------------- cancel

namespace {

class Canceller final : private core::StreamHandler {
 public:
  Canceller(Session& session, void (*done)(void*) noexcept, void* arg)
      : stream_(session.reactor(), *this),
        options_(session.shared_options()),
        host_(session.host()),
        tls_(session.tls()),
        done_(done),
        arg_(arg),
        timeout_([](void* self) noexcept { static_cast<Canceller*>(self)->stream_.close(); }, this),
        finish_([](void* self) noexcept { static_cast<Canceller*>(self)->finish(); }, this) {
    frontend::cancel_request(request_, session.pid(), session.cancel_key());
    const core::SocketAddress& address = session.address().socket;
    if (stream_.connect(address.get(), address.size) != 0) {
      session.reactor().defer(finish_);
      return;
    }
    session.reactor().arm_after(timeout_, 10 * kSecond);
  }

 private:
  void on_connected() noexcept override {
    if (tls_ && !stream_.tls()) {
      OutBuffer ask;
      if (options_->direct_tls) {
        if (stream_.start_tls(options_->tls_context, options_->hosts[host_].name)) stream_.close();
        return;
      }
      frontend::ssl_request(ask);
      stream_.flush_with(ask.view());
      return;
    }
    stream_.flush_with(request_.view());
  }
  void on_data(char* data, std::size_t size) noexcept override {
    // The key must not travel in clear text when the session itself does not.
    if (!tls_ || stream_.tls() || size != 1 || data[0] != 'S' ||
        stream_.start_tls(options_->tls_context, options_->hosts[host_].name)) {
      stream_.close();
    }
  }
  void on_eof() noexcept override { stream_.close(); }
  void on_closed(int) noexcept override { finish(); }
  void finish() noexcept {
    stream_.reactor().post([] {});
    if (done_) done_(arg_);
    delete this;
  }

  core::Stream stream_;
  std::shared_ptr<const Options> options_;
  std::size_t host_;
  bool tls_;
  void (*done_)(void*) noexcept;
  void* arg_;
  core::Timer timeout_;
  core::Deferred finish_;
  OutBuffer request_;
};

}  // namespace

void send_cancel(Session& session, void (*done)(void* arg) noexcept, void* arg) {
  new Canceller(session, done, arg);
}

}  // namespace fasterapi::pg
