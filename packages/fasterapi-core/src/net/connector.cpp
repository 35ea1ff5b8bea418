#include <fasterapi/core/connector.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

namespace fasterapi::core {
namespace {

std::string target_text(const ConnectOptions& options) {
  if (!options.unix_path.empty()) return '"' + options.unix_path + '"';
  if (options.host.empty()) return {};
  return '"' + options.host + "\" port " + std::to_string(options.port);
}

}  // namespace

/// One socket on its way.
class Connector::Attempt final : public IoHandler {
 public:
  Attempt(Connector& owner, int fd, std::size_t index) noexcept : owner_(owner), fd_(fd), index_(index) {}
  ~Attempt() {
    if (fd_ < 0) return;
    owner_.reactor_.remove(fd_);
    ::close(fd_);
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  void on_io(unsigned) noexcept override { owner_.attempt_ready(*this); }
  std::size_t index() const noexcept { return index_; }
  int error() const noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
  }
  int take() noexcept {
    owner_.reactor_.remove(fd_);
    return std::exchange(fd_, -1);
  }

 private:
  Connector& owner_;
  int fd_;
  std::size_t index_;
};

Connector::Connector(Reactor& reactor, ConnectorListener& listener, Resolver& resolver)
    : reactor_(reactor),
      listener_(listener),
      resolver_(resolver),
      delay_([](void* self) noexcept { static_cast<Connector*>(self)->start_next(); }, this),
      deadline_([](void* self) noexcept { static_cast<Connector*>(self)->fail_all(ETIMEDOUT); }, this),
      report_(
          [](void* arg) noexcept {
            auto* self = static_cast<Connector*>(arg);
            if (std::exchange(self->failed_, false)) self->report();
          },
          this) {}

Connector::~Connector() { cancel(); }

void Connector::cancel() noexcept {
  active_ = failed_ = false;
  query_.cancel();
  reactor_.cancel(delay_);
  reactor_.cancel(deadline_);
  attempts_.clear();
  addresses_.clear();
  next_ = 0;
  if (won_ >= 0) ::close(std::exchange(won_, -1));
}

void Connector::connect(ConnectOptions options) {
  cancel();
  failure_ = {};
  options_ = std::move(options);
  active_ = true;
  if (options_.timeout > 0) {
    reactor_.refresh_now();
    reactor_.arm_after(deadline_, options_.timeout);
  }
  if (!options_.unix_path.empty()) {
    if (auto address = SocketAddress::unix_path(options_.unix_path)) return begin({*address});
    return fail(ENAMETOOLONG, "the path of the UNIX socket is too long: " + options_.unix_path);
  }
  auto use = [this](Resolution result) noexcept {
    if (!result.error.empty()) {
      fail(result.timed_out ? ETIMEDOUT : EHOSTUNREACH, std::move(result.error));
      return;
    }
    try {
      begin(interleave_families(result.addresses));
    } catch (const std::bad_alloc&) {
      fail(ENOMEM, {});
    }
  };
  if (auto known = resolver_.resolve_now(options_.host, options_.port, options_.family))
    return use(std::move(*known));
  query_ = resolver_.resolve(reactor_, options_.host, options_.port, use, 0, options_.family);
}

void Connector::connect(std::vector<SocketAddress> addresses, ConnectOptions options) {
  cancel();
  failure_ = {};
  options_ = std::move(options);
  active_ = true;
  if (options_.timeout > 0) {
    reactor_.refresh_now();
    reactor_.arm_after(deadline_, options_.timeout);
  }
  begin(std::move(addresses));
}

void Connector::begin(std::vector<SocketAddress> addresses) {
  addresses_ = std::move(addresses);
  next_ = 0;
  failure_.attempts.reserve(addresses_.size());
  attempts_.reserve(addresses_.size());  // nothing below needs memory but the attempts themselves
  for (const SocketAddress& address : addresses_) failure_.attempts.push_back({address, EINPROGRESS});
  start_next();
}

// A socket that is on its way, or an errno.
int Connector::open(const SocketAddress& address, int& fd) noexcept {
  fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (!options_.bind_address.empty() || options_.bind_port) {
    std::optional<SocketAddress> local;
    try {
      local = SocketAddress::numeric(!options_.bind_address.empty() ? options_.bind_address
                                     : address.family() == AF_INET6 ? "::"
                                                                    : "0.0.0.0",
                                     options_.bind_port);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
    if (!local) return EINVAL;
    if (local->family() != address.family()) return EAFNOSUPPORT;
    int on = 1;
    if (options_.bind_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd, local->get(), local->size) != 0) return errno;
  }
  int result;
  do result = ::connect(fd, address.get(), address.size);
  while (result != 0 && errno == EINTR);
  return result == 0 || errno == EINPROGRESS ? 0 : errno;  // EAGAIN: a UNIX socket whose backlog is full
}

void Connector::start_next() noexcept {
  while (next_ < addresses_.size()) {
    const std::size_t index = next_++;
    int fd = -1;
    int error = open(addresses_[index], fd);
    if (!error) {
      auto* attempt = new (std::nothrow) Attempt(*this, fd, index);
      error = attempt ? reactor_.add(fd, kWritable, attempt) : ENOMEM;
      if (!error) {
        attempts_.emplace_back(attempt);
        if (next_ < addresses_.size()) {
          reactor_.refresh_now();
          reactor_.arm_after(delay_, options_.attempt_delay);
        }
        return;
      }
      if (attempt) {
        delete attempt;  // closes the descriptor
        fd = -1;
      }
    }
    if (fd >= 0) ::close(fd);
    failure_.attempts[index].error = error;
  }
  if (attempts_.empty()) fail_all(0);
}

void Connector::attempt_ready(Attempt& attempt) noexcept {
  const std::size_t index = attempt.index();
  const int error = attempt.error();
  if (error == 0) {
    won_ = attempt.take();
    won_address_ = addresses_[index];
    reactor_.cancel(delay_);
    reactor_.cancel(deadline_);
    attempts_.clear();  // this attempt too
    return report();
  }
  failure_.attempts[index].error = error;
  std::erase_if(attempts_, [&attempt](const auto& each) { return each.get() == &attempt; });
  reactor_.cancel(delay_);
  start_next();
}

// `error` is ETIMEDOUT when time is up, 0 when every attempt has failed.
void Connector::fail_all(int error) noexcept {
  try {
    std::string text;
    int last = error;
    for (const ConnectAttempt& attempt : failure_.attempts) {
      if (static_cast<std::size_t>(&attempt - failure_.attempts.data()) >= next_) {
        text += "; " + std::to_string(failure_.attempts.size() - next_) + " more not tried";
        break;
      }
      if (!text.empty()) text += "; ";
      text += attempt.address.text() + ": ";
      if (attempt.error != EINPROGRESS) {
        text += attempt.error == EAGAIN ? "the server's backlog is full" : std::strerror(attempt.error);
        if (!error) last = attempt.error;
      } else {
        text += "no answer";
      }
    }
    std::string head = "cannot connect";
    if (const std::string target = target_text(options_); !target.empty()) head += " to " + target;
    if (error == ETIMEDOUT) head += " within " + std::to_string(options_.timeout / 1'000'000) + " ms";
    if (text.empty()) text = error == ETIMEDOUT ? "the name is not resolved yet" : "there is no address";
    fail(last ? last : EHOSTUNREACH, head + ": " + text);
  } catch (const std::bad_alloc&) {
    fail(ENOMEM, {});
  }
}

void Connector::fail(int error, std::string text) noexcept {
  query_.cancel();
  reactor_.cancel(delay_);
  reactor_.cancel(deadline_);
  attempts_.clear();
  if (!addresses_.empty()) resolver_.forget(options_.host);  // the next try shall ask anew
  failure_.error = error;
  failure_.text = std::move(text);
  failed_ = true;
  reactor_.defer(report_);
}

void Connector::report() noexcept {
  active_ = false;
  if (won_ >= 0) return listener_.on_connect(*this, std::exchange(won_, -1), won_address_);  // may destroy this
  const ConnectFailure failure = std::move(failure_);
  listener_.on_connect_failed(*this, failure);
}

std::vector<SocketAddress> interleave_families(const std::vector<SocketAddress>& addresses) {
  std::vector<SocketAddress> mixed;
  if (addresses.empty()) return mixed;
  mixed.reserve(addresses.size());
  const int first = addresses.front().family();
  std::size_t at[2] = {0, 0};
  for (int turn = 0; mixed.size() < addresses.size(); turn ^= 1) {
    std::size_t& i = at[turn];
    while (i < addresses.size() && (addresses[i].family() == first) != (turn == 0)) ++i;
    if (i < addresses.size()) mixed.push_back(addresses[i++]);
  }
  return mixed;
}

}  // namespace fasterapi::core
