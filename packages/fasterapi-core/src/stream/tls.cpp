#include <fasterapi/core/tls.hpp>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <new>
#include <utility>

#include <fasterapi/core/error.hpp>

namespace fasterapi::core {

struct TlsContext::Impl {
  ~Impl() { SSL_CTX_free(ctx); }
  SSL_CTX* ctx = nullptr;
  bool server = false;
  bool verify_host = false;
  std::string alpn;  // wire form: each name after its length
};

struct TlsSession::Impl {
  ~Impl() { SSL_free(ssl); }  // frees the BIOs
  Status fail(const char* doing, int result);

  std::shared_ptr<TlsContext> context;
  SSL* ssl = nullptr;
  BIO* in = nullptr;
  BIO* out = nullptr;
  std::string host;
  std::string early;  // written before the end of the handshake
  std::string error;
  Status ended = Status::ok;  // `closed` or `failed` for good, as read() saw it
  bool close_sent = false;
};

namespace {

// The last reason in OpenSSL's queue of this thread, which is empty afterwards.
std::string drain_errors() {
  std::string text;
  while (unsigned long code = ERR_get_error()) {
    if (!text.empty()) continue;  // the first is the cause, what follows are its consequences
    const char* reason =
        ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    if (reason) text = reason;
  }
  return text;
}

[[noreturn]] void config_error(std::string message) {
  if (std::string cause = drain_errors(); !cause.empty()) message += ": " + cause;
  throw Error("TLS: " + message);
}

std::string quoted(const char* option, const std::string& value) {
  return std::string(option) + " \"" + value + '"';
}

int version_number(const char* option, const std::string& name) {
  struct Version {
    std::string_view name;
    int number;
  };
  constexpr Version kVersions[] = {{"tlsv1", TLS1_VERSION},
                                   {"tlsv1.0", TLS1_VERSION},
                                   {"tlsv1.1", TLS1_1_VERSION},
                                   {"tlsv1.2", TLS1_2_VERSION},
                                   {"tlsv1.3", TLS1_3_VERSION}};
  std::string lower = name;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const Version& version : kVersions) {
    if (version.name == lower) return version.number;
  }
  config_error(quoted(option, name) + " is not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3");
}

void set_versions(SSL_CTX* ctx, const std::string& least, const std::string& most) {
  const int low = least.empty() ? 0 : version_number("min_version", least);
  const int high = most.empty() ? 0 : version_number("max_version", most);
  if (low && high && low > high) {
    config_error(quoted("min_version", least) + " is above " + quoted("max_version", most));
  }
  if (low && !SSL_CTX_set_min_proto_version(ctx, low)) config_error("cannot set " + quoted("min_version", least));
  if (high && !SSL_CTX_set_max_proto_version(ctx, high)) config_error("cannot set " + quoted("max_version", most));
}

// "h2, http/1.1" -> "\x02h2\x08http/1.1" (RFC 7301 section 3.1).
std::string alpn_wire(const std::string& list) {
  std::string wire;
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view name = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (name.empty() || name.size() > 255) {
      config_error(quoted("alpn", list) + " needs names of 1 to 255 bytes, separated by commas");
    }
    wire.push_back(static_cast<char>(name.size()));
    wire.append(name);
  }
  return wire;
}

int select_alpn(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                unsigned offered_size, void* arg) {
  const std::string& ours = static_cast<TlsContext::Impl*>(arg)->alpn;
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301 section 3.2: no_application_protocol
  }
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

struct Password {
  const std::string& text;
  bool asked = false;
};

// Always set, so that OpenSSL never asks on the terminal.
int give_password(char* out, int capacity, int, void* arg) {
  auto& password = *static_cast<Password*>(arg);
  password.asked = true;
  if (password.text.empty() || password.text.size() > static_cast<std::size_t>(capacity)) return -1;
  std::memcpy(out, password.text.data(), password.text.size());
  return static_cast<int>(password.text.size());
}

void use_identity(SSL_CTX* ctx, const std::string& cert_file, const std::string& key_file,
                  const std::string& password_text) {
  const std::string& key = key_file.empty() ? cert_file : key_file;
  Password password{password_text};
  SSL_CTX_set_default_passwd_cb(ctx, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(ctx, &password);
  if (SSL_CTX_use_certificate_chain_file(ctx, cert_file.c_str()) != 1) {
    config_error("cannot use " + quoted("cert_file", cert_file));
  }
  password.asked = false;
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    // OpenSSL reports a certificate's key of another type or value here too.
    std::string message = "cannot use " + quoted("key_file", key);
    if (password.asked) {
      message += password_text.empty() ? " (encrypted: set key_password)" : " (wrong key_password?)";
    }
    config_error(message);
  }
  SSL_CTX_set_default_passwd_cb_userdata(ctx, nullptr);
  SSL_CTX_set_default_passwd_cb(ctx, nullptr);
  if (SSL_CTX_check_private_key(ctx) != 1) {
    config_error(quoted("key_file", key) + " does not belong to " + quoted("cert_file", cert_file));
  }
}

bool has_entries(const char* path) noexcept {
  std::error_code failure;
  const std::filesystem::path found(path);
  if (std::filesystem::is_directory(found, failure)) return !std::filesystem::is_empty(found, failure) && !failure;
  return std::filesystem::is_regular_file(found, failure);
}

// An OpenSSL that came in a wheel was built for directories of another system: then the usual bundles.
void use_system_store(SSL_CTX* ctx) {
  if (SSL_CTX_set_default_verify_paths(ctx) != 1) config_error("cannot read the system's certificate store");
  if (std::getenv(X509_get_default_cert_file_env()) || std::getenv(X509_get_default_cert_dir_env())) return;
  if (has_entries(X509_get_default_cert_file()) || has_entries(X509_get_default_cert_dir())) return;
  for (const char* bundle : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    if (has_entries(bundle) && SSL_CTX_load_verify_file(ctx, bundle) == 1) return;
  }
  config_error("no certificate store found on this system: set ca_file");
}

void use_ca_file(SSL_CTX* ctx, const char* option, const std::string& file) {
  if (SSL_CTX_load_verify_file(ctx, file.c_str()) != 1) config_error("cannot use " + quoted(option, file));
}

void use_crl_file(SSL_CTX* ctx, const std::string& file) {
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (!lookup || X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) < 1) {
    config_error("cannot use " + quoted("crl_file", file));
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

void use_ciphers(SSL_CTX* ctx, const std::string& list) {
  std::string old, modern;  // up to TLS 1.2, and TLS 1.3
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    std::string& into = rest.starts_with("TLS_") ? modern : old;
    if (!into.empty()) into += ':';
    into += rest.substr(0, colon);
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  if ((!old.empty() && SSL_CTX_set_cipher_list(ctx, old.c_str()) != 1) ||
      (!modern.empty() && SSL_CTX_set_ciphersuites(ctx, modern.c_str()) != 1)) {
    config_error("cannot use " + quoted("ciphers", list));
  }
}

std::unique_ptr<TlsContext::Impl> make_context(const SSL_METHOD* method, const std::string& alpn) {
  ERR_clear_error();
  auto impl = std::make_unique<TlsContext::Impl>();
  impl->ctx = SSL_CTX_new(method);
  if (!impl->ctx) config_error("cannot make a context");
  impl->alpn = alpn_wire(alpn);
  SSL_CTX_set_options(impl->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(impl->ctx, SSL_MODE_RELEASE_BUFFERS);
  return impl;
}

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

}  // namespace

// ---------------------------------------------------------------- context

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

std::shared_ptr<TlsContext> TlsContext::client(const TlsClientOptions& options) {
  auto impl = make_context(TLS_client_method(), options.alpn);
  SSL_CTX* ctx = impl->ctx;
  impl->verify_host = options.verify_peer && options.verify_host;
  set_versions(ctx, options.min_version, options.max_version);
  SSL_CTX_set_verify(ctx, options.verify_peer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!options.ca_file.empty() && options.ca_file != "system") {
    use_ca_file(ctx, "ca_file", options.ca_file);
  } else if (options.verify_peer) {
    use_system_store(ctx);
  }
  if (!options.crl_file.empty()) use_crl_file(ctx, options.crl_file);
  if (!options.cert_file.empty()) {
    use_identity(ctx, options.cert_file, options.key_file, options.key_password);
  } else if (!options.key_file.empty()) {
    config_error(quoted("key_file", options.key_file) + " needs a cert_file");
  }
  if (!impl->alpn.empty() &&
      SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>(impl->alpn.data()),
                              static_cast<unsigned>(impl->alpn.size())) != 0) {
    config_error("cannot use " + quoted("alpn", options.alpn));
  }
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

std::shared_ptr<TlsContext> TlsContext::server(const TlsServerOptions& options) {
  auto impl = make_context(TLS_server_method(), options.alpn);
  SSL_CTX* ctx = impl->ctx;
  impl->server = true;
  if (options.cert_file.empty()) config_error("a server needs a cert_file");
  set_versions(ctx, options.min_version, {});
  if (!options.ciphers.empty()) use_ciphers(ctx, options.ciphers);
  SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);  // tickets resume without memory here
  static constexpr unsigned char kIdContext[] = "fasterapi";  // asked for where client certificates are
  SSL_CTX_set_session_id_context(ctx, kIdContext, sizeof kIdContext - 1);
  use_identity(ctx, options.cert_file, options.key_file, options.key_password);
  if (!options.client_ca_file.empty()) {
    use_ca_file(ctx, "client_ca_file", options.client_ca_file);
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(options.client_ca_file.c_str());
    if (!names) config_error("cannot use " + quoted("client_ca_file", options.client_ca_file));
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (options.require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  } else if (options.require_client_cert) {
    config_error("require_client_cert needs a client_ca_file");
  }
  if (!impl->alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx, select_alpn, impl.get());
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

// ---------------------------------------------------------------- session

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, std::string_view host)
    : impl_(std::make_unique<Impl>()) {
  const TlsContext::Impl& settings = *context->impl();
  ERR_clear_error();
  impl_->context = std::move(context);
  impl_->ssl = SSL_new(settings.ctx);
  if (!impl_->ssl) config_error("cannot make a session");
  impl_->in = BIO_new(BIO_s_mem());
  impl_->out = BIO_new(BIO_s_mem());
  if (!impl_->in || !impl_->out) {
    BIO_free(impl_->in);
    BIO_free(impl_->out);
    config_error("cannot make a session");
  }
  BIO_set_mem_eof_return(impl_->in, -1);  // empty means "later", until feed_eof()
  BIO_set_mem_eof_return(impl_->out, -1);
  SSL_set_bio(impl_->ssl, impl_->in, impl_->out);
  if (settings.server) {
    SSL_set_accept_state(impl_->ssl);
    return;
  }
  SSL_set_connect_state(impl_->ssl);
  impl_->host = host;
  if (impl_->host.find('\0') != std::string::npos) config_error("the host contains a zero byte");
  if (!host.empty()) {
    set_host(impl_->ssl, impl_->host, settings.verify_host);
  } else if (settings.verify_host) {
    config_error("verify_host needs the name of the host");
  }
}

TlsSession::~TlsSession() = default;

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
  std::string cause = drain_errors();
  if (const long verify = SSL_get_verify_result(ssl); verify != X509_V_OK && !SSL_is_init_finished(ssl)) {
    cause += (cause.empty() ? "" : ": ") + std::string(X509_verify_cert_error_string(verify));
    if (!host.empty()) cause += " (host \"" + host + "\")";
  }
  error = std::string(doing) + " failed: " + (cause.empty() ? "unexpected end of the stream" : cause);
  ended = Status::failed;
  return Status::failed;
}

void TlsSession::feed(std::string_view ciphertext) {
  while (!ciphertext.empty()) {
    const int part = static_cast<int>(std::min<std::size_t>(ciphertext.size(), INT_MAX));
    const int taken = BIO_write(impl_->in, ciphertext.data(), part);
    if (taken <= 0) {
      ERR_clear_error();
      throw std::bad_alloc();
    }
    ciphertext.remove_prefix(static_cast<std::size_t>(taken));
  }
}

void TlsSession::feed_eof() { BIO_set_mem_eof_return(impl_->in, 0); }

TlsSession::Status TlsSession::handshake() {
  if (impl_->ended == Status::failed) return Status::failed;
  if (handshake_done()) return Status::ok;
  ERR_clear_error();
  const int result = SSL_do_handshake(impl_->ssl);
  if (result != 1) {
    const Status status = impl_->fail("handshake", result);
    if (status != Status::closed) return status;
    impl_->error = "handshake failed: the peer closed it";
    return impl_->ended = Status::failed;
  }
  const std::string early = std::exchange(impl_->early, {});
  return early.empty() ? Status::ok : write(early);
}

TlsSession::Status TlsSession::read(char* plain, std::size_t capacity, std::size_t& size) {
  size = 0;
  if (impl_->ended != Status::ok) return impl_->ended;
  if (capacity == 0) return Status::want_more;
  if (!handshake_done()) {
    if (const Status status = handshake(); status != Status::ok) return status;
  }
  while (size < capacity) {
    std::size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(impl_->ssl, plain + size, capacity - size, &got);
    if (result != 1) {
      const Status status = impl_->fail("read", result);
      if (status != Status::want_more) impl_->ended = status;
      return size ? Status::ok : status;
    }
    size += got;
  }
  return Status::ok;
}

TlsSession::Status TlsSession::write(std::string_view plain) {
  if (impl_->ended == Status::failed || impl_->close_sent) return Status::failed;
  if (plain.empty()) return Status::ok;
  if (!handshake_done()) {
    impl_->early.append(plain);
    return Status::ok;
  }
  std::size_t written = 0;
  ERR_clear_error();
  const int result = SSL_write_ex(impl_->ssl, plain.data(), plain.size(), &written);
  return result == 1 ? Status::ok : impl_->fail("write", result);
}

void TlsSession::close_notify() {
  if (impl_->close_sent || impl_->ended == Status::failed || !handshake_done()) return;
  impl_->close_sent = true;
  ERR_clear_error();
  SSL_shutdown(impl_->ssl);  // 0: sent, the peer's is still to come
  ERR_clear_error();
}

void TlsSession::take_output(OutBuffer& out) {
  while (const std::size_t pending = BIO_ctrl_pending(impl_->out)) {
    const int part = static_cast<int>(std::min<std::size_t>(pending, INT_MAX));
    char* at = out.reserve(static_cast<std::size_t>(part));
    out.commit(at + std::max(BIO_read(impl_->out, at, part), 0));
  }
}

bool TlsSession::handshake_done() const noexcept { return SSL_is_init_finished(impl_->ssl); }

std::string TlsSession::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(impl_->ssl, &name, &size);
  return name ? std::string(reinterpret_cast<const char*>(name), size) : std::string();
}

std::string TlsSession::version() const { return SSL_get_version(impl_->ssl); }

std::string TlsSession::cipher() const {
  const char* name = SSL_get_cipher_name(impl_->ssl);
  return name ? name : "";
}

std::string TlsSession::peer_certificate() const {
  X509* certificate = SSL_get0_peer_certificate(impl_->ssl);
  if (!certificate) return {};
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  std::string bytes(reinterpret_cast<const char*>(der), size > 0 ? static_cast<std::size_t>(size) : 0);
  OPENSSL_free(der);
  return bytes;
}

// RFC 5929 section 4.1: the hash of the server's certificate under the hash function of its signature, SHA-256
// in place of MD5 and SHA-1. Signatures without one (Ed25519) leave the binding undefined: empty.
std::string TlsSession::peer_certificate_hash() const {
  const bool server = impl_->context->impl()->server;
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

}  // namespace fasterapi::core
