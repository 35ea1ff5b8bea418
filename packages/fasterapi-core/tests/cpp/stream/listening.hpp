#pragma once
// A listener with clients that connect to it.
#include <vector>

#include "stream_harness.hpp"

namespace fasterapi::core::test {

class Listening : public StreamBehaviour {
 protected:
  Listening() : fd(listen(address)), listener(reactor, fd, &Listening::take, this) {}
  ~Listening() override {
    listener.stop();
    for (int accepted_fd : accepted) net::close(accepted_fd);
    for (int client : clients) net::close(client);
    net::close(fd);
  }
  static void take(void* self, int fd) noexcept { static_cast<Listening*>(self)->accepted.push_back(fd); }
  void connect(int count) {
    for (int i = 0; i < count; ++i) clients.push_back(connect_to(address));
  }
  sockaddr_in address;
  int fd;
  std::vector<int> accepted, clients;
  Listener listener;
};

}  // namespace fasterapi::core::test
