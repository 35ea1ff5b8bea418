#pragma once
// SCRAM-SHA-256 and -PLUS, client side (RFC 5802, RFC 7677, channel binding RFC 5929), and the md5 answer.
//   Cost     one PBKDF2 per login, unless the keys of an earlier login with the same salt are at hand;
//            derive() is the slow part and touches nothing but this object: it may run on another thread
//   Errors   a step that returns false leaves the reason in error()
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace fasterapi::pg {

// Fewer rounds than the RFC's minimum help an attacker who plays the server; more than this is an attempt to
// keep our processor busy.
inline constexpr std::uint32_t kScramMinIterations = 4096;
inline constexpr std::uint32_t kScramMaxIterations = 600000;
inline constexpr std::size_t kScramMaxMessage = 4096;

using Digest = std::array<unsigned char, 32>;

/// Client and server key of the last login, so that reconnecting does not repeat PBKDF2. Any thread.
class ScramKeyCache {
 public:
  bool find(std::string_view password, std::string_view salt, std::uint32_t iterations, Digest& client,
            Digest& server) const;
  void store(std::string_view password, std::string_view salt, std::uint32_t iterations, const Digest& client,
             const Digest& server);

 private:
  mutable std::mutex mutex_;
  Digest password_{};  // hash, not the password itself
  std::string salt_;
  std::uint32_t iterations_ = 0;
  Digest client_{}, server_{};
};

class Scram {
 public:
  enum class Binding { unsupported, available_but_unused, end_point };

  /// `binding_data`: the tls-server-end-point hash when `binding` is end_point.
  Scram(std::string password, Binding binding, std::string binding_data, std::shared_ptr<ScramKeyCache> cache,
        std::string username = "", std::string nonce = "");

  const char* mechanism() const noexcept {
    return binding_ == Binding::end_point ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256";
  }
  std::string client_first();
  bool server_first(std::string_view message);
  /// True when derive() would be quick (keys cached or few rounds).
  bool quick() const;
  bool derive();
  std::string client_final();
  bool server_final(std::string_view message);
  /// The server has proved that it knows the password: without this, AuthenticationOk must not be believed.
  bool verified() const noexcept { return step_ == Step::verified; }
  const std::string& error() const noexcept { return error_; }
  std::uint32_t iterations() const noexcept { return iterations_; }

 private:
  enum class Step { start, first_sent, first_received, derived, final_sent, verified, failed };
  bool fail(std::string reason);
  std::string header() const;

  Step step_ = Step::start;
  std::string password_;
  Binding binding_;
  std::string binding_data_;
  std::shared_ptr<ScramKeyCache> cache_;
  std::string username_, nonce_, server_nonce_, salt_;
  std::string client_first_bare_, server_first_;
  std::uint32_t iterations_ = 0;
  Digest client_key_{}, server_key_{}, server_signature_{};
  std::string error_;
};

/// "md5" + md5(md5(password + user) + salt) in hex. Empty when the library refuses md5 (FIPS).
std::string md5_password(std::string_view user, std::string_view password, std::string_view salt);

std::string base64_encode(std::string_view bytes);
bool base64_decode(std::string_view text, std::string& bytes);

}  // namespace fasterapi::pg
