#pragma once
// TLS over OpenSSL as a byte transformer: ciphertext in, plaintext out, no sockets.
//   Cost     one SSL object per session and nothing else while it idles: OpenSSL's record buffers are given back,
//            ciphertext is read in place and written straight into the caller's buffer
//   Threads  a context may be shared by threads, reload() included; a session belongs to one thread
//   Errors   configuration throws Error that names the option and its file; a running session reports
//            failure with a text, and throws nothing but std::bad_alloc
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/export.hpp>

struct ssl_st;

namespace fasterapi::core {

/// Asked for the password of an encrypted key when the options hold none. May throw Error.
using TlsPasswordCallback = std::function<std::string(const std::string& key_file)>;

struct TlsClientOptions {
  bool verify_peer = true;
  bool verify_host = true;  // counts with verify_peer only; needs the session's host
  std::string ca_file;      // PEM; empty (with ca_dir) or "system" for the system's store
  std::string ca_dir;       // of certificates under their hashed names (`openssl rehash`)
  std::string crl_file;     // PEM; every certificate of the chain is then checked against it
  std::string cert_file;    // client certificate chain, PEM
  std::string key_file;     // empty: the key is in cert_file
  std::string key_password;
  TlsPasswordCallback password_callback;
  std::string alpn;                   // comma separated, e.g. "h2,http/1.1"
  std::string min_version;            // "TLSv1.2", "TLSv1.3"; empty for TLSv1.2
  std::string max_version;            // empty: the newest there is
  std::string ciphers;                // as for servers; empty for the library's default
  std::string groups;                 // key exchange, e.g. "X25519:P-256"; empty for the library's default
  bool resume = true;                 // keep the servers' tickets, per host, to shorten the next handshake
  bool allow_unexpected_eof = false;  // an end of the stream without close_notify is then an end, no error
};

struct TlsIdentity {
  std::string cert_file;  // chain, PEM
  std::string key_file;   // empty: the key is in cert_file
  std::string key_password;
};

enum class TlsVerify { none, optional, required };

struct TlsServerOptions {
  std::string cert_file;  // chain, PEM; the default certificate, for clients that name no host or an unknown one
  std::string key_file;   // empty: the key is in cert_file
  std::string key_password;
  /// Further certificates. The client's SNI chooses by the DNS names in them (the common name where there are
  /// none), exact names before wildcards. Of several for one name (ECDSA and RSA) the handshake takes what the
  /// client can.
  std::vector<TlsIdentity> more_certs;
  bool refuse_unknown_names = false;  // answer unrecognized_name (RFC 6066) instead of the default certificate
  TlsPasswordCallback password_callback;
  std::string client_ca_file;                 // PEM: who may sign client certificates
  std::string client_ca_dir;                  // the same, under their hashed names
  std::string crl_file;                       // PEM: client certificates that are revoked
  TlsVerify verify_client = TlsVerify::none;  // optional: a certificate that does come must be good
  std::string alpn;  // in order of preference; a client that offers ALPN but none of these is refused (RFC 7301)
  std::string min_version = "TLSv1.2";
  std::string max_version;
  /// OpenSSL's syntax; names that start with "TLS_" choose those of TLS 1.3. Empty: forward secrecy and AEAD only.
  std::string ciphers;
  std::string groups;
  bool tickets = true;                    // let clients resume (RFC 8446 section 4.6.1); no state is kept here
  std::int64_t ticket_lifetime_s = 7200;  // at most 7 days; the key changes as often and is accepted twice as long
  /// Processes that share a port also share tickets when they have the same 32 or more random bytes here.
  std::string ticket_secret;
  bool allow_unexpected_eof = false;
};

/// What a context has seen since it was made, over all reloads.
struct TlsCounters {
  std::uint64_t handshakes = 0;  // completed, resumed ones included
  std::uint64_t resumed = 0;
  std::uint64_t failed = 0;  // handshakes that ended in an error
  std::uint64_t reloads = 0;
};

class FASTERAPI_CORE_API TlsContext {
 public:
  static std::shared_ptr<TlsContext> client(const TlsClientOptions& options);  // throws Error
  static std::shared_ptr<TlsContext> server(const TlsServerOptions& options);  // throws Error
  ~TlsContext();
  /// Reads every file again, for the sessions that start from now on; those that run keep what they have. Throws
  /// Error and changes nothing when something is wrong with the files. Blocks on the disk: any thread may call it.
  void reload();
  /// The same with other options.
  void reload(const TlsClientOptions& options);
  void reload(const TlsServerOptions& options);
  bool is_server() const noexcept;
  TlsCounters counters() const noexcept;
  struct Impl;
  Impl* impl() const noexcept { return impl_.get(); }

 private:
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What a certificate says of itself.
struct TlsCertificateInfo {
  std::string subject, issuer;                 // RFC 4514, e.g. "CN=client,O=Example"
  std::string serial;                          // hexadecimal
  std::int64_t not_before = 0, not_after = 0;  // seconds since 1970
  std::vector<std::pair<std::string, std::string>>
      alternatives;  // ("DNS", "a.example"), ("IP", …), ("URI", …), ("email", …)
};
/// Throws Error when `der` is no certificate.
FASTERAPI_CORE_API TlsCertificateInfo describe_certificate(std::string_view der);
FASTERAPI_CORE_API std::string pem_certificate(std::string_view der);

/// Calls that take `out` append ciphertext for the peer to it, failed ones too (the alert that tells why).
class FASTERAPI_CORE_API TlsSession {
 public:
  enum class Status { ok, want_more, closed, failed };
  /// `host`: SNI and the name or IP address to verify (client side); empty for servers.
  TlsSession(std::shared_ptr<TlsContext> context, std::string_view host);  // throws Error
  ~TlsSession();
  /// Gives ciphertext that came from the peer. It is used in place: it stays valid and unchanged until settle().
  void feed(std::string_view ciphertext);
  /// Copies what is still needed of what was fed: nothing, once read() has said `want_more`.
  void settle();
  /// The peer's socket is at its end. Without a close_notify before it that is a truncation: read() and
  /// handshake() then report `failed` once they have used what was fed (see allow_unexpected_eof).
  void feed_eof() noexcept;
  /// Goes on with the handshake. `ok` once it is complete.
  Status handshake(OutBuffer& out);
  /// Decrypts at most `capacity` bytes into `plain`; `size` says how many. `ok` comes with at least one byte,
  /// `closed` after close_notify.
  Status read(char* plain, std::size_t capacity, std::size_t& size, OutBuffer& out);
  /// Encrypts. Before the end of the handshake the bytes are kept and encrypted at once when it is done. `failed`
  /// after close_notify() or an error.
  Status write(std::string_view plain, OutBuffer& out);
  /// Says that nothing more will be written; reading may go on.
  void close_notify(OutBuffer& out);

  bool handshake_done() const noexcept;
  bool resumed() const noexcept;  // without a new exchange of certificates
  std::string alpn() const;
  std::string version() const;           // "TLSv1.3"
  int version_number() const noexcept;   // 0x0304
  std::string cipher() const;            // "TLS_AES_256_GCM_SHA384"
  int cipher_number() const noexcept;    // 0x1302; 0 before one is agreed on
  std::string server_name() const;       // SNI, as sent or received
  std::string certificate() const;       // our own, DER; empty when we have none
  std::string peer_certificate() const;  // DER; empty when the peer sent none
  /// The peer's certificate and what it sent above it, DER; only the former in a resumed session of a server.
  std::vector<std::string> peer_chain() const;
  std::string peer_certificate_hash() const;  // tls-server-end-point channel binding (RFC 5929); may be empty
  const std::string& error() const noexcept;
  std::size_t buffered() const noexcept;  // bytes that were fed and are not used yet
  ssl_st* native() const noexcept;        // OpenSSL's object, for what is not covered here
  struct Impl;

 private:
  Status write_early(OutBuffer& out);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fasterapi::core
