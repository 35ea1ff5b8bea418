// Certificates with their keys: reading them, choosing among them by name, and what they say of themselves.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include <fasterapi/core/error.hpp>

#include "internal.hpp"

namespace fasterapi::core::tls {
namespace {

File open_file(const char* option, const std::string& path) {
  File file(BIO_new_file(path.c_str(), "r"));
  if (!file) config_error("cannot use " + quoted(option, path));
  return file;
}

struct Password {
  const TlsIdentity& files;
  const std::string& key_file;
  const TlsPasswordCallback& ask;
  bool asked = false;
  std::exception_ptr error;
};

// Always given, so that OpenSSL never asks on the terminal.
int give_password(char* out, int capacity, int, void* arg) noexcept {
  auto& password = *static_cast<Password*>(arg);
  password.asked = true;
  try {
    const std::string text = !password.files.key_password.empty() ? password.files.key_password
                             : password.ask                       ? password.ask(password.key_file)
                                                                  : std::string();
    if (text.empty() || text.size() > static_cast<std::size_t>(capacity)) return -1;
    std::memcpy(out, text.data(), text.size());
    return static_cast<int>(text.size());
  } catch (...) {
    password.error = std::current_exception();
    return -1;
  }
}

void append_name(std::vector<std::string>& names, const ASN1_STRING* text) {
  std::string name(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                   static_cast<std::size_t>(ASN1_STRING_length(text)));
  if (name.empty() || name.find('\0') != std::string::npos) return;
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  names.push_back(std::move(name));
}

// RFC 6125 section 6.4.4: the common name counts only where there are no DNS names.
std::vector<std::string> dns_names(X509* certificate) {
  std::vector<std::string> names;
  for (auto& [kind, value] : alternatives(certificate)) {
    if (kind != "DNS") continue;
    for (char& c : value) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    names.push_back(std::move(value));
  }
  if (!names.empty()) return names;
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) append_name(names, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  return names;
}

std::string printable(std::string_view text) {
  std::string safe(text.substr(0, 100));
  for (char& c : safe) {
    if (c < ' ' || c > '~' || c == '"' || c == '\\') c = '?';  // the peer's bytes, on their way into a log
  }
  return safe;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> alternatives(X509* certificate) {
  std::vector<std::pair<std::string, std::string>> found;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  ERR_clear_error();
  if (!names) return found;
  std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>> owner(names);
  auto text = [](const ASN1_STRING* value) {
    return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                       static_cast<std::size_t>(ASN1_STRING_length(value)));
  };
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    switch (name->type) {
      case GEN_DNS: found.emplace_back("DNS", text(name->d.dNSName)); break;
      case GEN_URI: found.emplace_back("URI", text(name->d.uniformResourceIdentifier)); break;
      case GEN_EMAIL: found.emplace_back("email", text(name->d.rfc822Name)); break;
      case GEN_IPADD: {
        const std::string octets = text(name->d.iPAddress);
        char address[INET6_ADDRSTRLEN];
        const int family = octets.size() == 4 ? AF_INET : AF_INET6;
        if ((octets.size() == 4 || octets.size() == 16) &&
            ::inet_ntop(family, octets.data(), address, sizeof address)) {
          found.emplace_back("IP", address);
        }
        break;
      }
      default: break;  // directory names, registered IDs: nobody asks for them by name
    }
  }
  return found;
}

std::string names_for_message(X509* certificate) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> names;
  for (auto& [kind, value] : alternatives(certificate)) {
    if (kind == "DNS" || kind == "IP") names.push_back(std::move(value));
  }
  if (names.empty()) names = dns_names(certificate);
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i ? ", \"" : "\"") + printable(names[i]) + '"';
  }
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text.empty() ? "nobody" : text;
}

Identity load_identity(const TlsIdentity& files, const TlsPasswordCallback& ask) {
  Identity identity;
  ERR_clear_error();
  {
    File file = open_file("cert_file", files.cert_file);
    identity.certificate.reset(PEM_read_bio_X509_AUX(file.get(), nullptr, nullptr, nullptr));
    if (!identity.certificate) config_error("cannot use " + quoted("cert_file", files.cert_file));
    while (X509* above = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr))
      identity.chain.emplace_back(above);
    const unsigned long last = ERR_peek_last_error();
    if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
      config_error("cannot use the chain of " + quoted("cert_file", files.cert_file));
    }
    ERR_clear_error();
  }
  const std::string& key_file = files.key_file.empty() ? files.cert_file : files.key_file;
  File file = open_file("key_file", key_file);
  Password password{files, key_file, ask, false, nullptr};
  identity.key.reset(PEM_read_bio_PrivateKey(file.get(), nullptr, give_password, &password));
  if (password.error) {
    ERR_clear_error();
    std::rethrow_exception(password.error);
  }
  if (!identity.key) {
    std::string message = "cannot use " + quoted("key_file", key_file);
    if (password.asked) {
      message += files.key_password.empty() && !ask ? " (encrypted: set key_password)" : " (wrong key_password?)";
    }
    config_error(message);
  }
  if (X509_check_private_key(identity.certificate.get(), identity.key.get()) != 1) {
    config_error(quoted("key_file", key_file) + " does not belong to " + quoted("cert_file", files.cert_file));
  }
  identity.names = dns_names(identity.certificate.get());
  return identity;
}

void use_identity(SSL_CTX* ctx, const Identity& identity) {
  std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })> chain(
      sk_X509_new_null());
  for (const Certificate& certificate : identity.chain) {
    if (!chain || sk_X509_push(chain.get(), certificate.get()) <= 0) config_error("cannot use the chain");
  }
  if (SSL_CTX_use_cert_and_key(ctx, identity.certificate.get(), identity.key.get(), chain.get(), 1) != 1) {
    config_error("OpenSSL refuses the certificate for " + names_for_message(identity.certificate.get()));
  }
}

void IdentityTable::add(Identity identity) {
  for (const std::string& name : identity.names) {
    // "*.example.org" under ".example.org": find() never looks that up for an exact name, which has no first dot.
    by_name_[name.starts_with("*.") ? name.substr(1) : name].push_back(identities_.size());
  }
  identities_.push_back(std::move(identity));
}

const std::vector<std::size_t>* IdentityTable::find(std::string_view name) const {
  std::string lower(name);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (lower.ends_with('.')) lower.pop_back();
  if (lower.empty() || lower.front() == '.') return nullptr;
  auto found = by_name_.find(lower);
  if (found == by_name_.end()) {  // RFC 6125 section 6.4.3: a star stands for one whole label
    const std::size_t dot = lower.find('.');
    if (dot == std::string::npos) return nullptr;
    found = by_name_.find(std::string_view(lower).substr(dot));
  }
  return found == by_name_.end() ? nullptr : &found->second;
}

}  // namespace fasterapi::core::tls

namespace fasterapi::core {
namespace {

tls::Certificate parse(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  tls::Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate) tls::config_error("not a certificate");
  return certificate;
}

std::string read_all(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string name_text(X509_NAME* name) {
  tls::File memory(BIO_new(BIO_s_mem()));
  if (!memory) throw std::bad_alloc();
  // RFC 4514: most specific first, special characters escaped, UTF-8 as it is.
  X509_NAME_print_ex(memory.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  ERR_clear_error();
  return read_all(memory.get());
}

std::int64_t seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    ERR_clear_error();
    return 0;
  }
  return static_cast<std::int64_t>(::timegm(&parts));
}

}  // namespace

TlsCertificateInfo describe_certificate(std::string_view der) {
  const tls::Certificate certificate = parse(der);
  TlsCertificateInfo info;
  info.subject = name_text(X509_get_subject_name(certificate.get()));
  info.issuer = name_text(X509_get_issuer_name(certificate.get()));
  if (BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr)) {
    if (char* text = BN_bn2hex(number)) {
      info.serial = text;
      OPENSSL_free(text);
    }
    BN_free(number);
  }
  info.not_before = seconds(X509_get0_notBefore(certificate.get()));
  info.not_after = seconds(X509_get0_notAfter(certificate.get()));
  info.alternatives = tls::alternatives(certificate.get());
  return info;
}

std::string pem_certificate(std::string_view der) {
  const tls::Certificate certificate = parse(der);
  tls::File memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio_X509(memory.get(), certificate.get()) != 1) tls::config_error("cannot write PEM");
  return read_all(memory.get());
}

}  // namespace fasterapi::core
