#pragma once
// What a trusted proxy says about the client: X-Forwarded-* or Forwarded (RFC 7239), never a mixture: a proxy that
// sets one passes the other on as the client sent it.
//   Cost     a pass over the fields; allocates only the client's text
//   Threads  any; views point into the request head
#include <string>
#include <string_view>

#include <fasterapi/http/parser.hpp>

#include "networks.hpp"

namespace fasterapi::http {

enum class ForwardedStyle { x_forwarded, rfc7239 };

struct Forwarded {
  std::string client;  // empty: not told
  int client_port = 0;
  std::string_view scheme;  // "http" or "https"; empty: not told
  std::string_view host;    // as a Host field; empty: not told
  int port = 0;             // of X-Forwarded-Port; 0: not told
};

/// Reads the chain from right to left: each address is believed because the one after it is trusted. Ends at the
/// first that is not trusted, which is the client, or at what is no address.
Forwarded read_forwarded(const RequestHead& head, ForwardedStyle style, const Networks& trusted);

}  // namespace fasterapi::http
