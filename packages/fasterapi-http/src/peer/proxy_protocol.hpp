#pragma once
// The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a balancer in front of us writes
// before the first byte of its client.
//   Cost     linear in the header; no allocation
//   Strict   anything that the specification does not allow is an error; a version 2 header has at most
//            kMaxProxyHeader bytes with its TLVs, which are skipped
#include <cstddef>
#include <string_view>

#include "networks.hpp"

namespace fasterapi::http {

inline constexpr std::size_t kMaxProxyHeader = 4096;

struct ProxyHeader {
  bool has_client = false;  // false: LOCAL, UNKNOWN or a UNIX socket: the connection speaks for itself
  IpAddress client, server;
  int client_port = 0, server_port = 0;
};

enum class ProxyResult { complete, incomplete, error };

/// `consumed` is set when complete.
ProxyResult parse_proxy_header(std::string_view in, ProxyHeader& out, std::size_t& consumed) noexcept;

}  // namespace fasterapi::http
