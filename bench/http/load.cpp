// Closed-loop HTTP/1.1 load: N keep-alive connections, each with D requests in flight, one thread, epoll.
//   load HOST PORT CONNECTIONS DEPTH SECONDS < request
// Prints one line of JSON. Compiled by compare.py; part of the benchmarks, not of any package.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <strings.h>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Connection {
  int fd = -1;
  std::string in;
  int in_flight = 0;
  Clock::time_point sent;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// Length of the first complete answer in `text`, 0 when it is not complete yet.
std::size_t answer_length(const char* text, std::size_t size, int& status) {
  const void* found = memmem(text, size, "\r\n\r\n", 4);
  if (!found) return 0;
  const std::size_t head = static_cast<std::size_t>(static_cast<const char*>(found) - text) + 4;
  status = std::atoi(text + 9);
  for (const char* line = text; line < text + head - 2;) {
    if (strncasecmp(line, "content-length:", 15) == 0) {
      const std::size_t total = head + static_cast<std::size_t>(std::strtoul(line + 15, nullptr, 10));
      return size >= total ? total : 0;
    }
    if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
      const void* last = memmem(text + head - 2, size - head + 2, "\r\n0\r\n\r\n", 7);
      return last ? static_cast<std::size_t>(static_cast<const char*>(last) - text) + 7 : 0;
    }
    const void* next = memmem(line, static_cast<std::size_t>(text + head - line), "\r\n", 2);
    line = static_cast<const char*>(next) + 2;
  }
  return head;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const int connections = std::atoi(argv[3]), depth = std::atoi(argv[4]);
  const double seconds = std::atof(argv[5]);
  std::string request;
  char chunk[65536];
  while (std::size_t n = std::fread(chunk, 1, sizeof chunk, stdin)) request.append(chunk, n);
  std::string batch;
  for (int i = 0; i < depth; ++i) batch += request;

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &address.sin_addr);
  const int epoll = epoll_create1(0);
  std::vector<Connection> all(static_cast<std::size_t>(connections));
  for (auto& c : all) {
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
    const int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{EPOLLIN, {}};
    event.data.ptr = &c;
    epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &event);
  }
  const auto send_batch = [&](Connection& c) {
    c.in_flight = depth;
    c.sent = Clock::now();
    if (send(c.fd, batch.data(), batch.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(batch.size())) die("send");
  };
  for (auto& c : all) send_batch(c);

  std::vector<float> latencies;
  latencies.reserve(1 << 20);
  std::size_t answers = 0, bad = 0, bytes = 0;
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  epoll_event events[256];
  while (Clock::now() < end) {
    const int n = epoll_wait(epoll, events, 256, 100);
    for (int i = 0; i < n; ++i) {
      auto& c = *static_cast<Connection*>(events[i].data.ptr);
      const ssize_t got = recv(c.fd, chunk, sizeof chunk, 0);
      if (got <= 0) die("the server closed a connection");
      bytes += static_cast<std::size_t>(got);
      const char* data = chunk;
      std::size_t size = static_cast<std::size_t>(got);
      if (!c.in.empty()) {
        c.in.append(chunk, size);
        data = c.in.data();
        size = c.in.size();
      }
      std::size_t used = 0;
      int status = 0;
      while (c.in_flight > 0) {
        const std::size_t length = answer_length(data + used, size - used, status);
        if (length == 0) break;
        used += length;
        ++answers;
        bad += status < 200 || status > 299;
        if (--c.in_flight == 0)
          latencies.push_back(std::chrono::duration<float, std::micro>(Clock::now() - c.sent).count());
      }
      std::string rest(data + used, size - used);
      c.in.swap(rest);
      if (c.in_flight == 0) send_batch(c);
    }
  }
  const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double share) {
    return latencies.empty() ? 0.0f : latencies[static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1))];
  };
  std::printf("{\"answers\":%zu,\"bad\":%zu,\"seconds\":%.6f,\"bytes\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", answers, bad,
              spent, bytes, static_cast<double>(at(0.5)), static_cast<double>(at(0.99)));
}
