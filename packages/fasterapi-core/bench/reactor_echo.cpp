// Asks: what does one turn of a server cost on a backend, per request of a client over loopback TCP?
//   reactor_echo [BACKEND] [CONNECTIONS] [BYTES] [ROUNDS]
// One thread, two reactors: the server's is the one measured, the client's is always the default one.
// Prints nanoseconds and CPU nanoseconds per request. Under callgrind: --toggle-collect=serve.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>

using namespace fasterapi::core;

namespace {

struct Echo final : StreamHandler {
  explicit Echo(Reactor& reactor) : stream(reactor, *this) {}
  void on_data(char* data, std::size_t size) noexcept override { stream.write({data, size}); }
  void on_eof() noexcept override { stream.close(); }
  void on_closed(int) noexcept override { delete this; }
  Stream stream;
};

struct Server {
  static void accept(void* arg, int fd) noexcept {
    auto* self = static_cast<Server*>(arg);
    auto* echo = new Echo(self->reactor);
    if (echo->stream.adopt(fd)) delete echo;
    ++self->accepted;
  }
  explicit Server(const char* backend) : reactor(make_backend(backend)) {}
  Reactor reactor;
  int accepted = 0;
};

long cpu_now() {
  timespec ts;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return ts.tv_sec * 1'000'000'000l + ts.tv_nsec;
}

}  // namespace

extern "C" __attribute__((noinline)) int serve(Reactor& reactor) { return reactor.turn(0); }

int main(int argc, char** argv) {
  Server server(argc > 1 ? argv[1] : "epoll");
  const int connections = argc > 2 ? std::atoi(argv[2]) : 16;
  const std::size_t bytes = argc > 3 ? static_cast<std::size_t>(std::atoi(argv[3])) : 1024;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 20000;

  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(listening, reinterpret_cast<sockaddr*>(&address), length) || ::listen(listening, 512)) return 1;
  ::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &length);
  Listener listener(server.reactor, listening, &Server::accept, &server);
  if (listener.start()) return 1;
  std::vector<int> clients;
  for (int i = 0; i < connections; ++i) {
    serve(server.reactor);
    clients.push_back(::socket(AF_INET, SOCK_STREAM, 0));
    if (::connect(clients.back(), reinterpret_cast<sockaddr*>(&address), sizeof address)) return 1;
  }
  while (server.accepted < connections) serve(server.reactor);

  const std::string request(bytes, 'x');
  std::string answer(bytes, '\0');
  const Nanos began = monotonic_now();
  long served = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int client : clients) {
      if (::send(client, request.data(), bytes, 0) != static_cast<ssize_t>(bytes)) return 2;
    }
    const long before = cpu_now();
    serve(server.reactor);
    served += cpu_now() - before;
    for (int client : clients) {
      for (std::size_t got = 0; got < bytes;) {
        const ssize_t n = ::recv(client, answer.data(), bytes - got, MSG_DONTWAIT);
        if (n > 0)
          got += static_cast<std::size_t>(n);
        else {
          const long again = cpu_now();
          serve(server.reactor);
          served += cpu_now() - again;
        }
      }
    }
  }
  const double requests = static_cast<double>(rounds) * connections;
  std::printf(
      "{\"backend\": \"%s\", \"connections\": %d, \"bytes\": %zu, \"ns_per_request\": %.0f, "
      "\"server_cpu_ns_per_request\": %.0f}\n",
      server.reactor.backend_name(), connections, bytes, static_cast<double>(monotonic_now() - began) / requests,
      static_cast<double>(served) / requests);
  for (int client : clients) ::close(client);
  while (server.reactor.descriptors() > 1) serve(server.reactor);
  listener.stop();
  ::close(listening);
}
