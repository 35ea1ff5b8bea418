// Questions: what do a full and a resumed TLS handshake cost beside each other, what does an idle TLS connection
// hold, and do 100,000 connections (name resolved, connected, shaken, closed) leave descriptors or memory behind?
//   cmake -DFASTERAPI_BENCH=ON ... && ./core_tls_loop [connections]
// One thread is client and server. Prints JSON; exits 1 when descriptors or memory have grown.
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fasterapi/core/connector.hpp>
#include <fasterapi/core/stream.hpp>
#include <fasterapi/core/tls.hpp>

#include "../tests/cpp/support/certificates.hpp"

namespace core = fasterapi::core;

namespace {

int descriptors() {
  int count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory)) ++count;
  ::closedir(directory);
  return count;
}

std::size_t heap() { return ::mallinfo2().uordblks; }

double cpu_seconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct End final : core::StreamHandler {
  explicit End(core::Reactor& reactor) : stream(reactor, *this) {}
  void on_connected() noexcept override { connected = true; }
  void on_data(char*, std::size_t size) noexcept override { received += size; }
  void on_eof() noexcept override { stream.close(); }
  void on_closed(int error) noexcept override {
    if (error) std::fprintf(stderr, "closed: %s\n", stream.error_text(error).c_str()), std::exit(2);
    closed = true;
  }
  core::Stream stream;
  bool connected = false, closed = false;
  std::size_t received = 0;
};

class Loop final : public core::ConnectorListener {
 public:
  Loop() {
    const auto identity = certificates_.issue();
    core::TlsServerOptions server_options;
    server_options.cert_file = identity.cert_file;
    server_options.key_file = identity.key_file;
    server_ = core::TlsContext::server(server_options);
    core::ResolverOptions names;
    names.ttl = 20'000'000;  // so that the loop asks again and again
    resolver_ = std::make_unique<core::Resolver>(names);
    connector_ = std::make_unique<core::Connector>(reactor_, *this, *resolver_);
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listening_, 64) != 0) {
      std::perror("listen"), std::exit(2);
    }
    ::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~Loop() { ::close(listening_); }

  std::shared_ptr<core::TlsContext> client(bool resume) const {
    core::TlsClientOptions options;
    options.ca_file = certificates_.ca_file();
    options.resume = resume;
    return core::TlsContext::client(options);
  }
  struct Pair {
    std::unique_ptr<End> client, server;
  };
  Pair open(const std::shared_ptr<core::TlsContext>& context) {
    core::ConnectOptions how;
    how.host = "localhost";
    how.port = port_;
    how.family = AF_INET;
    fd_ = -1;
    connector_->connect(how);
    while (fd_ < 0) reactor_.turn(1'000'000'000);
    int accepted = -1;
    while ((accepted = ::accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) ::usleep(10);
    linger hard{1, 0};  // no TIME_WAIT: the ports would run out
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    Pair pair{std::make_unique<End>(reactor_), std::make_unique<End>(reactor_)};
    pair.client->stream.adopt(fd_);
    pair.server->stream.adopt(accepted);
    pair.server->stream.start_tls(server_, {});
    pair.client->stream.start_tls(context, "localhost");
    while (!pair.client->connected || !pair.server->connected) reactor_.turn(1'000'000'000);
    pair.server->stream.write("x");  // behind the tickets
    while (pair.client->received == 0) reactor_.turn(1'000'000'000);
    return pair;
  }
  void close(Pair& pair) {
    pair.server->stream.close_when_sent();  // the client closes at its end
    while (!pair.client->closed || !pair.server->closed) reactor_.turn(1'000'000'000);
  }
  double microseconds_each(const std::shared_ptr<core::TlsContext>& context, int count) {
    const double before = cpu_seconds();
    for (int i = 0; i < count; ++i) {
      Pair pair = open(context);
      close(pair);
    }
    return (cpu_seconds() - before) / count * 1e6;
  }
  core::TlsCounters counters() const { return server_->counters(); }
  core::ResolverStats names() const { return resolver_->stats(); }

 private:
  void on_connect(core::Connector&, int fd, const core::SocketAddress&) noexcept override { fd_ = fd; }
  void on_connect_failed(core::Connector&, const core::ConnectFailure& failure) noexcept override {
    std::fprintf(stderr, "%s\n", failure.text.c_str());
    std::exit(2);
  }
  fasterapi::core::test::Certificates certificates_;
  core::Reactor reactor_;
  std::shared_ptr<core::TlsContext> server_;
  std::unique_ptr<core::Resolver> resolver_;
  std::unique_ptr<core::Connector> connector_;
  int listening_ = -1, fd_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const int connections = argc > 1 ? std::atoi(argv[1]) : 100'000;
  Loop loop;
  const auto once = loop.client(false), again = loop.client(true);
  loop.microseconds_each(once, 200);
  loop.microseconds_each(again, 200);

  constexpr int kIdle = 400;
  std::vector<Loop::Pair> idle;
  const std::size_t empty = heap();
  for (int i = 0; i < kIdle; ++i) idle.push_back(loop.open(again));
  const std::size_t held = (heap() - empty) / (2 * kIdle);
  for (Loop::Pair& pair : idle) loop.close(pair);
  idle.clear();

  const double full = loop.microseconds_each(once, 1000), resumed = loop.microseconds_each(again, 1000);
  const auto counted = loop.counters();
  const int fds = descriptors();
  const std::size_t bytes = heap();
  loop.microseconds_each(again, connections);
  const int fds_after = descriptors();
  const std::size_t bytes_after = heap();
  const auto after = loop.counters();
  const bool grown = fds_after != fds || bytes_after > bytes + 64 * 1024;
  std::printf(
      "{\"full_handshake_us\": %.0f, \"resumed_handshake_us\": %.0f, \"idle_connection_bytes\": %zu,\n"
      " \"connections\": %d, \"resumed\": %llu, \"lookups\": %llu,\n"
      " \"descriptors\": [%d, %d], \"heap_bytes\": [%zu, %zu]}\n",
      full, resumed, held, connections, static_cast<unsigned long long>(after.resumed - counted.resumed),
      static_cast<unsigned long long>(loop.names().lookups), fds, fds_after, bytes, bytes_after);
  return grown ? 1 : 0;
}
