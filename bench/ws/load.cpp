// Closed-loop WebSocket echo load: N connections, each with D messages in flight, one thread, epoll.
//   load HOST PORT CONNECTIONS DEPTH SECONDS SIZE
// Every echo is compared in length. Prints one line of JSON. Compiled by compare.py.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
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

/// A masked text frame.
std::string frame(std::size_t size) {
  const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
  std::string out = "\x81";
  if (size < 126) {
    out += static_cast<char>(0x80 | size);
  } else if (size < 65536) {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(size >> 8);
    out += static_cast<char>(size);
  } else {
    out += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8)
      out += static_cast<char>(static_cast<std::uint64_t>(size) >> shift);
  }
  out.append(reinterpret_cast<const char*>(key), 4);
  for (std::size_t i = 0; i < size; ++i) out += static_cast<char>(('a' + i % 26) ^ key[i & 3]);
  return out;
}

/// Bytes of the first complete frame, 0 when it is not complete; its payload must be `wanted` bytes of text.
std::size_t frame_length(const unsigned char* data, std::size_t size, std::size_t wanted, bool& good) {
  if (size < 2) return 0;
  std::size_t length = data[1] & 0x7f, head = 2;
  if (length == 126) {
    if (size < 4) return 0;
    length = static_cast<std::size_t>(data[2]) << 8 | data[3];
    head = 4;
  } else if (length == 127) {
    if (size < 10) return 0;
    length = 0;
    for (int i = 2; i < 10; ++i) length = length << 8 | data[i];
    head = 10;
  }
  good = data[0] == 0x81 && length == wanted;
  return size >= head + length ? head + length : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const int connections = std::atoi(argv[3]), depth = std::atoi(argv[4]);
  const double seconds = std::atof(argv[5]);
  const auto payload = static_cast<std::size_t>(std::atol(argv[6]));
  std::string batch;
  for (int i = 0; i < depth; ++i) batch += frame(payload);
  const std::string handshake =
      std::string("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &address.sin_addr);
  const int epoll = epoll_create1(0);
  std::vector<Connection> all(static_cast<std::size_t>(connections));
  static char chunk[1 << 18];
  for (auto& c : all) {
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
    const int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (send(c.fd, handshake.data(), handshake.size(), MSG_NOSIGNAL) < 0) die("handshake");
    std::string answer;
    while (answer.find("\r\n\r\n") == answer.npos) {
      const ssize_t got = recv(c.fd, chunk, sizeof chunk, 0);
      if (got <= 0) die("handshake");
      answer.append(chunk, static_cast<std::size_t>(got));
    }
    if (answer.compare(9, 3, "101") != 0) die(answer.c_str());
    epoll_event event{EPOLLIN, {}};
    event.data.ptr = &c;
    epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &event);
  }
  const auto send_batch = [&](Connection& c) {
    c.in_flight = depth;
    c.sent = Clock::now();
    for (std::size_t at = 0; at < batch.size();) {
      const ssize_t sent = send(c.fd, batch.data() + at, batch.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) die("send");
      at += static_cast<std::size_t>(sent);
    }
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
      while (c.in_flight > 0) {
        bool good = true;
        const std::size_t length =
            frame_length(reinterpret_cast<const unsigned char*>(data) + used, size - used, payload, good);
        if (length == 0) break;
        used += length;
        ++answers;
        bad += !good;
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
    return latencies.empty()
               ? 0.0f
               : latencies[static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1))];
  };
  std::printf("{\"answers\":%zu,\"bad\":%zu,\"seconds\":%.6f,\"bytes\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
              answers, bad, spent, bytes, static_cast<double>(at(0.5)), static_cast<double>(at(0.99)));
}
