// Versions, ciphers, ALPN and certificate stores: how options become settings of an SSL_CTX.
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "internal.hpp"

namespace fasterapi::core::tls {
namespace {

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

bool has_entries(const char* path) noexcept {
  std::error_code failure;
  const std::filesystem::path found(path);
  if (std::filesystem::is_directory(found, failure)) return !std::filesystem::is_empty(found, failure) && !failure;
  return std::filesystem::is_regular_file(found, failure);
}

}  // namespace

void set_versions(SSL_CTX* ctx, const std::string& least, const std::string& most) {
  const int low = least.empty() ? 0 : version_number("min_version", least);
  const int high = most.empty() ? 0 : version_number("max_version", most);
  if (low && high && low > high) {
    config_error(quoted("min_version", least) + " is above " + quoted("max_version", most));
  }
  // RFC 8996 retires what is older than TLS 1.2: only who names it gets it.
  const int lowest = low ? low : high && high < TLS1_2_VERSION ? high : TLS1_2_VERSION;
  if (!SSL_CTX_set_min_proto_version(ctx, lowest)) config_error("cannot set " + quoted("min_version", least));
  if (high && !SSL_CTX_set_max_proto_version(ctx, high)) config_error("cannot set " + quoted("max_version", most));
}

void set_ciphers(SSL_CTX* ctx, const std::string& list) {
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

void set_groups(SSL_CTX* ctx, const std::string& list) {
  if (!list.empty() && SSL_CTX_set1_groups_list(ctx, list.c_str()) != 1) {
    config_error("cannot use " + quoted("groups", list));
  }
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

void use_ca_dir(SSL_CTX* ctx, const char* option, const std::string& directory) {
  // OpenSSL looks into it when it verifies, and says nothing now.
  std::error_code failure;
  if (!std::filesystem::is_directory(directory, failure)) {
    config_error("cannot use " + quoted(option, directory) + ": " +
                 (failure ? failure.message() : std::string("not a directory")));
  }
  if (SSL_CTX_load_verify_dir(ctx, directory.c_str()) != 1)
    config_error("cannot use " + quoted(option, directory));
}

void use_crl_file(SSL_CTX* ctx, const std::string& file) {
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (!lookup || X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) < 1) {
    config_error("cannot use " + quoted("crl_file", file));
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

std::unique_ptr<Generation> make_generation(const SSL_METHOD* method, const std::string& alpn) {
  ERR_clear_error();
  auto generation = std::make_unique<Generation>();
  generation->ctx = SSL_CTX_new(method);
  if (!generation->ctx) config_error("cannot make a context");
  SSL_CTX_set_app_data(generation->ctx, generation.get());
  generation->alpn = alpn_wire(alpn);
  SSL_CTX_set_options(generation->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(generation->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return generation;
}

}  // namespace fasterapi::core::tls
