#pragma once
// TLS over OpenSSL as a byte transformer: ciphertext in, plaintext out, no sockets.
//   Cost     one SSL object per session; buffers are OpenSSL's memory BIOs
//   Threads  a context may be shared by threads (it is immutable after setup); a session belongs to one
//   Errors   configuration throws Error; a running session reports failure with a text
#include <memory>
#include <string>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

struct TlsClientOptions {
  bool verify_peer = true;
  bool verify_host = true;
  std::string ca_file;    // PEM; empty or "system" for the system's store
  std::string crl_file;
  std::string cert_file;  // client certificate chain, PEM
  std::string key_file;
  std::string key_password;
  std::string alpn;        // comma separated, e.g. "h2,http/1.1"
  std::string min_version; // "TLSv1.2", "TLSv1.3"; empty for the library's default
  std::string max_version;
};

struct TlsServerOptions {
  std::string cert_file;
  std::string key_file;
  std::string key_password;
  std::string client_ca_file;  // set: client certificates are requested and verified
  bool require_client_cert = false;
  std::string alpn;
  std::string min_version = "TLSv1.2";
  std::string ciphers;
};

class FASTERAPI_CORE_API TlsContext {
 public:
  static std::shared_ptr<TlsContext> client(const TlsClientOptions& options);  // throws Error
  static std::shared_ptr<TlsContext> server(const TlsServerOptions& options);  // throws Error
  ~TlsContext();
  struct Impl;
  Impl* impl() const noexcept { return impl_.get(); }

 private:
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class FASTERAPI_CORE_API TlsSession {
 public:
  enum class Status { ok, want_more, closed, failed };
  /// `host`: SNI and the name to verify (client side); empty for servers.
  TlsSession(std::shared_ptr<TlsContext> context, std::string_view host);  // throws Error
  ~TlsSession();
  /// Feeds ciphertext that came from the peer.
  void feed(std::string_view ciphertext);
  /// Goes on with the handshake. `ok` once it is complete.
  Status handshake();
  /// Decrypts at most `capacity` bytes into `plain`; `size` says how many. `closed` after close_notify.
  Status read(char* plain, std::size_t capacity, std::size_t& size);
  /// Encrypts; the ciphertext waits for take_output().
  Status write(std::string_view plain);
  void close_notify();
  /// Moves pending ciphertext to the end of `out`.
  void take_output(OutBuffer& out);
  bool handshake_done() const noexcept;
  std::string alpn() const;
  std::string version() const;                 // "TLSv1.3"
  std::string peer_certificate_hash() const;   // tls-server-end-point channel binding (RFC 5929)
  const std::string& error() const noexcept;
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fasterapi::core
