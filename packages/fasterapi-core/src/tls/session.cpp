// One TLS connection as a byte transformer.
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <array>
#include <new>
#include <utility>

#include <fasterapi/core/error.hpp>

#include "internal.hpp"

namespace fasterapi::core {

using tls::config_error;
using tls::quoted;

namespace {

// The octets of an IP address in text form, or nullptr for a name. A zone ("%eth0") says nothing to the peer.
ASN1_OCTET_STRING* ip_address(const std::string& host) {
  ASN1_OCTET_STRING* octets = a2i_IPADDRESS(host.substr(0, host.find('%')).c_str());
  ERR_clear_error();
  return octets;
}

void set_host(SSL* ssl, const std::string& host, bool verify) {
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  bool done = true;
  if (ASN1_OCTET_STRING* octets = ip_address(host)) {
    if (verify) {
      done = X509_VERIFY_PARAM_set1_ip(param, ASN1_STRING_get0_data(octets),
                                       static_cast<std::size_t>(ASN1_STRING_length(octets))) == 1;
    }
    ASN1_OCTET_STRING_free(octets);
  } else {
    // RFC 6066 section 3: a DNS name only, without the trailing dot.
    const std::string name = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
    done = SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
    if (verify) {
      X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      done = done && X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) == 1;
    }
  }
  if (!done) config_error("cannot use " + quoted("host", host));
}

std::string der_of(const X509* certificate) {
  unsigned char* der = nullptr;
  const int size = certificate ? i2d_X509(certificate, &der) : 0;
  std::string bytes(reinterpret_cast<const char*>(der), size > 0 ? static_cast<std::size_t>(size) : 0);
  OPENSSL_free(der);
  return bytes;
}

/// Where OpenSSL writes during one call.
class Output {
 public:
  Output(tls::Transport& transport, OutBuffer& out) noexcept : transport_(transport) { transport.out = &out; }
  ~Output() { transport_.out = nullptr; }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

 private:
  tls::Transport& transport_;
};

}  // namespace

// ---------------------------------------------------------------- life

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, std::string_view host)
    : impl_(std::make_unique<Impl>()) {
  if (!context) config_error("a session needs a context");
  impl_->generation = context->impl()->current();
  impl_->context = std::move(context);
  const tls::Generation& settings = *impl_->generation;
  ERR_clear_error();
  impl_->ssl = SSL_new(settings.ctx);
  if (!impl_->ssl) config_error("cannot make a session");
  BIO* bio = tls::make_bio(impl_->transport);
  if (!bio) config_error("cannot make a session");
  SSL_set_bio(impl_->ssl, bio, bio);
  SSL_set_app_data(impl_->ssl, impl_.get());
  if (settings.server) {
    SSL_set_accept_state(impl_->ssl);
    return;
  }
  SSL_set_connect_state(impl_->ssl);
  impl_->host = host;
  if (impl_->host.find('\0') != std::string::npos) config_error("the host contains a zero byte");
  if (!host.empty()) {
    set_host(impl_->ssl, impl_->host, settings.verify_host);
    if (settings.sessions) {
      if (tls::Session known = settings.sessions->take(impl_->host)) SSL_set_session(impl_->ssl, known.get());
      ERR_clear_error();
    }
  } else if (settings.verify_host) {
    config_error("verify_host needs the name of the host");
  }
}

TlsSession::~TlsSession() = default;

TlsSession::Impl::~Impl() {
  if (!ssl) return;
  // OpenSSL takes a connection that ends without close_notify for a reason not to resume its session; with HTTP
  // and PostgreSQL that is how connections end. Sessions that failed stay out.
  if (ended != Status::failed) SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl);  // with its BIO
}

int TlsSession::Impl::new_session(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<Impl*>(SSL_get_app_data(ssl));
  if (!self || self->host.empty() || !self->generation->sessions) return 0;
  try {
    SSL_SESSION_up_ref(session);
    self->generation->sessions->put(self->host, tls::Session(session));
  } catch (const std::bad_alloc&) {  // then it is not resumed
  }
  return 0;  // OpenSSL keeps its own reference
}

// ---------------------------------------------------------------- failure

int TlsSession::Impl::verified(int good, X509_STORE_CTX* store) {
  if (good) return good;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = ssl ? static_cast<Impl*>(SSL_get_app_data(ssl)) : nullptr;
  if (!self || !self->refusal.empty()) return good;
  try {
    const int reason = X509_STORE_CTX_get_error(store);
    self->refusal = X509_verify_cert_error_string(reason);
    const bool other_host = reason == X509_V_ERR_HOSTNAME_MISMATCH || reason == X509_V_ERR_IP_ADDRESS_MISMATCH;
    X509* certificate = X509_STORE_CTX_get_current_cert(store);
    if (!self->host.empty()) {
      self->refusal += " (host \"" + self->host + '"';
      if (other_host && certificate) {
        self->refusal += ", but the certificate is for " + tls::names_for_message(certificate);
      }
      self->refusal += ')';
    }
  } catch (const std::bad_alloc&) {  // the reason alone has to do
  }
  return good;
}

TlsSession::Status TlsSession::Impl::fail_with(std::string text) {
  error = std::move(text);
  ended = Status::failed;
  if (!counted) {
    counted = true;
    ++context->impl()->failed;
  }
  return Status::failed;
}

// What a call that returned `result` means; failures leave their text in `error`.
TlsSession::Status TlsSession::Impl::fail(const char* doing, int result) {
  const int kind = SSL_get_error(ssl, result);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return Status::want_more;
  if (kind == SSL_ERROR_ZERO_RETURN) return Status::closed;
  const unsigned long first = ERR_peek_error();
  if (ERR_GET_REASON(first) == ERR_R_MALLOC_FAILURE && !ERR_SYSTEM_ERROR(first)) {
    ERR_clear_error();
    throw std::bad_alloc();
  }
  std::string cause = tls::drain_errors();
  if (!refusal.empty() && !done) cause += (cause.empty() ? "" : ": ") + refusal;
  return fail_with(std::string(doing) + " failed: " + (cause.empty() ? "unexpected end of the stream" : cause));
}

void TlsSession::Impl::check_memory() {
  if (!transport.out_of_memory) return;
  ended = Status::failed;  // a record is lost: the stream cannot go on
  ERR_clear_error();
  throw std::bad_alloc();
}

// ---------------------------------------------------------------- bytes

void TlsSession::feed(std::string_view ciphertext) {
  if (!impl_->transport.input.empty()) impl_->transport.settle();
  impl_->transport.input = ciphertext;
}

void TlsSession::settle() { impl_->transport.settle(); }

void TlsSession::feed_eof() noexcept { impl_->transport.eof = true; }

TlsSession::Status TlsSession::handshake(OutBuffer& out) {
  if (impl_->ended == Status::failed) return Status::failed;
  if (handshake_done()) return Status::ok;
  ERR_clear_error();
  int result;
  {
    const Output scope(impl_->transport, out);
    result = SSL_do_handshake(impl_->ssl);
  }
  impl_->check_memory();
  if (result != 1) {
    const Status status = impl_->fail("handshake", result);
    return status == Status::closed ? impl_->fail_with("handshake failed: the peer closed it") : status;
  }
  ERR_clear_error();  // a ticket that could not be read leaves its reason there
  impl_->done = impl_->counted = true;
  ++impl_->context->impl()->handshakes;
  if (SSL_session_reused(impl_->ssl)) ++impl_->context->impl()->resumed;
  return write_early(out);
}

TlsSession::Status TlsSession::write_early(OutBuffer& out) {
  if (impl_->early.empty() || SSL_in_init(impl_->ssl)) return Status::ok;
  const std::string early = std::exchange(impl_->early, {});
  return write(early, out);
}

TlsSession::Status TlsSession::read(char* plain, std::size_t capacity, std::size_t& size, OutBuffer& out) {
  size = 0;
  if (impl_->ended != Status::ok) return impl_->ended;
  if (capacity == 0) return Status::want_more;
  if (!handshake_done()) {
    if (const Status status = handshake(out); status != Status::ok) return status;
  }
  Status status = Status::ok;
  {
    const Output scope(impl_->transport, out);
    while (size < capacity && status == Status::ok) {
      std::size_t got = 0;
      ERR_clear_error();
      const int result = SSL_read_ex(impl_->ssl, plain + size, capacity - size, &got);
      impl_->check_memory();
      if (result == 1) {
        size += got;
      } else {
        status = impl_->fail("read", result);
        if (status != Status::want_more) impl_->ended = status;
      }
    }
  }
  if (status != Status::failed) write_early(out);
  return size ? Status::ok : status;
}

TlsSession::Status TlsSession::write(std::string_view plain, OutBuffer& out) {
  if (impl_->ended == Status::failed || impl_->close_sent) return Status::failed;
  if (plain.empty()) return Status::ok;
  if (!handshake_done() || !impl_->early.empty()) {
    impl_->early.append(plain);
    return Status::ok;
  }
  std::size_t written = 0;
  ERR_clear_error();
  int result;
  {
    const Output scope(impl_->transport, out);
    result = SSL_write_ex(impl_->ssl, plain.data(), plain.size(), &written);
  }
  impl_->check_memory();
  if (result == 1) return Status::ok;
  const Status status = impl_->fail("write", result);
  if (status != Status::want_more) return status;
  // A message of TLS itself has come in part (a ticket, a key update): OpenSSL writes nothing before its rest.
  impl_->early.append(plain);
  return Status::ok;
}

void TlsSession::close_notify(OutBuffer& out) {
  if (impl_->close_sent || impl_->ended == Status::failed || !handshake_done()) return;
  impl_->close_sent = true;
  ERR_clear_error();
  {
    const Output scope(impl_->transport, out);
    SSL_shutdown(impl_->ssl);  // 0: sent, the peer's is still to come
  }
  impl_->check_memory();
  ERR_clear_error();
}

// ---------------------------------------------------------------- what was agreed on

// Not SSL_is_init_finished(): that is false again while later messages of TLS (key updates) are on their way.
bool TlsSession::handshake_done() const noexcept { return impl_->done; }

bool TlsSession::resumed() const noexcept { return SSL_session_reused(impl_->ssl) == 1; }

std::string TlsSession::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(impl_->ssl, &name, &size);
  return name ? std::string(reinterpret_cast<const char*>(name), size) : std::string();
}

std::string TlsSession::version() const { return SSL_get_version(impl_->ssl); }

int TlsSession::version_number() const noexcept { return SSL_version(impl_->ssl); }

std::string TlsSession::cipher() const {
  const char* name = SSL_get_cipher_name(impl_->ssl);
  return name ? name : "";
}

int TlsSession::cipher_number() const noexcept {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(impl_->ssl);
  return cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0;
}

std::string TlsSession::server_name() const {
  const char* name = SSL_get_servername(impl_->ssl, TLSEXT_NAMETYPE_host_name);
  return name ? name : "";
}

std::string TlsSession::certificate() const { return der_of(SSL_get_certificate(impl_->ssl)); }

std::string TlsSession::peer_certificate() const { return der_of(SSL_get0_peer_certificate(impl_->ssl)); }

std::vector<std::string> TlsSession::peer_chain() const {
  std::vector<std::string> chain;
  // On the server's side OpenSSL's list starts above the client's own certificate.
  if (impl_->generation->server) {
    if (X509* own = SSL_get0_peer_certificate(impl_->ssl)) chain.push_back(der_of(own));
  }
  const STACK_OF(X509)* above = SSL_get_peer_cert_chain(impl_->ssl);
  for (int i = 0; i < sk_X509_num(above); ++i) chain.push_back(der_of(sk_X509_value(above, i)));
  return chain;
}

// RFC 5929 section 4.1: the hash of the server's certificate under the hash function of its signature, SHA-256
// in place of MD5 and SHA-1. Signatures without one (Ed25519) leave the binding undefined: empty.
std::string TlsSession::peer_certificate_hash() const {
  const bool server = impl_->generation->server;
  X509* certificate = server ? SSL_get_certificate(impl_->ssl) : SSL_get0_peer_certificate(impl_->ssl);
  int hash = NID_undef;
  if (!certificate || X509_get_signature_info(certificate, &hash, nullptr, nullptr, nullptr) != 1) {
    ERR_clear_error();
    return {};
  }
  if (hash == NID_md5 || hash == NID_sha1) hash = NID_sha256;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  const EVP_MD* function = hash == NID_undef ? nullptr : EVP_get_digestbynid(hash);
  if (!function || X509_digest(certificate, function, digest.data(), &size) != 1) {
    ERR_clear_error();
    return {};
  }
  return std::string(reinterpret_cast<const char*>(digest.data()), size);
}

const std::string& TlsSession::error() const noexcept { return impl_->error; }

std::size_t TlsSession::buffered() const noexcept {
  const tls::Transport& transport = impl_->transport;
  return transport.rest.size() - transport.rest_taken + transport.input.size();
}

ssl_st* TlsSession::native() const noexcept { return impl_->ssl; }

}  // namespace fasterapi::core
