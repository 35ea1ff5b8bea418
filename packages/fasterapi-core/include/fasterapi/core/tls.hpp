#pragma once
// TLS over OpenSSL as a byte transformer: ciphertext in, plaintext out, no sockets.
//   Cost     one SSL object per session; buffers are OpenSSL's memory BIOs, records' are given back when idle
//   Threads  a context may be shared by threads (it is immutable after setup); a session belongs to one.
//            New certificates: make a new context; running sessions keep theirs
//   Errors   configuration throws Error that names the option and its file; a running session reports
//            failure with a text, and throws nothing but std::bad_alloc
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

struct TlsClientOptions {
  bool verify_peer = true;
  bool verify_host = true;  // counts with verify_peer only; needs the session's host
  std::string ca_file;    // PEM; empty or "system" for the system's store
  std::string crl_file;   // PEM; every certificate of the chain is then checked against it
  std::string cert_file;  // client certificate chain, PEM
  std::string key_file;   // empty: the key is in cert_file
  std::string key_password;
  std::string alpn;        // comma separated, e.g. "h2,http/1.1"
  std::string min_version; // "TLSv1.2", "TLSv1.3"; empty for the library's default
  std::string max_version;
};

struct TlsServerOptions {
  std::string cert_file;  // chain, PEM
  std::string key_file;   // empty: the key is in cert_file
  std::string key_password;
  std::string client_ca_file;  // set: client certificates are requested and verified
  bool require_client_cert = false;
  std::string alpn;  // in order of preference; a client that offers ALPN but none of these is refused (RFC 7301)
  std::string min_version = "TLSv1.2";
  std::string ciphers;  // OpenSSL's syntax; names that start with "TLS_" choose those of TLS 1.3
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

/// After every call there may be ciphertext to send, after a failed one too (the alert that tells the peer why).
class FASTERAPI_CORE_API TlsSession {
 public:
  enum class Status { ok, want_more, closed, failed };
  /// `host`: SNI and the name or IP address to verify (client side); empty for servers.
  TlsSession(std::shared_ptr<TlsContext> context, std::string_view host);  // throws Error
  ~TlsSession();
  /// Feeds ciphertext that came from the peer.
  void feed(std::string_view ciphertext);
  /// The peer's socket is at its end. Without a close_notify before it that is a truncation: read() and
  /// handshake() then report `failed` once they have used what was fed.
  void feed_eof();
  /// Goes on with the handshake. `ok` once it is complete.
  Status handshake();
  /// Decrypts at most `capacity` bytes into `plain`; `size` says how many. `ok` comes with at least one byte,
  /// `closed` after close_notify.
  Status read(char* plain, std::size_t capacity, std::size_t& size);
  /// Encrypts; the ciphertext waits for take_output(). Before the end of the handshake the bytes are kept and
  /// encrypted at once when it is done. `failed` after close_notify() or an error.
  Status write(std::string_view plain);
  /// Says that nothing more will be written; reading may go on.
  void close_notify();
  /// Moves pending ciphertext to the end of `out`.
  void take_output(OutBuffer& out);
  bool handshake_done() const noexcept;
  std::string alpn() const;
  std::string version() const;                 // "TLSv1.3"
  std::string cipher() const;                  // "TLS_AES_256_GCM_SHA384"
  std::string peer_certificate() const;        // DER; empty when the peer sent none
  std::string peer_certificate_hash() const;   // tls-server-end-point channel binding (RFC 5929); may be empty
  const std::string& error() const noexcept;
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fasterapi::core
