#include "connection/connector.hpp"

#include <netdb.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <thread>

namespace fasterapi::pg {
namespace {

bool unix_address(const Host& host, Address& out, std::string& error) {
  auto* un = reinterpret_cast<sockaddr_un*>(&out.storage);
  un->sun_family = AF_UNIX;
  std::string path = host.name + "/.s.PGSQL." + std::to_string(host.port);
  if (path.size() >= sizeof un->sun_path) {
    error = "the path of the unix socket is too long: " + path;
    return false;
  }
  std::memcpy(un->sun_path, path.data(), path.size());
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (path[0] == '@') {  // abstract: a leading NUL and no terminator
    un->sun_path[0] = '\0';
    out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  }
  out.text = path;
  return true;
}

void resolve(const std::string& name, std::uint16_t port, bool numeric, std::vector<Address>& out,
             std::string& error) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0);
  addrinfo* list = nullptr;
  int code = ::getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (code != 0) {
    error = "cannot resolve \"" + name + "\": " + ::gai_strerror(code);
    return;
  }
  for (addrinfo* a = list; a; a = a->ai_next) {
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.length = a->ai_addrlen;
    char text[64] = "";
    ::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    address.text =
        name == text ? name + ":" + std::to_string(port) : name + " (" + text + "):" + std::to_string(port);
    out.push_back(std::move(address));
  }
  ::freeaddrinfo(list);
}

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

Connector::Connector(core::Reactor& reactor, std::shared_ptr<const Options> options, ConnectorListener& listener)
    : reactor_(reactor),
      options_(std::move(options)),
      listener_(listener),
      timer_(&Connector::timed_out, this),
      continue_(&Connector::cleanup, this) {}

Connector::~Connector() {
  if (lookup_) {
    std::lock_guard lock(lookup_->mutex);
    lookup_->connector = nullptr;
    lookup_->reactor = nullptr;
  }
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
  std::vector<Address> found;
  std::string error;
  if (host.is_unix()) {
    Address address;
    if (unix_address(host, address, error)) found.push_back(std::move(address));
    use_addresses(std::move(found), error);
    return;
  }
  const std::string& name = host.address.empty() ? host.name : host.address;
  resolve(name, host.port, true, found, error);
  if (!found.empty() || !host.address.empty()) {
    use_addresses(std::move(found), error);
    return;
  }
  lookup_ = std::make_shared<Lookup>();
  lookup_->connector = this;
  lookup_->reactor = &reactor_;
  std::thread([lookup = lookup_, name, port = host.port] {
    std::vector<Address> addresses;
    std::string problem;
    resolve(name, port, false, addresses, problem);
    std::lock_guard lock(lookup->mutex);
    lookup->addresses = std::move(addresses);
    lookup->error = std::move(problem);
    if (!lookup->reactor) return;
    lookup->reactor->post([lookup] {
      Connector* connector = lookup->connector;  // changed on this thread only
      if (connector) connector->use_addresses(std::move(lookup->addresses), lookup->error);
    });
  }).detach();
}

void Connector::use_addresses(std::vector<Address> addresses, const std::string& error) {
  lookup_.reset();
  addresses_ = std::move(addresses);
  if (addresses_.empty()) {
    note({Failure::Kind::connect, error, {}});
    ++host_;
    reactor_.defer(continue_);
    return;
  }
  if (options_->load_balance) std::shuffle(addresses_.begin(), addresses_.end(), random_engine());
  address_ = 0;
  next_address();
}

void Connector::next_address() {
  if (address_ >= addresses_.size()) {
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
  try_address();
}

void Connector::try_address() {
  session_ = std::make_unique<Session>(reactor_, options_, static_cast<SessionListener*>(this));
  session_->open(addresses_[address_], order_[host_], tls_);
  if (options_->connect_timeout > 0) {
    reactor_.refresh_now();
    reactor_.arm_after(timer_, options_->connect_timeout);
  }
}

void Connector::timed_out(void* self) noexcept {
  auto* c = static_cast<Connector*>(self);
  if (c->session_) {
    c->session_->abort({Failure::Kind::timeout,
                        "no connection to " + c->addresses_[c->address_].text + " within " +
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
      try_address();
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
  ++address_;
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
    const Address& a = session.address();
    if (stream_.connect(reinterpret_cast<const sockaddr*>(&a.storage), a.length) != 0) {
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
