// What servers need of TLS: certificates by name, client certificates, resumption, reload, and peers that
// misbehave.
#include <openssl/ssl.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tls_harness.hpp"

namespace fasterapi::core::test {
namespace {

class TlsServer : public Tls {
 protected:
  TlsIdentity issue(const std::string& name, const std::string& alternatives, bool rsa = false) {
    Certificates::Request request;
    request.name = name;
    request.alternatives = alternatives;
    request.rsa = rsa;
    const auto made = certificates.issue(request);
    return {made.cert_file, made.key_file, {}};
  }
  static std::string subject_of(const std::string& der) { return describe_certificate(der).subject; }
  // The subject of the certificate that a client that asks for `host` gets; or the client's error.
  std::string served(const std::shared_ptr<TlsContext>& context, const std::string& host) {
    TlsClientOptions options = client;
    options.verify_host = false;
    Pair pair(context, TlsContext::client(options), host);
    return pair.shake() ? subject_of(pair.client->peer_certificate()) : pair.client.error();
  }
  void use_client_certificate(const std::string& name) {
    const TlsIdentity own = issue(name, "DNS:client.example,URI:spiffe://example/client,email:a@b.example");
    client.cert_file = own.cert_file;
    client.key_file = own.key_file;
  }
  // A handshake and the arrival of the tickets; whether it was resumed.
  static bool resumed(const std::shared_ptr<TlsContext>& at, const std::shared_ptr<TlsContext>& from,
                      const std::string& host = "localhost") {
    Pair pair(at, from, host);
    EXPECT_TRUE(pair.shake()) << pair.client.error() << pair.server.error();
    Status last;
    Pair::read_all(pair.client, last);
    EXPECT_EQ(pair.client->resumed(), pair.server->resumed());
    return pair.server->resumed();
  }
};

// ---------------------------------------------------------------- names

TEST_F(TlsServer, chooses_the_certificate_by_the_name_that_the_client_asks_for) {
  server.more_certs = {issue("one", "DNS:one.example"), issue("wild", "DNS:*.example"),
                       issue("deep", "DNS:*.deep.example,DNS:other.test")};
  const auto context = TlsContext::server(server);
  EXPECT_EQ(served(context, "one.example"), "CN=one");
  EXPECT_EQ(served(context, "ONE.Example"), "CN=one");
  EXPECT_EQ(served(context, "two.example"), "CN=wild");
  EXPECT_EQ(served(context, "a.deep.example"), "CN=deep");
  EXPECT_EQ(served(context, "other.test"), "CN=deep");
  EXPECT_EQ(served(context, "localhost"), "CN=localhost");
  // A star is one label: neither none nor two.
  EXPECT_EQ(served(context, "example"), "CN=localhost");
  EXPECT_EQ(served(context, "a.b.example"), "CN=localhost");
  EXPECT_EQ(served(context, "unknown.test"), "CN=localhost");
  EXPECT_EQ(served(context, "127.0.0.1"), "CN=localhost");
}

TEST_F(TlsServer, tells_the_name_that_was_asked_for) {
  server.more_certs = {issue("one", "DNS:one.example")};
  Pair pair(server, client, "one.example");
  ASSERT_TRUE(pair.shake());
  EXPECT_EQ(pair.server->server_name(), "one.example");
  EXPECT_EQ(subject_of(pair.server->certificate()), "CN=one");
}

TEST_F(TlsServer, takes_the_common_name_where_there_are_no_alternatives) {
  server.more_certs = {issue("plain.example", "")};
  EXPECT_EQ(served(TlsContext::server(server), "plain.example"), "CN=plain.example");
}

TEST_F(TlsServer, refuses_unknown_names_when_told_to) {
  server.more_certs = {issue("one", "DNS:one.example")};
  server.refuse_unknown_names = true;
  const auto context = TlsContext::server(server);
  EXPECT_EQ(served(context, "one.example"), "CN=one");
  EXPECT_EQ(served(context, "127.0.0.1"), "CN=localhost") << "no name is no wrong name";
  EXPECT_HAS(served(context, "two.example"), "unrecognized name");
}

TEST_F(TlsServer, serves_rsa_and_ecdsa_under_one_name) {
  server.more_certs = {issue("localhost-rsa", "DNS:localhost,IP:127.0.0.1", true), issue("ec", "DNS:both.example"),
                       issue("rsa", "DNS:both.example", true)};
  client.max_version = "TLSv1.2";
  const auto context = TlsContext::server(server);
  client.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";
  EXPECT_EQ(served(context, "both.example"), "CN=rsa");
  EXPECT_EQ(served(context, "localhost"), "CN=localhost-rsa");
  client.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  EXPECT_EQ(served(context, "both.example"), "CN=ec");
  EXPECT_EQ(served(context, "localhost"), "CN=localhost");
}

TEST_F(TlsServer, a_broken_further_certificate_is_named) {
  server.more_certs = {{"/nowhere.pem", {}, {}}};
  EXPECT_HAS(failure(server), "cert_file \"/nowhere.pem\": No such file");
}

// ---------------------------------------------------------------- clients' certificates

TEST_F(TlsServer, tells_who_the_client_is) {
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::optional;
  {
    Pair pair(server, client);
    ASSERT_TRUE(pair.shake());
    EXPECT_TRUE(pair.server->peer_certificate().empty());
    EXPECT_TRUE(pair.server->peer_chain().empty());
  }
  use_client_certificate("visitor");
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake()) << pair.server.error();
  ASSERT_EQ(pair.server->peer_chain().size(), 1u);
  const std::string der = pair.server->peer_chain().front();
  EXPECT_EQ(der, pair.server->peer_certificate());
  EXPECT_EQ(der, pair.client->certificate());
  const TlsCertificateInfo info = describe_certificate(der);
  EXPECT_EQ(info.subject, "CN=visitor");
  EXPECT_HAS(info.issuer, "CN=CA of ");
  EXPECT_FALSE(info.serial.empty());
  EXPECT_LT(info.not_before, info.not_after);
  const std::vector<std::pair<std::string, std::string>> names = {
      {"DNS", "client.example"}, {"URI", "spiffe://example/client"}, {"email", "a@b.example"}};
  EXPECT_EQ(info.alternatives, names);
  EXPECT_TRUE(pem_certificate(der).starts_with("-----BEGIN CERTIFICATE-----\n"));
  EXPECT_EQ(pair.server->version_number(), TLS1_3_VERSION);
  EXPECT_EQ(pair.server->cipher_number(), 0x1302);  // RFC 8446 appendix B.4
}

TEST_F(TlsServer, what_is_no_certificate_is_an_error) {
  EXPECT_THROW(describe_certificate("nonsense"), Error);
  EXPECT_THROW(pem_certificate(""), Error);
}

TEST_F(TlsServer, refuses_revoked_clients) {
  use_client_certificate("revoked");
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::required;
  server.crl_file = certificates.revoke(client.cert_file);
  Pair pair(server, client);
  pair.shake();
  EXPECT_EQ(pair.server_status, Status::failed);
  EXPECT_HAS(pair.server.error(), "certificate revoked");
}

TEST_F(TlsServer, takes_authorities_from_a_directory) {
  use_client_certificate("visitor");
  const std::string directory = certificates.path("authorities");
  std::filesystem::create_directory(directory);
  // As `openssl rehash` names them.
  std::FILE* file = std::fopen(certificates.ca_file().c_str(), "r");
  X509* ca = PEM_read_X509(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  char hashed[32];
  std::snprintf(hashed, sizeof hashed, "/%08lx.0", X509_subject_name_hash(ca));
  X509_free(ca);
  std::filesystem::copy_file(certificates.ca_file(), directory + hashed);
  server.client_ca_dir = directory;
  server.verify_client = TlsVerify::required;
  client.ca_file.clear();
  client.ca_dir = directory;
  Pair pair(server, client);
  EXPECT_TRUE(pair.shake()) << pair.server.error() << pair.client.error();
  server.client_ca_dir = "/nowhere";
  EXPECT_HAS(failure(server), "client_ca_dir \"/nowhere\": No such file");
}

TEST_F(TlsServer, authorities_without_verification_are_a_mistake) {
  server.client_ca_file = certificates.ca_file();
  EXPECT_HAS(failure(server), "count only with verify_client");
}

// ---------------------------------------------------------------- resumption

TEST_F(TlsServer, clients_resume_and_it_is_counted) {
  for (const char* version : {"TLSv1.3", "TLSv1.2"}) {
    SCOPED_TRACE(version);
    client.max_version = version;
    const auto at = TlsContext::server(server);
    const auto from = TlsContext::client(client);
    EXPECT_FALSE(resumed(at, from));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(resumed(at, from)) << i;
    EXPECT_FALSE(resumed(at, from, "127.0.0.1")) << "sessions belong to their host";
    EXPECT_EQ(at->counters().handshakes, 7u);
    EXPECT_EQ(at->counters().resumed, 5u);
    EXPECT_EQ(from->counters().resumed, 5u);
    EXPECT_EQ(at->counters().failed, 0u);
  }
}

TEST_F(TlsServer, does_not_resume_when_told_so) {
  const auto at = TlsContext::server(server);
  TlsClientOptions forgetful = client;
  forgetful.resume = false;
  const auto from = TlsContext::client(forgetful);
  EXPECT_FALSE(resumed(at, from));
  EXPECT_FALSE(resumed(at, from));
  server.tickets = false;
  const auto ticketless = TlsContext::server(server);
  const auto other = TlsContext::client(client);
  EXPECT_FALSE(resumed(ticketless, other));
  EXPECT_FALSE(resumed(ticketless, other));
}

TEST_F(TlsServer, a_resumed_client_still_has_its_certificate) {
  use_client_certificate("visitor");
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::required;
  const auto at = TlsContext::server(server);
  const auto from = TlsContext::client(client);
  EXPECT_FALSE(resumed(at, from));
  Pair pair(at, from);
  ASSERT_TRUE(pair.shake());
  ASSERT_TRUE(pair.server->resumed());
  EXPECT_EQ(subject_of(pair.server->peer_certificate()), "CN=visitor");
}

TEST_F(TlsServer, processes_with_one_secret_share_tickets) {
  server.ticket_secret = std::string(32, 's');
  const auto one = TlsContext::server(server);
  const auto two = TlsContext::server(server);
  const auto from = TlsContext::client(client);
  EXPECT_FALSE(resumed(one, from));
  EXPECT_TRUE(resumed(two, from));
  server.ticket_secret = std::string(32, 't');
  EXPECT_FALSE(resumed(TlsContext::server(server), from));
  server.ticket_secret.clear();
  EXPECT_FALSE(resumed(TlsContext::server(server), from));
  server.ticket_secret = "short";
  EXPECT_HAS(failure(server), "ticket_secret needs 32 bytes");
  server.ticket_secret.clear();
  server.ticket_lifetime_s = 0;
  EXPECT_HAS(failure(server), "ticket_lifetime_s 0");
}

TEST_F(TlsServer, ticket_keys_change_with_time) {
  server.ticket_lifetime_s = 1;
  const auto random = TlsContext::server(server);
  server.ticket_secret = std::string(32, 's');
  const auto shared = TlsContext::server(server);
  const auto one = TlsContext::client(client), two = TlsContext::client(client);
  const auto wait_for_second = [](std::time_t second) {
    while (std::time(nullptr) < second) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  const std::time_t start = std::time(nullptr) + 1;
  wait_for_second(start);
  EXPECT_FALSE(resumed(random, one));
  EXPECT_FALSE(resumed(shared, two));
  EXPECT_TRUE(resumed(random, one));
  EXPECT_TRUE(resumed(shared, two));
  wait_for_second(start + 3);
  EXPECT_FALSE(resumed(random, one)) << "a ticket outlives its key";
  EXPECT_FALSE(resumed(shared, two)) << "a ticket outlives its key";
}

TEST_F(TlsServer, tickets_do_not_outlive_the_rules_for_clients) {
  use_client_certificate("visitor");
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::required;
  for (const char* version : {"TLSv1.3", "TLSv1.2"}) {
    SCOPED_TRACE(version);
    client.max_version = version;
    const auto at = TlsContext::server(server);
    const auto from = TlsContext::client(client);
    EXPECT_FALSE(resumed(at, from));
    EXPECT_TRUE(resumed(at, from));
    TlsServerOptions stricter = server;
    stricter.crl_file = certificates.revoke(client.cert_file);
    at->reload(stricter);
    Pair pair(at, from);
    pair.shake();
    EXPECT_FALSE(pair.server->resumed());
    EXPECT_EQ(pair.server_status, Status::failed) << "a revoked client came in with an old ticket";
  }
}

// ---------------------------------------------------------------- reload

TEST_F(TlsServer, reload_takes_new_certificates_and_leaves_sessions_alone) {
  const auto context = TlsContext::server(server);
  const auto from = TlsContext::client(client);
  Pair old(context, from);
  ASSERT_TRUE(old.shake());
  Status last;
  Pair::read_all(old.client, last);  // the tickets
  const std::string before = old.client->peer_certificate();
  Certificates::Request request;  // of the same files
  certificates.issue(request);
  context->reload();
  Pair fresh(context, TlsContext::client(client));
  ASSERT_TRUE(fresh.shake());
  EXPECT_NE(fresh.client->peer_certificate(), before);
  EXPECT_EQ(context->counters().reloads, 1u);
  old.client.write("still here");
  EXPECT_EQ(old.to_server(last), "still here");
  EXPECT_TRUE(resumed(context, from)) << "tickets outlive the certificate";
}

TEST_F(TlsServer, a_reload_that_fails_changes_nothing) {
  const auto context = TlsContext::server(server);
  std::ofstream(identity.cert_file) << "garbage";
  try {
    context->reload();
    ADD_FAILURE() << "took garbage";
  } catch (const Error& error) {
    EXPECT_HAS(std::string(error.what()), "cert_file \"" + identity.cert_file);
  }
  EXPECT_EQ(context->counters().reloads, 0u);
  EXPECT_TRUE(Pair(context, TlsContext::client(client)).shake());
  EXPECT_THROW(context->reload(client), Error);
}

TEST_F(TlsServer, other_threads_may_reload_and_shake_hands_meanwhile) {
  const auto at = TlsContext::server(server);
  const auto from = TlsContext::client(client);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) {
      at->reload();
      from->reload();
      std::this_thread::yield();
    }
  });
  std::atomic<int> done{0};
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 30; ++i) {
        Pair pair(at, from);
        Status last;
        done += pair.shake();
        Pair::read_all(pair.client, last);
      }
    });
  }
  for (std::size_t i = 1; i < threads.size(); ++i) threads[i].join();
  stop = true;
  threads[0].join();
  EXPECT_EQ(done, 60);
  EXPECT_EQ(at->counters().handshakes, 60u);
}

TEST_F(TlsServer, reload_of_a_client_forgets_its_sessions) {
  const auto at = TlsContext::server(server);
  const auto from = TlsContext::client(client);
  EXPECT_FALSE(resumed(at, from));
  EXPECT_TRUE(resumed(at, from));
  from->reload();
  EXPECT_FALSE(resumed(at, from));
}

// ---------------------------------------------------------------- passwords

TEST_F(TlsServer, asks_for_the_password_of_an_encrypted_key) {
  Certificates::Request request;
  request.name = "secret";
  request.key_password = "open sesame";
  const auto secret = certificates.issue(request);
  server.cert_file = secret.cert_file;
  server.key_file = secret.key_file;
  std::string asked;
  server.password_callback = [&](const std::string& file) {
    asked = file;
    return std::string("open sesame");
  };
  EXPECT_TRUE(Pair(server, client).shake());
  EXPECT_EQ(asked, secret.key_file);
  server.password_callback = [](const std::string&) { return std::string("wrong"); };
  EXPECT_HAS(failure(server), "(wrong key_password?)");
  server.password_callback = [](const std::string&) -> std::string { throw Error("no password today"); };
  EXPECT_EQ(failure(server), "no password today");
}

// ---------------------------------------------------------------- versions and ciphers

TEST_F(TlsServer, defaults_are_modern) {
  client.max_version = client.min_version = "TLSv1.1";
  client.ciphers = "DEFAULT:@SECLEVEL=0";
  EXPECT_FALSE(Pair(server, client).shake());
  client.min_version.clear();
  client.max_version = "TLSv1.2";
  client.ciphers = "ECDHE-ECDSA-AES256-SHA384";  // CBC
  EXPECT_FALSE(Pair(server, client).shake());
  client.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  EXPECT_TRUE(Pair(server, client).shake());
}

TEST_F(TlsServer, has_a_maximum_version_and_groups) {
  server.max_version = "TLSv1.2";
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  EXPECT_EQ(pair.server->version(), "TLSv1.2");
  server.max_version.clear();  // TLS 1.2 would want the curve of the certificate among them
  server.groups = "P-384";
  client.groups = "X25519";
  EXPECT_FALSE(Pair(server, client).shake());
  client.groups = "X25519:P-384";
  EXPECT_TRUE(Pair(server, client).shake());
  server.groups = "NO-SUCH-GROUP";
  EXPECT_HAS(failure(server), "groups \"NO-SUCH-GROUP\"");
}

// ---------------------------------------------------------------- ends, and peers that misbehave

TEST_F(TlsServer, an_end_without_close_notify_may_be_allowed) {
  server.allow_unexpected_eof = true;
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  pair.client.write("cut");
  Pair::carry(pair.client, pair.server, 1 << 20);
  pair.server->feed_eof();
  Status last;
  EXPECT_EQ(Pair::read_all(pair.server, last), "cut");
  EXPECT_EQ(last, Status::closed);
}

TEST_F(TlsServer, refuses_renegotiation) {
  client.max_version = "TLSv1.2";
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  SSL* ssl = pair.client->native();
  SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
  ASSERT_EQ(SSL_renegotiate(ssl), 1);
  Status last;
  pair.client.write("x");  // sends a ClientHello first
  Pair::carry(pair.client, pair.server, 1 << 20);
  Pair::read_all(pair.server, last);
  EXPECT_EQ(last, Status::want_more) << pair.server.error();
  Pair::carry(pair.server, pair.client, 1 << 20);
  Pair::read_all(pair.client, last);
  EXPECT_EQ(last, Status::failed);
  EXPECT_HAS(pair.client.error(), "no renegotiation");
  ERR_clear_error();
}

// While a message of TLS itself has come in part, OpenSSL takes nothing to write.
TEST_F(TlsServer, what_is_written_between_the_parts_of_a_ticket_is_not_lost) {
  use_client_certificate("visitor-whose-certificate-makes-the-ticket-long");
  server.client_ca_file = certificates.ca_file();
  server.verify_client = TlsVerify::required;
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  Status last;
  Pair::read_all(pair.client, last);
  SSL_set_max_send_fragment(pair.server->native(), 512);
  ASSERT_EQ(SSL_new_session_ticket(pair.server->native()), 1);
  pair.server.write("!");
  const OutBuffer wire = pair.server.take();
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(wire.data()[at]));
  };
  const std::size_t first = 5 + byte(3) * 256 + byte(4);
  ASSERT_GT(wire.size(), first + 100) << "the ticket fits one record";
  pair.client.feed(wire.view().substr(0, first));
  Pair::read_all(pair.client, last);
  EXPECT_EQ(last, Status::want_more);
  EXPECT_EQ(pair.client.write("not "), Status::ok);
  EXPECT_EQ(pair.client.write("lost"), Status::ok);
  EXPECT_EQ(pair.client.out.size(), 0u) << "OpenSSL writes in between by now: the test is of no use";
  pair.client.feed(wire.view().substr(first));
  EXPECT_EQ(Pair::read_all(pair.client, last), "!");
  EXPECT_EQ(pair.to_server(last), "not lost");
}

TEST_F(TlsServer, an_idle_session_holds_no_buffer) {
  Pair pair(server, client);
  ASSERT_TRUE(pair.shake());
  const std::string text(300'000, 'x');
  pair.client.write(text);
  OutBuffer wire = pair.client.take();
  OutBuffer out;
  pair.server->feed(wire.view());
  std::string plain(text.size(), '\0');
  std::size_t size = 0;
  ASSERT_EQ(pair.server->read(plain.data(), plain.size(), size, out), Status::ok);
  EXPECT_EQ(size, text.size());
  EXPECT_EQ(pair.server->read(plain.data(), plain.size(), size, out), Status::want_more);
  pair.server->settle();
  EXPECT_EQ(pair.server->buffered(), 0u);
  // What the reader does not take is kept, and no more.
  pair.client.write(text);
  wire = pair.client.take();
  pair.server->feed(wire.view());
  ASSERT_EQ(pair.server->read(plain.data(), 10, size, out), Status::ok);
  pair.server->settle();
  EXPECT_GT(pair.server->buffered(), 0u);
  EXPECT_LE(pair.server->buffered(), wire.size());
}

}  // namespace
}  // namespace fasterapi::core::test
