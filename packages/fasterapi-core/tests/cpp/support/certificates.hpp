#pragma once
// Certificates for tests: a private CA, and what it signs, as PEM files in a directory that goes with the object.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace fasterapi::core::test {

class Certificates {
 public:
  struct Identity {
    std::string cert_file;
    std::string key_file;
  };
  struct Request {
    std::string name = "localhost";  // also the file name
    std::string alternatives = "DNS:localhost,IP:127.0.0.1";
    const EVP_MD* hash = EVP_sha256();
    std::string key_password;
    long valid_seconds = 3600;
    bool rsa = false;
  };

  Certificates() : ca_key_(EVP_EC_gen("P-256")) {
    char name[] = "/tmp/fasterapi-tls-XXXXXX";
    directory_ = ::mkdtemp(name);
    Request request;
    request.name = "CA of " + directory_;
    ca_ = make(request, ca_key_.get(), nullptr);
    write_certificate(ca_file(), ca_.get());
  }
  ~Certificates() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::string ca_file() const { return directory_ + "/ca.pem"; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  Identity issue(const Request& request) {
    Key key(request.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
    auto certificate = make(request, key.get(), ca_.get());
    Identity identity{path(request.name + ".crt"), path(request.name + ".key")};
    write_certificate(identity.cert_file, certificate.get());
    File file = open(identity.key_file);
    const bool secret = !request.key_password.empty();
    PEM_write_PrivateKey(file.get(), key.get(), secret ? EVP_aes_256_cbc() : nullptr,
                         secret ? reinterpret_cast<const unsigned char*>(request.key_password.data()) : nullptr,
                         static_cast<int>(request.key_password.size()), nullptr, nullptr);
    return identity;
  }
  Identity issue() { return issue(Request{}); }

  /// A revocation list of the CA that names `cert_file`, or nobody.
  std::string revoke(const std::string& cert_file) {
    X509_CRL* crl = X509_CRL_new();
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca_.get()));
    ASN1_TIME* now = X509_gmtime_adj(nullptr, -60);
    ASN1_TIME* later = X509_gmtime_adj(nullptr, 3600);
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_set1_nextUpdate(crl, later);
    if (!cert_file.empty()) {
      File file(std::fopen(cert_file.c_str(), "r"), &std::fclose);
      Certificate certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr), &X509_free);
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get()));
      X509_REVOKED_set_revocationDate(entry, now);
      X509_CRL_add0_revoked(crl, entry);
    }
    X509_CRL_sign(crl, ca_key_.get(), EVP_sha256());
    File file = open(path("crl.pem"));
    PEM_write_X509_CRL(file.get(), crl);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(crl);
    return path("crl.pem");
  }

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
  using Certificate = std::unique_ptr<X509, void (*)(X509*)>;
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

  Certificate make(const Request& request, EVP_PKEY* key, X509* issuer) {
    Certificate certificate(X509_new(), &X509_free);
    X509* x = certificate.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), request.valid_seconds);
    X509_set_pubkey(x, key);
    X509_NAME* name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(request.name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer ? issuer : x, x, nullptr, nullptr, 0);
    auto extend = [&](int nid, const char* value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
      if (!extension) throw std::runtime_error("bad extension");
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (!issuer) extend(NID_key_usage, "critical,keyCertSign,cRLSign");
    if (issuer && !request.alternatives.empty()) extend(NID_subject_alt_name, request.alternatives.c_str());
    if (!X509_sign(x, ca_key_.get(), request.hash)) throw std::runtime_error("cannot sign");
    return certificate;
  }

  static File open(const std::string& path) { return File(std::fopen(path.c_str(), "w"), &std::fclose); }
  static void write_certificate(const std::string& path, X509* certificate) {
    PEM_write_X509(open(path).get(), certificate);
  }

  std::string directory_;
  Key ca_key_;
  Certificate ca_{nullptr, &X509_free};
  long serial_ = 0;
};

}  // namespace fasterapi::core::test
