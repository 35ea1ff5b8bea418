#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <fstream>

#include "tls_harness.hpp"

namespace fasterapi::core::test {
namespace {

TEST_F(Tls, carries_bytes_both_ways) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake()) << pair.client.error() << pair.server.error();
  EXPECT_EQ(pair.client->version(), "TLSv1.3");
  EXPECT_EQ(pair.client->cipher(), pair.server->cipher());
  Status last;
  EXPECT_EQ(pair.client.write("ping"), Status::ok);
  EXPECT_EQ(pair.to_server(last), "ping");
  EXPECT_EQ(last, Status::want_more);
  EXPECT_EQ(pair.server.write("pong"), Status::ok);
  Pair::carry(pair.server, pair.client, 1 << 20);
  EXPECT_EQ(Pair::read_all(pair.client, last), "pong");
}

TEST_F(Tls, may_be_fed_byte_by_byte) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake(1));
  std::string text(50'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
  pair.client.write(text);
  Status last;
  EXPECT_EQ(pair.to_server(last, 1), text);
}

TEST_F(Tls, speaks_tls_1_2) {
  client.max_version = "TLSv1.2";
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  EXPECT_EQ(pair.server->version(), "TLSv1.2");
}

TEST_F(Tls, refuses_versions_below_the_minimum) {
  server.min_version = "TLSv1.3";
  client.max_version = "tlsv1.2";
  Pair pair(server, client);
  EXPECT_FALSE(pair.shake());
  EXPECT_EQ(pair.server_status, Status::failed);
  EXPECT_EQ(pair.client_status, Status::failed);
  EXPECT_HAS(pair.client.error(), "alert protocol version");
}

TEST_F(Tls, keeps_what_is_written_before_the_end_of_the_handshake) {
  Pair pair(server, client);
  EXPECT_EQ(pair.client.write("early "), Status::ok);
  EXPECT_EQ(pair.client.write("bird"), Status::ok);
  ASSERT_TRUE(pair.shake());
  Status last;
  EXPECT_EQ(pair.to_server(last), "early bird");
}

TEST_F(Tls, agrees_on_the_servers_preferred_protocol) {
  server.alpn = "h2, http/1.1";
  client.alpn = "http/1.1,h2";
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  EXPECT_EQ(pair.client->alpn(), "h2");
  EXPECT_EQ(pair.server->alpn(), "h2");
}

TEST_F(Tls, accepts_clients_without_alpn) {
  server.alpn = "h2";
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  EXPECT_EQ(pair.server->alpn(), "");
}

TEST_F(Tls, refuses_clients_without_a_common_protocol) {
  server.alpn = "h2";
  client.alpn = "postgresql";
  Pair pair(server, client);
  EXPECT_FALSE(pair.shake());
  EXPECT_HAS(pair.client.error(), "no application protocol");
}

TEST_F(Tls, refuses_certificates_of_an_unknown_authority) {
  Certificates others;
  client.ca_file = others.ca_file();
  Pair pair(server, client);
  EXPECT_FALSE(pair.shake());
  EXPECT_EQ(pair.client_status, Status::failed);
  EXPECT_HAS(pair.client.error(), "certificate verify failed: unable to get local issuer certificate");
  EXPECT_HAS(pair.client.error(), "localhost");
  EXPECT_HAS(pair.server.error(), "unknown ca");  // the alert went out
}

TEST_F(Tls, refuses_certificates_of_another_host) {
  Pair pair(server, client, "example.org");
  EXPECT_FALSE(pair.shake());
  EXPECT_HAS(pair.client.error(),
             "hostname mismatch (host \"example.org\", but the certificate is for \"localhost\", \"127.0.0.1\")");
}

TEST_F(Tls, verifies_ip_addresses_against_address_entries) {
  Pair good(server, client, "127.0.0.1");
  EXPECT_TRUE(good.shake()) << good.client.error();
  Pair bad(server, client, "127.0.0.2");
  EXPECT_FALSE(bad.shake());
  EXPECT_HAS(bad.client.error(), "IP address mismatch");
  Pair six(server, client, "::1");
  EXPECT_FALSE(six.shake());
}

TEST_F(Tls, ignores_a_trailing_dot_of_the_host) {
  Pair pair(server, client, "localhost.");
  EXPECT_TRUE(pair.shake()) << pair.client.error();
}

TEST_F(Tls, verifies_the_authority_only_when_asked_to) {
  client.verify_host = false;
  Pair pair(server, client, "example.org");
  EXPECT_TRUE(pair.shake());
}

TEST_F(Tls, verifies_nothing_when_told_so) {
  client.ca_file.clear();
  client.verify_peer = false;
  Pair pair(server, client, "example.org");
  EXPECT_TRUE(pair.shake());
  Pair anonymous(server, client, "");
  EXPECT_TRUE(anonymous.shake());
}

TEST_F(Tls, refuses_expired_certificates) {
  Certificates::Request request;
  request.name = "old";
  request.valid_seconds = -10;
  auto old = certificates.issue(request);
  server.cert_file = old.cert_file;
  server.key_file = old.key_file;
  Pair pair(server, client);
  EXPECT_FALSE(pair.shake());
  EXPECT_HAS(pair.client.error(), "certificate has expired");
}

TEST_F(Tls, refuses_revoked_certificates) {
  client.crl_file = certificates.revoke("");
  EXPECT_TRUE(Pair(server, client).shake());
  client.crl_file = certificates.revoke(identity.cert_file);
  Pair pair(server, client);
  EXPECT_FALSE(pair.shake());
  EXPECT_HAS(pair.client.error(), "certificate revoked");
}

TEST_F(Tls, needs_a_host_to_verify) {
  auto context = TlsContext::client(client);
  EXPECT_THROW(TlsSession(context, ""), Error);
  EXPECT_THROW(TlsSession(context, std::string_view("local\0host", 10)), Error);
}

TEST_F(Tls, sends_the_name_of_the_server_for_dns_names_only) {
  auto hello = [&](const char* host) {
    TlsSession session(TlsContext::client(client), host);
    OutBuffer wire;
    session.handshake(wire);
    return std::string(wire.view());
  };
  EXPECT_HAS(hello("localhost."), "localhost");
  EXPECT_EQ(hello("localhost.").find("localhost."), std::string::npos);
  EXPECT_EQ(hello("127.0.0.1").find("127.0.0.1"), std::string::npos);
}

TEST_F(Tls, verifies_client_certificates) {
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::required;
  {
    Pair pair(server, client);
    pair.shake();  // TLS 1.3: the client is done before the server has refused it
    Status last;
    EXPECT_EQ(pair.server_status, Status::failed);
    EXPECT_HAS(pair.server.error(), "peer did not return a certificate");
    Pair::read_all(pair.client, last);
    EXPECT_EQ(last, Status::failed);
    EXPECT_HAS(pair.client.error(), "certificate required");
  }
  Certificates::Request request;
  request.name = "client";
  auto own = certificates.issue(request);
  client.cert_file = own.cert_file;
  client.key_file = own.key_file;
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake()) << pair.server.error();
  EXPECT_FALSE(pair.server->peer_certificate().empty());
}

TEST_F(Tls, refuses_client_certificates_of_another_authority) {
  Certificates others;
  auto foreign = others.issue();
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::optional;
  client.cert_file = foreign.cert_file;
  client.key_file = foreign.key_file;
  Pair pair(server, client);
  pair.shake();
  EXPECT_EQ(pair.server_status, Status::failed);
}

TEST_F(Tls, reads_encrypted_keys) {
  Certificates::Request request;
  request.name = "secret";
  request.key_password = "open sesame";
  auto secret = certificates.issue(request);
  server.cert_file = secret.cert_file;
  server.key_file = secret.key_file;
  EXPECT_HAS(failure(server), "(encrypted: set key_password)");
  EXPECT_HAS(failure(server), secret.key_file);
  server.key_password = "wrong";
  EXPECT_HAS(failure(server), "(wrong key_password?)");
  server.key_password = "open sesame";
  EXPECT_TRUE(Pair(server, client).shake());
}

TEST_F(Tls, takes_chain_and_key_from_one_file) {
  std::ofstream both(certificates.path("both.pem"));
  both << std::ifstream(identity.cert_file).rdbuf() << std::ifstream(identity.key_file).rdbuf();
  both.close();
  server.cert_file = certificates.path("both.pem");
  server.key_file.clear();
  EXPECT_TRUE(Pair(server, client).shake());
}

TEST_F(Tls, errors_name_the_option_and_the_file) {
  auto changed = [&](auto member, const std::string& value) {
    auto options = client;
    options.*member = value;
    return failure(options);
  };
  EXPECT_HAS(changed(&TlsClientOptions::ca_file, "/nowhere.pem"), "ca_file \"/nowhere.pem\": No such file");
  EXPECT_HAS(changed(&TlsClientOptions::crl_file, "/nowhere.pem"), "crl_file \"/nowhere.pem\"");
  EXPECT_HAS(changed(&TlsClientOptions::cert_file, "/nowhere.pem"), "cert_file \"/nowhere.pem\": No such file");
  EXPECT_HAS(changed(&TlsClientOptions::key_file, "/nowhere.pem"), "needs a cert_file");
  EXPECT_HAS(changed(&TlsClientOptions::alpn, "h2,,x"), "alpn \"h2,,x\"");
  EXPECT_HAS(changed(&TlsClientOptions::min_version, "TLSv9"), "min_version \"TLSv9\"");
  client.min_version = "TLSv1.3";
  EXPECT_HAS(changed(&TlsClientOptions::max_version, "TLSv1.2"), "is above max_version");
  TlsServerOptions none;
  EXPECT_HAS(failure(none), "needs a cert_file");
  auto strict = server;
  strict.verify_client = TlsVerify::required;
  EXPECT_HAS(failure(strict), "verify_client needs a client_ca_file");
  auto weak = server;
  weak.ciphers = "NO-SUCH-CIPHER";
  EXPECT_HAS(failure(weak), "ciphers \"NO-SUCH-CIPHER\"");
  auto swapped = server;
  Certificates::Request request;
  request.name = "second";
  swapped.key_file = certificates.issue(request).key_file;
  EXPECT_HAS(failure(swapped), "key values mismatch");
}

TEST_F(Tls, chooses_ciphers_of_both_generations) {
  server.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256";
  Pair modern(server, client);
  ASSERT_TRUE(modern.shake());
  EXPECT_EQ(modern.client->cipher(), "TLS_CHACHA20_POLY1305_SHA256");
  client.max_version = "TLSv1.2";
  Pair old(server, client);
  ASSERT_TRUE(old.shake());
  EXPECT_EQ(old.client->cipher(), "ECDHE-ECDSA-AES128-GCM-SHA256");
}

TEST_F(Tls, close_notify_ends_one_direction) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  pair.client.write("last words");
  pair.client.close_notify();
  pair.client.close_notify();
  EXPECT_EQ(pair.client.write("too late"), Status::failed);
  Status last;
  EXPECT_EQ(pair.to_server(last), "last words");
  EXPECT_EQ(last, Status::closed);
  EXPECT_EQ(pair.server.write("still here"), Status::ok);
  Pair::carry(pair.server, pair.client, 1 << 20);
  EXPECT_EQ(Pair::read_all(pair.client, last), "still here");
  pair.server.close_notify();
  Pair::carry(pair.server, pair.client, 1 << 20);
  pair.client->feed_eof();
  EXPECT_EQ(Pair::read_all(pair.client, last), "");
  EXPECT_EQ(last, Status::closed);
}

TEST_F(Tls, a_stream_that_ends_without_close_notify_is_an_error) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  pair.client.write("cut");
  OutBuffer wire = pair.client.take();
  pair.server.feed(wire.view());
  pair.server->feed_eof();
  Status last;
  EXPECT_EQ(Pair::read_all(pair.server, last), "cut");
  EXPECT_EQ(last, Status::failed);
  EXPECT_HAS(pair.server.error(), "unexpected eof");
  EXPECT_EQ(Pair::read_all(pair.server, last), "");
  EXPECT_EQ(last, Status::failed);
  EXPECT_EQ(pair.server.write("x"), Status::failed);
}

TEST_F(Tls, a_handshake_that_is_cut_is_an_error) {
  End session(TlsContext::client(client), "localhost");
  EXPECT_EQ(session.handshake(), Status::want_more);
  session->feed_eof();
  EXPECT_EQ(session.handshake(), Status::failed);
  EXPECT_HAS(session.error(), "handshake failed: ");
}

TEST_F(Tls, foreign_bytes_are_an_error) {
  End session(TlsContext::server(server), {});
  session.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(session.handshake(), Status::failed);
  EXPECT_HAS(session.error(), "http request");
  EXPECT_EQ(session.handshake(), Status::failed);
}

TEST_F(Tls, changed_ciphertext_is_an_error) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  pair.client.write("hello");
  OutBuffer wire = pair.client.take();
  wire.data()[wire.size() - 1] ^= 1;
  pair.server.feed(wire.view());
  char block[10];
  std::size_t size = 0;
  EXPECT_EQ(pair.server.read(block, sizeof block, size), Status::failed);
  EXPECT_EQ(size, 0u);
}

TEST_F(Tls, channel_binding_hashes_the_servers_certificate_alike_on_both_sides) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  const std::string der = pair.client->peer_certificate();
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(der.data(), der.size(), digest, &size, EVP_sha256(), nullptr);
  EXPECT_EQ(pair.client->peer_certificate_hash(), std::string(reinterpret_cast<char*>(digest), size));
  EXPECT_EQ(pair.server->peer_certificate_hash(), pair.client->peer_certificate_hash());
}

TEST_F(Tls, channel_binding_uses_the_hash_of_the_signature) {
  auto binding = [&](const char* name, const EVP_MD* hash) {
    Certificates::Request request;
    request.name = name;
    request.hash = hash;
    auto signed_so = certificates.issue(request);
    server.cert_file = signed_so.cert_file;
    server.key_file = signed_so.key_file;
    server.ciphers = "DEFAULT:@SECLEVEL=0";  // SHA-1 would be refused
    client.verify_peer = false;
    Pair pair(server, client);
    EXPECT_TRUE(pair.shake()) << pair.client.error() << pair.server.error();
    return pair.client->peer_certificate_hash().size();
  };
  EXPECT_EQ(binding("sha384", EVP_sha384()), 48u);
  EXPECT_EQ(binding("sha512", EVP_sha512()), 64u);
  EXPECT_EQ(binding("sha1", EVP_sha1()), 32u);
}

}  // namespace
}  // namespace fasterapi::core::test
