#pragma once
// What the parts of the TLS implementation share. OpenSSL's types stay in this folder.
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/tls.hpp>

namespace fasterapi::core::tls {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Session = std::unique_ptr<SSL_SESSION, Freer<SSL_SESSION_free>>;
using File = std::unique_ptr<BIO, Freer<BIO_free>>;

// ---- errors.cpp
/// The first reason in OpenSSL's queue of this thread, which is empty afterwards.
std::string drain_errors();
/// Throws Error with the reason from OpenSSL's queue behind `message`.
[[noreturn]] void config_error(std::string message);
std::string quoted(const char* option, const std::string& value);

// ---- identity.cpp
/// A certificate chain with its key.
struct Identity {
  Certificate certificate;
  Key key;
  std::vector<Certificate> chain;
  std::vector<std::string> names;  // lower case DNS names, wildcards included
};
Identity load_identity(const TlsIdentity& files, const TlsPasswordCallback& ask);
void use_identity(SSL_CTX* ctx, const Identity& identity);
/// Names of a certificate that a client may ask for, for messages: printable, and not more than a few.
std::string names_for_message(X509* certificate);
/// "DNS" and "IP" and "URI" and "email" entries of subjectAltName.
std::vector<std::pair<std::string, std::string>> alternatives(X509* certificate);

/// The identities of a server by SNI.
class IdentityTable {
 public:
  void add(Identity identity);
  bool single() const noexcept { return identities_.size() == 1; }
  const std::vector<Identity>& all() const noexcept { return identities_; }
  /// Those for a name (several when their keys are of different types); null when nobody is called so.
  const std::vector<std::size_t>* find(std::string_view name) const;

 private:
  std::vector<Identity> identities_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_name_;  // wildcards without their star
};

// ---- resumption.cpp
/// The keys of a server's tickets: one for new tickets, changed as time passes; the one before it still opens.
class TicketKeys {
 public:
  TicketKeys(std::int64_t lifetime_s, std::string secret);
  void install(SSL_CTX* ctx);  // the context's application data is a Generation
  struct Material {
    unsigned char name[16];
    unsigned char cipher[32];
    unsigned char mac[32];
  };

 private:
  static int callback(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                      int encrypt);
  bool refresh();  // under the mutex
  bool make(std::int64_t epoch, Material& material);
  const std::int64_t lifetime_;
  const std::string secret_;
  std::mutex mutex_;
  std::int64_t epoch_ = -1;
  Material current_{}, previous_{};
  bool has_previous_ = false;
};

/// Sessions that servers let a client resume, per host; bounded, least recently used host first.
class SessionCache {
 public:
  Session take(const std::string& host);
  void put(const std::string& host, Session session);

 private:
  struct Entry {
    std::vector<Session> sessions;
    std::uint64_t used = 0;
  };
  std::mutex mutex_;
  std::uint64_t clock_ = 0;
  std::map<std::string, Entry> entries_;
};

// ---- context.cpp
/// What one reading of the options' files gave; immutable, shared by the sessions that started with it.
struct Generation {
  ~Generation() { SSL_CTX_free(ctx); }
  SSL_CTX* ctx = nullptr;
  bool server = false;
  bool verify_host = false;
  bool refuse_unknown_names = false;
  std::string alpn;  // wire form: each name after its length
  IdentityTable identities;
  std::shared_ptr<TicketKeys> tickets;             // of servers
  mutable std::unique_ptr<SessionCache> sessions;  // of clients that resume
};

// ---- settings.cpp
std::unique_ptr<Generation> make_generation(const SSL_METHOD* method, const std::string& alpn);
void set_versions(SSL_CTX* ctx, const std::string& least, const std::string& most);
void set_ciphers(SSL_CTX* ctx, const std::string& list);
void set_groups(SSL_CTX* ctx, const std::string& list);
void use_system_store(SSL_CTX* ctx);
void use_ca_file(SSL_CTX* ctx, const char* option, const std::string& file);
void use_ca_dir(SSL_CTX* ctx, const char* option, const std::string& directory);
void use_crl_file(SSL_CTX* ctx, const std::string& file);

// ---- transport.cpp
/// The bytes between OpenSSL and the caller: input is read where it lies, output goes where the caller wants it.
struct Transport {
  std::string_view input;  // lent until settle()
  OutBuffer rest;          // older than `input`
  std::size_t rest_taken = 0;
  OutBuffer* out = nullptr;
  bool eof = false;
  bool out_of_memory = false;
  bool empty() const noexcept { return input.empty() && rest_taken == rest.size(); }
  void settle();
};
BIO* make_bio(Transport& transport);  // null when out of memory

}  // namespace fasterapi::core::tls

namespace fasterapi::core {

struct TlsContext::Impl {
  bool server = false;
  TlsClientOptions client_options;
  TlsServerOptions server_options;
  mutable std::mutex mutex;  // of the options and of the pointer below
  std::shared_ptr<const tls::Generation> generation;
  std::atomic<std::uint64_t> handshakes{0}, resumed{0}, failed{0}, reloads{0};
  std::shared_ptr<const tls::Generation> current() const {
    std::lock_guard lock(mutex);
    return generation;
  }
};

struct TlsSession::Impl {
  ~Impl();
  Status fail(const char* doing, int result);
  Status fail_with(std::string text);
  void check_memory();
  static int verified(int good, X509_STORE_CTX* store);
  static int new_session(SSL* ssl, SSL_SESSION* session);

  std::shared_ptr<TlsContext> context;
  std::shared_ptr<const tls::Generation> generation;
  SSL* ssl = nullptr;
  tls::Transport transport;
  std::string host;
  std::string early;    // written before the end of the handshake
  std::string refusal;  // what the verification says of the peer's certificate
  std::string error;
  Status ended = Status::ok;  // `closed` or `failed` for good, as read() saw it
  bool done = false;          // the handshake
  bool close_sent = false;
  bool counted = false;
};

}  // namespace fasterapi::core
