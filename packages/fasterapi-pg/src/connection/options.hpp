#pragma once
// How to reach a server and how to treat it: resolved, immutable once a connection uses it.
//   Threads  immutable and shared by shared_ptr; the key cache inside locks for itself
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/tls.hpp>

#include "protocol/scram.hpp"

namespace fasterapi::pg {

using core::Nanos;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kMillisecond = 1'000'000;

enum class SslMode { disable, allow, prefer, require, verify_ca, verify_full };
enum class ChannelBinding { disable, prefer, require };
enum class SessionAttributes { any, read_write, read_only, primary, standby, prefer_standby };

enum AuthMethod : unsigned {  // bits of Options::require_auth
  kMethodNone = 1,
  kMethodPassword = 2,
  kMethodMd5 = 4,
  kMethodScram = 8,
};

struct Host {
  std::string name;     // a name or address; a directory ("/run/postgresql", "@abstract") for a unix socket
  std::string address;  // numeric, instead of resolving the name; may be empty
  std::uint16_t port = 5432;
  std::optional<std::string> password;
  bool is_unix() const noexcept { return !name.empty() && (name[0] == '/' || name[0] == '@') && address.empty(); }
};

struct Options {
  std::vector<Host> hosts;
  std::string user, database;
  std::optional<std::string> password;
  std::optional<std::string> scram_password;  // SASLprep form, when it differs
  SslMode ssl_mode = SslMode::prefer;
  bool direct_tls = false;
  core::TlsClientOptions tls;
  ChannelBinding channel_binding = ChannelBinding::prefer;
  unsigned require_auth = 0;  // 0: everything but cleartext without TLS
  bool allow_cleartext = false;
  std::vector<std::pair<std::string, std::string>> settings;
  SessionAttributes target = SessionAttributes::any;
  bool load_balance = false;
  bool keepalives = true;
  int keepalives_idle = 0, keepalives_interval = 0, keepalives_count = 0;  // 0: the system's default
  int tcp_user_timeout_ms = 0;
  Nanos connect_timeout = 60 * kSecond;  // per address; 0 never
  Nanos command_timeout = 0;             // 0 never
  std::size_t statement_cache_size = 100;
  Nanos statement_lifetime = 300 * kSecond;
  std::size_t max_cacheable_statement = 15360;
  std::size_t max_message = std::size_t{1} << 30;
  bool decode_json = false;
  std::shared_ptr<ScramKeyCache> scram_keys = std::make_shared<ScramKeyCache>();
  mutable std::shared_ptr<core::TlsContext> tls_context;  // made at the first TLS connection

  bool unnamed_statements() const noexcept { return statement_cache_size == 0; }
};

/// Why a connection could not be made or came to its end.
struct Failure {
  enum class Kind { none, closed, connect, timeout, tls, authentication, protocol, server, lost, mismatch };
  Kind kind = Kind::none;
  std::string message;
  std::vector<std::pair<char, std::string>> fields;  // of the ErrorResponse, for Kind::server
};

}  // namespace fasterapi::pg
