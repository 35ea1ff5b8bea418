// Session resumption: the keys of a server's tickets, and the tickets that a client has been given.
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "internal.hpp"

namespace fasterapi::core::tls {
namespace {

constexpr std::size_t kMinSecret = 32;
constexpr std::int64_t kMaxLifetime = 7 * 24 * 3600;  // RFC 8446 section 4.6.1
constexpr std::size_t kHosts = 256;
constexpr std::size_t kSessionsPerHost = 4;
constexpr std::size_t kMaxTicket = 8 * 1024;  // servers may send 64 KiB; nobody is worth keeping that for

}  // namespace

TicketKeys::TicketKeys(std::int64_t lifetime_s, std::string secret)
    : lifetime_(lifetime_s), secret_(std::move(secret)) {
  if (lifetime_s < 1 || lifetime_s > kMaxLifetime) {
    config_error("ticket_lifetime_s " + std::to_string(lifetime_s) + " is not between 1 and " +
                 std::to_string(kMaxLifetime));
  }
  if (!secret_.empty() && secret_.size() < kMinSecret) {
    config_error("ticket_secret needs " + std::to_string(kMinSecret) + " bytes or more");
  }
}

// With a secret every process makes the same keys of an epoch from it; without one they are random, and the old
// ones are gone for good when they are replaced.
bool TicketKeys::make(std::int64_t epoch, Material& material) {
  if (secret_.empty()) return RAND_bytes(reinterpret_cast<unsigned char*>(&material), sizeof material) == 1;
  unsigned char block[2][EVP_MAX_MD_SIZE];
  for (int i = 0; i < 2; ++i) {
    const std::string label = "fasterapi tls ticket " + std::to_string(epoch) + (i ? " mac" : " cipher");
    if (!HMAC(EVP_sha512(), secret_.data(), static_cast<int>(secret_.size()),
              reinterpret_cast<const unsigned char*>(label.data()), label.size(), block[i], nullptr)) {
      return false;
    }
  }
  std::memcpy(material.name, block[0], sizeof material.name);
  std::memcpy(material.cipher, block[0] + sizeof material.name, sizeof material.cipher);
  std::memcpy(material.mac, block[1], sizeof material.mac);
  OPENSSL_cleanse(block, sizeof block);
  return true;
}

bool TicketKeys::refresh() {
  const std::int64_t epoch = static_cast<std::int64_t>(std::time(nullptr)) / lifetime_;
  if (epoch == epoch_) return true;
  if (secret_.empty()) {
    has_previous_ = epoch == epoch_ + 1;
    if (has_previous_) previous_ = current_;
  } else {
    has_previous_ = make(epoch - 1, previous_);
  }
  if (!make(epoch, current_)) return false;
  epoch_ = epoch;
  return true;
}

void TicketKeys::install(SSL_CTX* ctx) {
  SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, &TicketKeys::callback);
  SSL_CTX_set_timeout(ctx, static_cast<long>(lifetime_));
}

// RFC 5077 section 4: key name, IV, encrypted state, MAC.
int TicketKeys::callback(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                         EVP_MAC_CTX* mac, int encrypt) {
  const auto* generation = static_cast<const Generation*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  TicketKeys& keys = *generation->tickets;
  std::lock_guard lock(keys.mutex_);
  if (!keys.refresh()) return -1;
  const Material* material = &keys.current_;
  if (encrypt) {
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    std::memcpy(name, material->name, sizeof material->name);
  } else if (std::memcmp(name, material->name, sizeof material->name) != 0) {
    if (!keys.has_previous_ || std::memcmp(name, keys.previous_.name, sizeof material->name) != 0) return 0;
    material = &keys.previous_;
  }
  OSSL_PARAM parameters[3] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(material->mac),
                                        sizeof material->mac),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_end()};
  const int good = encrypt ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, material->cipher, iv)
                           : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, material->cipher, iv);
  if (good != 1 || EVP_MAC_CTX_set_params(mac, parameters) != 1) return -1;
  // 2 gives the client a new ticket: its key has changed, or (RFC 8446 section C.4) it uses each one once.
  return !encrypt && (material != &keys.current_ || SSL_version(ssl) >= TLS1_3_VERSION) ? 2 : 1;
}

// ---------------------------------------------------------------- clients

Session SessionCache::take(const std::string& host) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(host);
  if (found == entries_.end() || found->second.sessions.empty()) return nullptr;
  std::vector<Session>& sessions = found->second.sessions;
  found->second.used = ++clock_;
  if (SSL_SESSION_get_protocol_version(sessions.back().get()) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(sessions.back().get());
    return Session(sessions.back().get());
  }
  Session session = std::move(sessions.back());  // RFC 8446 section C.4: a ticket is used once
  sessions.pop_back();
  return session;
}

void SessionCache::put(const std::string& host, Session session) {
  const unsigned char* ticket = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(session.get(), &ticket, &size);
  if (size > kMaxTicket) return;
  std::lock_guard lock(mutex_);
  if (entries_.size() >= kHosts && !entries_.contains(host)) {
    entries_.erase(std::min_element(entries_.begin(), entries_.end(),
                                    [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
  }
  Entry& entry = entries_[host];
  entry.used = ++clock_;
  if (entry.sessions.size() >= kSessionsPerHost) entry.sessions.erase(entry.sessions.begin());
  entry.sessions.push_back(std::move(session));
}

}  // namespace fasterapi::core::tls
