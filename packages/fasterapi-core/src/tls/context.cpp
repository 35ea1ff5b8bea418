// Contexts: options become a generation of settings, which reload() replaces as a whole.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fasterapi/core/error.hpp>

#include "internal.hpp"

namespace fasterapi::core {

using tls::config_error;
using tls::Generation;
using tls::quoted;

namespace {

// Forward secrecy and AEAD only; TLS 1.3 has nothing else.
constexpr const char* kServerCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL";

const Generation& generation_of(SSL* ssl) {
  return *static_cast<const Generation*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

int select_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                unsigned offered_size, void*) noexcept {
  const std::string& ours = generation_of(ssl).alpn;
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301 section 3.2: no_application_protocol
  }
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

int check_name(SSL* ssl, int* alert, void*) noexcept {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (!name) return SSL_TLSEXT_ERR_NOACK;
  try {
    const Generation& generation = generation_of(ssl);
    if (generation.identities.find(name) || !generation.refuse_unknown_names) return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
  } catch (const std::bad_alloc&) {
    *alert = SSL_AD_INTERNAL_ERROR;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int choose_certificate(SSL* ssl, void*) noexcept {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (!name) return 1;  // the default is in place
  try {
    const tls::IdentityTable& table = generation_of(ssl).identities;
    const std::vector<std::size_t>* found = table.find(name);
    if (!found) return 1;
    SSL_certs_clear(ssl);
    for (std::size_t index : *found) {
      const tls::Identity& identity = table.all()[index];
      std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })> chain(
          sk_X509_new_null());
      for (const tls::Certificate& above : identity.chain) {
        if (!chain || sk_X509_push(chain.get(), above.get()) <= 0) return 0;
      }
      if (SSL_use_cert_and_key(ssl, identity.certificate.get(), identity.key.get(), chain.get(), 1) != 1) return 0;
    }
    return 1;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

/// What decides who is let in. A ticket must not outlive it (CVE-2025-23419 and its kin): sessions carry its hash,
/// and OpenSSL resumes only those that have the same.
std::string verification_digest(const TlsServerOptions& options) {
  std::string text = "fasterapi " + std::to_string(static_cast<int>(options.verify_client));
  for (const std::string* file : {&options.client_ca_file, &options.crl_file}) {
    std::ifstream stream(*file, std::ios::binary);
    text += '\0' + *file + '\0';
    text.append(std::istreambuf_iterator<char>(stream), {});
  }
  if (!options.client_ca_dir.empty()) {
    std::vector<std::string> entries;
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(options.client_ca_dir, failure)) {
      const auto written = entry.last_write_time(failure).time_since_epoch().count();
      entries.push_back(entry.path().string() + ' ' + std::to_string(written));
    }
    std::sort(entries.begin(), entries.end());
    for (const std::string& entry : entries) text += entry + '\n';
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
    config_error("cannot hash the client verification settings");
  }
  return std::string(reinterpret_cast<const char*>(digest), size);
}

void verify_clients(SSL_CTX* ctx, const TlsServerOptions& options) {
  const bool authorities = !options.client_ca_file.empty() || !options.client_ca_dir.empty();
  if (options.verify_client == TlsVerify::none) {
    if (!authorities && options.crl_file.empty()) return;
    config_error("client_ca_file, client_ca_dir and crl_file count only with verify_client");
  }
  if (!authorities) config_error("verify_client needs a client_ca_file or client_ca_dir");
  STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
  std::unique_ptr<STACK_OF(X509_NAME),
                  decltype([](STACK_OF(X509_NAME) * stack) { sk_X509_NAME_pop_free(stack, X509_NAME_free); })>
      owner(names);
  if (!options.client_ca_file.empty()) {
    tls::use_ca_file(ctx, "client_ca_file", options.client_ca_file);
    if (SSL_add_file_cert_subjects_to_stack(names, options.client_ca_file.c_str()) != 1) {
      config_error("cannot use " + quoted("client_ca_file", options.client_ca_file));
    }
  }
  if (!options.client_ca_dir.empty()) {
    tls::use_ca_dir(ctx, "client_ca_dir", options.client_ca_dir);
    if (SSL_add_dir_cert_subjects_to_stack(names, options.client_ca_dir.c_str()) != 1) {
      config_error("cannot use " + quoted("client_ca_dir", options.client_ca_dir));
    }
  }
  SSL_CTX_set_client_CA_list(ctx, owner.release());
  if (!options.crl_file.empty()) tls::use_crl_file(ctx, options.crl_file);
  const bool required = options.verify_client == TlsVerify::required;
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     &TlsSession::Impl::verified);
}

std::shared_ptr<const Generation> load(const TlsClientOptions& options) {
  auto generation = tls::make_generation(TLS_client_method(), options.alpn);
  SSL_CTX* ctx = generation->ctx;
  generation->verify_host = options.verify_peer && options.verify_host;
  tls::set_versions(ctx, options.min_version, options.max_version);
  if (!options.ciphers.empty()) tls::set_ciphers(ctx, options.ciphers);
  tls::set_groups(ctx, options.groups);
  if (options.allow_unexpected_eof) SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(ctx, options.verify_peer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, &TlsSession::Impl::verified);
  const bool own_file = !options.ca_file.empty() && options.ca_file != "system";
  if (own_file) tls::use_ca_file(ctx, "ca_file", options.ca_file);
  if (!options.ca_dir.empty()) tls::use_ca_dir(ctx, "ca_dir", options.ca_dir);
  if (options.verify_peer && !own_file && options.ca_dir.empty()) tls::use_system_store(ctx);
  if (!options.crl_file.empty()) tls::use_crl_file(ctx, options.crl_file);
  if (!options.cert_file.empty()) {
    tls::use_identity(ctx, tls::load_identity({options.cert_file, options.key_file, options.key_password},
                                              options.password_callback));
  } else if (!options.key_file.empty()) {
    config_error(quoted("key_file", options.key_file) + " needs a cert_file");
  }
  if (!generation->alpn.empty() &&
      SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>(generation->alpn.data()),
                              static_cast<unsigned>(generation->alpn.size())) != 0) {
    config_error("cannot use " + quoted("alpn", options.alpn));
  }
  if (options.resume) {
    generation->sessions = std::make_unique<tls::SessionCache>();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, &TlsSession::Impl::new_session);
  } else {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  }
  return generation;
}

std::shared_ptr<const Generation> load(const TlsServerOptions& options, std::shared_ptr<tls::TicketKeys> tickets) {
  if (options.cert_file.empty()) config_error("a server needs a cert_file");
  auto generation = tls::make_generation(TLS_server_method(), options.alpn);
  SSL_CTX* ctx = generation->ctx;
  generation->server = true;
  generation->refuse_unknown_names = options.refuse_unknown_names;
  tls::set_versions(ctx, options.min_version, options.max_version);
  tls::set_ciphers(ctx, kServerCiphers);
  if (!options.ciphers.empty()) tls::set_ciphers(ctx, options.ciphers);
  tls::set_groups(ctx, options.groups);
  SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (options.allow_unexpected_eof) SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);

  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);  // tickets resume without memory here
  const std::string digest = verification_digest(options);
  SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(digest.data()),
                                 static_cast<unsigned>(digest.size()));
  if (options.tickets) {
    generation->tickets = std::move(tickets);
    generation->tickets->install(ctx);
  } else {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);  // TLS 1.2
    SSL_CTX_set_num_tickets(ctx, 0);             // TLS 1.3
  }

  generation->identities.add(
      tls::load_identity({options.cert_file, options.key_file, options.key_password}, options.password_callback));
  for (const TlsIdentity& files : options.more_certs) {
    generation->identities.add(tls::load_identity(files, options.password_callback));
  }
  const std::vector<tls::Identity>& all = generation->identities.all();
  // The default, and those of the same names whose keys are of another type.
  for (auto identity = all.rbegin(); identity != all.rend(); ++identity) {
    if (&*identity == &all.front() || identity->names == all.front().names) tls::use_identity(ctx, *identity);
  }
  if (all.size() > 1) SSL_CTX_set_cert_cb(ctx, choose_certificate, nullptr);
  SSL_CTX_set_tlsext_servername_callback(ctx, check_name);
  verify_clients(ctx, options);
  if (!generation->alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx, select_alpn, nullptr);
  return generation;
}

std::shared_ptr<tls::TicketKeys> make_tickets(const TlsServerOptions& options) {
  return std::make_shared<tls::TicketKeys>(options.ticket_lifetime_s, options.ticket_secret);
}

}  // namespace

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

std::shared_ptr<TlsContext> TlsContext::client(const TlsClientOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->client_options = options;
  impl->generation = load(options);
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

std::shared_ptr<TlsContext> TlsContext::server(const TlsServerOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->server = true;
  impl->server_options = options;
  impl->generation = load(options, make_tickets(options));
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

bool TlsContext::is_server() const noexcept { return impl_->server; }

void TlsContext::reload() {
  // The options are read under the lock, the files outside of it: sessions start meanwhile.
  std::unique_lock lock(impl_->mutex);
  if (impl_->server) {
    const TlsServerOptions options = impl_->server_options;
    lock.unlock();
    return reload(options);
  }
  const TlsClientOptions options = impl_->client_options;
  lock.unlock();
  reload(options);
}

void TlsContext::reload(const TlsClientOptions& options) {
  if (impl_->server) config_error("client options for the context of a server");
  std::shared_ptr<const Generation> fresh = load(options);
  {
    std::lock_guard lock(impl_->mutex);
    impl_->generation.swap(fresh);
    impl_->client_options = options;
  }
  ++impl_->reloads;
}  // the old generation goes with its last session

void TlsContext::reload(const TlsServerOptions& options) {
  if (!impl_->server) config_error("server options for the context of a client");
  std::shared_ptr<tls::TicketKeys> tickets;  // kept, so that clients can resume across the reload
  {
    std::lock_guard lock(impl_->mutex);
    const TlsServerOptions& old = impl_->server_options;
    if (old.ticket_lifetime_s == options.ticket_lifetime_s && old.ticket_secret == options.ticket_secret) {
      tickets = impl_->generation->tickets;
    }
  }
  if (!tickets) tickets = make_tickets(options);
  std::shared_ptr<const Generation> fresh = load(options, std::move(tickets));
  {
    std::lock_guard lock(impl_->mutex);
    impl_->generation.swap(fresh);
    impl_->server_options = options;
  }
  ++impl_->reloads;
}

TlsCounters TlsContext::counters() const noexcept {
  return {impl_->handshakes.load(), impl_->resumed.load(), impl_->failed.load(), impl_->reloads.load()};
}

}  // namespace fasterapi::core
