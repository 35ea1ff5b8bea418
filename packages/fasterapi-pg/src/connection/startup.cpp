// Session, from the connected socket to the first ReadyForQuery: TLS negotiation, startup, authentication.
#include <sys/socket.h>
#include <unistd.h>

#include <fasterapi/core/error.hpp>

#include "connection/session.hpp"

namespace fasterapi::pg {

void Session::on_connected() noexcept {
  try {
    if (state_ == State::tls_handshake) {
      if (options_->direct_tls && stream_.tls()->alpn() != "postgresql") {
        reject(Failure::Kind::tls, "the server did not agree on ALPN \"postgresql\" for direct TLS");
        return;
      }
      send_startup();
      return;
    }
    set_socket_options();
    if (tls_use_ == TlsUse::none || address_.family() == AF_UNIX) {
      send_startup();
      return;
    }
    if (!options_->tls_context) {
      core::TlsClientOptions tls = options_->tls;
      tls.verify_peer = options_->ssl_mode >= SslMode::verify_ca ||
                        (options_->ssl_mode == SslMode::require && !tls.ca_file.empty());
      tls.verify_host = options_->ssl_mode == SslMode::verify_full;
      if (options_->direct_tls) tls.alpn = "postgresql";
      options_->tls_context = core::TlsContext::client(tls);
    }
    if (options_->direct_tls) {
      state_ = State::tls_handshake;
      if (int error = stream_.start_tls(options_->tls_context, options_->hosts[host_].name)) {
        reject(Failure::Kind::tls, "cannot start TLS: " + stream_.error_text(error));
      }
      return;
    }
    state_ = State::tls_answer;
    frontend::ssl_request(out_);
    flush_now();
  } catch (const std::exception& e) {
    reject(Failure::Kind::tls, e.what());
  }
}

void Session::send_startup() {
  std::vector<frontend::Parameter> parameters = {{"user", options_->user}, {"database", options_->database}};
  bool encoding = false;
  for (const auto& [name, value] : options_->settings) {
    // A setting cannot take the place of who we are, nor open a replication connection by the back door.
    if (name == "user" || name == "database" || name == "replication") continue;
    if (name == "client_encoding") encoding = true;
    parameters.emplace_back(name, name == "client_encoding" ? "UTF8" : std::string_view(value));
  }
  if (!encoding) parameters.emplace_back("client_encoding", "UTF8");
  state_ = State::login;
  if (!frontend::startup(out_, kProtocol30, parameters)) {
    reject(Failure::Kind::connect,
           "user, database and settings must not contain NUL and must stay below 10000 bytes");
    return;
  }
  flush_now();
}

bool Session::login_message(const backend::Message& message) {
  switch (message.type) {
    case 'R': {
      backend::Authentication a;
      // While the key derivation runs on its thread nobody else may touch the SCRAM state.
      if (authenticated_ || deriving_ || !backend::authentication(message.body, a))
        return violation("authentication request");
      return authenticate(a);
    }
    case 'K':
      if (!authenticated_ || !backend::key_data(message.body, pid_, key_)) return violation("BackendKeyData");
      return true;
    case 'v': {
      std::uint32_t version;
      std::vector<std::string> refused;
      if (!backend::negotiate_version(message.body, version, refused))
        return violation("NegotiateProtocolVersion");
      return true;  // we asked for 3.0, the least there is; unknown options concern nobody
    }
    case 'Z':
      if (!authenticated_) return violation("ReadyForQuery before authentication");
      backend::ready_for_query(message.body, status_);
      state_ = State::ready;
      scram_.reset();
      last_used = last_progress = reactor_.now();
      if (listener_) listener_->on_session_ready(*this);
      return stream_.open();
    case 'E': {
      backend::Report report;
      if (!backend::report(message.body, report)) return violation("ErrorResponse");
      failure_.kind = Failure::Kind::server;
      failure_.message = report.get('M');
      failure_.fields = std::move(report.fields);
      stream_.close();
      return false;
    }
    default: return violation("unexpected message during login");
  }
}

const std::optional<std::string>& Session::password() const noexcept {
  const Host& host = options_->hosts[host_];
  return host.password ? host.password : options_->password;
}

bool Session::check_method(unsigned bit, const char* name) {
  if (options_->require_auth != 0 && !(options_->require_auth & bit)) {
    return reject(Failure::Kind::authentication, std::string("the server asks for authentication method ") + name +
                                                     ", which require_auth excludes");
  }
  // CVE-2025-49146: only SCRAM-PLUS binds to the channel; everything else fails closed.
  if (options_->channel_binding == ChannelBinding::require && bit != kMethodScram) {
    return reject(Failure::Kind::authentication,
                  std::string("channel_binding=require, but the server asks for method ") + name);
  }
  if (bit != kMethodNone && !password()) {
    return reject(Failure::Kind::authentication, "the server asks for a password, and none was given");
  }
  return true;
}

bool Session::authenticate(const backend::Authentication& a) {
  switch (a.method) {
    case backend::kAuthOk:
      if (scram_ && !scram_->verified()) {
        return reject(Failure::Kind::authentication, "the server skipped its proof of the password (SCRAM)");
      }
      if (!proved_ && !check_method(kMethodNone, "none")) return false;
      authenticated_ = true;
      return true;
    case backend::kAuthCleartext:
      if (scram_ || proved_) return violation("authentication request");
      if (!check_method(kMethodPassword, "password")) return false;
      if (!options_->allow_cleartext && !tls() && address_.family() != AF_UNIX) {
        return reject(Failure::Kind::authentication,
                      "the server asks for the password in clear text over an unencrypted connection");
      }
      if (!frontend::password(out_, *password()))
        return reject(Failure::Kind::authentication, "NUL in the password");
      break;
    case backend::kAuthMd5: {
      if (scram_ || proved_) return violation("authentication request");
      if (!check_method(kMethodMd5, "md5")) return false;
      std::string answer = md5_password(options_->user, *password(), a.data);
      if (answer.empty()) return reject(Failure::Kind::authentication, "md5 is not available in this OpenSSL");
      frontend::password(out_, answer);
      break;
    }
    case backend::kAuthSasl:
      if (scram_ || proved_) return violation("authentication request");
      return begin_sasl(a.data);
    case backend::kAuthSaslContinue:
      if (!scram_) return violation("SASL continue before SASL");
      if (!scram_->server_first(a.data)) return reject(Failure::Kind::authentication, scram_->error());
      if (scram_->quick()) {
        scram_->derive();
        finish_sasl_first();
      } else {
        deriving_ = true;
        derivation_target_ = std::make_shared<Session*>(this);
        derivation_ = std::thread([scram = scram_.get(), reactor = &reactor_, target = derivation_target_] {
          scram->derive();
          reactor->post([target] {
            if (*target) (*target)->finish_sasl_first();
          });
        });
      }
      return stream_.open();
    case backend::kAuthSaslFinal:
      if (!scram_) return violation("SASL final before SASL");
      if (!scram_->server_final(a.data)) return reject(Failure::Kind::authentication, scram_->error());
      return true;
    default:
      return reject(
          Failure::Kind::authentication,
          "the server asks for an authentication method that is not supported (" + std::to_string(a.method) + ")");
  }
  proved_ = true;
  flush_now();
  return stream_.open();
}

bool Session::begin_sasl(std::string_view list) {
  std::vector<std::string_view> offered;
  if (!backend::mechanisms(list, offered)) return violation("SASL mechanisms");
  if (!check_method(kMethodScram, "scram-sha-256")) return false;
  bool plain = false, plus = false;
  for (std::string_view name : offered) {
    plain |= name == "SCRAM-SHA-256";
    plus |= name == "SCRAM-SHA-256-PLUS";
  }
  std::string hash;
  if (tls() && options_->channel_binding != ChannelBinding::disable) hash = stream_.tls()->peer_certificate_hash();
  bool bind = plus && !hash.empty();
  if (options_->channel_binding == ChannelBinding::require && !bind) {
    return reject(Failure::Kind::authentication, "channel_binding=require, but channel binding is not possible");
  }
  if (!plain && !bind) {
    return reject(Failure::Kind::authentication, "the server offers no SASL mechanism that is supported");
  }
  const std::string& secret =
      options_->scram_password && !options_->hosts[host_].password ? *options_->scram_password : *password();
  scram_ = std::make_unique<Scram>(secret,
                                   bind            ? Scram::Binding::end_point
                                   : !hash.empty() ? Scram::Binding::available_but_unused
                                                   : Scram::Binding::unsupported,
                                   hash, options_->scram_keys);
  proved_ = true;
  std::string first = scram_->client_first();
  if (first.empty()) return reject(Failure::Kind::authentication, scram_->error());
  frontend::sasl_initial(out_, scram_->mechanism(), first);
  flush_now();
  return stream_.open();
}

void Session::finish_sasl_first() noexcept {
  deriving_ = false;
  if (!stream_.open()) return;
  std::string final = scram_->client_final();
  if (final.empty()) {
    reject(Failure::Kind::authentication, scram_->error());
    return;
  }
  frontend::sasl_response(out_, final);
  flush_now();
}

}  // namespace fasterapi::pg
