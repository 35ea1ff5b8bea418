#pragma once
// What the Streamable HTTP transport asks of a request before its body counts: Host and Origin (DNS
// rebinding), media types, and mirrored header values.
//   Cost     a few compares; no allocation but for decoded header values
//   Threads  a policy is immutable once requests are served
#include <string>
#include <string_view>
#include <vector>

namespace fasterapi::mcp {

struct HostPolicy {
  std::vector<std::string> hosts;    // lower case, "name", "name:port"; "*" allows any
  std::vector<std::string> origins;  // "https://app.example.com"; "*" allows any
  bool ip_hosts = false;             // a Host that is an IP address is fine: rebinding needs a name

  bool host_allowed(std::string_view host) const;
  /// An absent Origin is allowed: it is a browser that must send one.
  bool origin_allowed(std::string_view origin) const;
};

/// Whether an Accept header admits `type` ("application/json"). Parameters other than q=0 are ignored; an
/// absent header admits everything.
bool accepts(std::string_view accept, std::string_view type);

/// Whether a Content-Type is application/json, with any parameters.
bool is_json_content_type(std::string_view content_type);

/// A header value as the protocol codes it: plain visible ASCII, or =?base64?...?= holding UTF-8. False
/// when it is neither.
bool decode_header_value(std::string_view value, std::string& out);

}  // namespace fasterapi::mcp
