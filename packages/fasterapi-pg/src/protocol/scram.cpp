#include "protocol/scram.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <charconv>
#include <cstring>

namespace fasterapi::pg {
namespace {

std::string_view view(const Digest& d) noexcept { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

bool sha256(std::string_view data, Digest& out) {
  return EVP_Digest(data.data(), data.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1;
}

bool hmac(std::string_view key, std::string_view data, Digest& out) {
  unsigned length = 0;
  return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
              reinterpret_cast<const unsigned char*>(data.data()), data.size(), out.data(), &length) != nullptr &&
         length == out.size();
}

bool equal(const Digest& a, const Digest& b) noexcept { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

/// "k=value" at the front of `rest`, up to the next comma.
bool attribute(std::string_view& rest, char key, std::string_view& value) noexcept {
  if (rest.size() < 2 || rest[0] != key || rest[1] != '=') return false;
  std::size_t comma = rest.find(',');
  value = rest.substr(2, comma == std::string_view::npos ? comma : comma - 2);
  rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  return true;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(n));
  return out;
}

bool base64_decode(std::string_view text, std::string& bytes) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > kScramMaxMessage) return false;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  for (char c : text.substr(0, text.size() - padding)) {  // EVP_DecodeBlock skips blanks: a strict check first
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/')) {
      return false;
    }
  }
  bytes.resize(text.size() / 4 * 3);
  int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return false;
  bytes.resize(static_cast<std::size_t>(n) - padding);
  return true;
}

bool ScramKeyCache::find(std::string_view password, std::string_view salt, std::uint32_t iterations,
                         Digest& client, Digest& server) const {
  Digest hash;
  if (!sha256(password, hash)) return false;
  std::lock_guard lock(mutex_);
  if (iterations_ != iterations || salt_ != salt || !equal(hash, password_)) return false;
  client = client_;
  server = server_;
  return true;
}

void ScramKeyCache::store(std::string_view password, std::string_view salt, std::uint32_t iterations,
                          const Digest& client, const Digest& server) {
  Digest hash;
  if (!sha256(password, hash)) return;
  std::lock_guard lock(mutex_);
  password_ = hash;
  salt_ = salt;
  iterations_ = iterations;
  client_ = client;
  server_ = server;
}

Scram::Scram(std::string password, Binding binding, std::string binding_data, std::shared_ptr<ScramKeyCache> cache,
             std::string username, std::string nonce)
    : password_(std::move(password)),
      binding_(binding),
      binding_data_(std::move(binding_data)),
      cache_(std::move(cache)),
      username_(std::move(username)),
      nonce_(std::move(nonce)) {}

bool Scram::fail(std::string reason) {
  step_ = Step::failed;
  error_ = std::move(reason);
  return false;
}

std::string Scram::header() const {
  switch (binding_) {
    case Binding::end_point: return "p=tls-server-end-point,,";
    case Binding::available_but_unused:
      return "y,,";  // the server learns that its -PLUS offer was lost on the way
    default: return "n,,";
  }
}

std::string Scram::client_first() {
  if (nonce_.empty()) {
    unsigned char raw[18];
    if (RAND_bytes(raw, sizeof raw) != 1) {
      fail("no random bytes for the SCRAM nonce");
      return {};
    }
    nonce_ = base64_encode({reinterpret_cast<const char*>(raw), sizeof raw});
  }
  client_first_bare_ = "n=" + username_ + ",r=" + nonce_;
  step_ = Step::first_sent;
  return header() + client_first_bare_;
}

bool Scram::server_first(std::string_view message) {
  if (step_ != Step::first_sent) return fail("SCRAM message out of order");
  if (message.size() > kScramMaxMessage) return fail("SCRAM message too long");
  std::string_view rest = message, nonce, salt, rounds;
  if (rest.starts_with("m=")) return fail("the server asks for an unknown SCRAM extension");
  if (!attribute(rest, 'r', nonce) || !attribute(rest, 's', salt) || !attribute(rest, 'i', rounds)) {
    return fail("malformed SCRAM challenge");
  }
  if (!nonce.starts_with(nonce_) || nonce.size() == nonce_.size()) {
    return fail("the server's SCRAM nonce does not extend ours");
  }
  if (!base64_decode(salt, salt_) || salt_.empty()) return fail("malformed SCRAM salt");
  auto [end, code] = std::from_chars(rounds.data(), rounds.data() + rounds.size(), iterations_);
  if (code != std::errc() || end != rounds.data() + rounds.size()) return fail("malformed SCRAM iteration count");
  if (iterations_ < kScramMinIterations || iterations_ > kScramMaxIterations) {
    return fail("SCRAM iteration count " + std::to_string(iterations_) + " is outside " +
                std::to_string(kScramMinIterations) + ".." + std::to_string(kScramMaxIterations));
  }
  server_nonce_ = nonce;
  server_first_ = message;
  step_ = Step::first_received;
  return true;
}

bool Scram::quick() const {
  Digest client, server;
  return iterations_ <= 16384 || (cache_ && cache_->find(password_, salt_, iterations_, client, server));
}

bool Scram::derive() {
  if (step_ != Step::first_received) return fail("SCRAM message out of order");
  if (!cache_ || !cache_->find(password_, salt_, iterations_, client_key_, server_key_)) {
    Digest salted;
    if (PKCS5_PBKDF2_HMAC(password_.data(), static_cast<int>(password_.size()),
                          reinterpret_cast<const unsigned char*>(salt_.data()), static_cast<int>(salt_.size()),
                          static_cast<int>(iterations_), EVP_sha256(), static_cast<int>(salted.size()),
                          salted.data()) != 1 ||
        !hmac(view(salted), "Client Key", client_key_) || !hmac(view(salted), "Server Key", server_key_)) {
      return fail("SCRAM key derivation failed");
    }
    OPENSSL_cleanse(salted.data(), salted.size());
    if (cache_) cache_->store(password_, salt_, iterations_, client_key_, server_key_);
  }
  step_ = Step::derived;
  return true;
}

std::string Scram::client_final() {
  if (step_ != Step::derived) {
    fail("SCRAM message out of order");
    return {};
  }
  std::string without_proof = "c=" + base64_encode(header() + binding_data_) + ",r=" + server_nonce_;
  if (binding_ != Binding::end_point) without_proof = "c=" + base64_encode(header()) + ",r=" + server_nonce_;
  std::string auth = client_first_bare_ + "," + server_first_ + "," + without_proof;
  Digest stored, signature;
  if (!sha256(view(client_key_), stored) || !hmac(view(stored), auth, signature) ||
      !hmac(view(server_key_), auth, server_signature_)) {
    fail("SCRAM proof failed");
    return {};
  }
  Digest proof;
  for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = client_key_[i] ^ signature[i];
  step_ = Step::final_sent;
  return without_proof + ",p=" + base64_encode(view(proof));
}

bool Scram::server_final(std::string_view message) {
  if (step_ != Step::final_sent) return fail("SCRAM message out of order");
  if (message.size() > kScramMaxMessage) return fail("SCRAM message too long");
  std::string_view rest = message, value;
  if (attribute(rest, 'e', value)) return fail("the server refused the SCRAM proof");
  std::string signature;
  if (!attribute(rest, 'v', value) || !base64_decode(value, signature) || signature.size() != 32 ||
      CRYPTO_memcmp(signature.data(), server_signature_.data(), 32) != 0) {
    return fail("the server could not prove that it knows the password");
  }
  step_ = Step::verified;
  return true;
}

std::string md5_password(std::string_view user, std::string_view password, std::string_view salt) {
  auto hex_md5 = [](std::string_view data) -> std::string {
    unsigned char raw[16];
    unsigned length = 0;
    if (EVP_Digest(data.data(), data.size(), raw, &length, EVP_md5(), nullptr) != 1 || length != 16) return {};
    std::string hex;
    for (unsigned char byte : raw) {
      hex.push_back("0123456789abcdef"[byte >> 4]);
      hex.push_back("0123456789abcdef"[byte & 15]);
    }
    return hex;
  };
  std::string inner = hex_md5(std::string(password) + std::string(user));
  if (inner.empty()) return {};
  return "md5" + hex_md5(inner + std::string(salt));
}

}  // namespace fasterapi::pg
