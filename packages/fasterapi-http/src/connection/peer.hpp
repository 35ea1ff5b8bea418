#pragma once
// Who is at the other end of a connection. Private to the connection's files.
#include <string>

namespace fasterapi::http {

struct Peer {
  std::string host, text;  // text: host and port; both empty for UNIX sockets
  int port = -1;
  std::string server_host;  // where the client connected to, by the PROXY protocol; empty: not told
  int server_port = 0;
};

}  // namespace fasterapi::http
