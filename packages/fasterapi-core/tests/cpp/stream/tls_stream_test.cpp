// Streams over TLS: what holds for plain ones holds here, and the handshake's own ways to fail.
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include <cstring>
#include <vector>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/tls.hpp>

#include "../support/certificates.hpp"
#include "stream_harness.hpp"

namespace fasterapi::core::test {
namespace {

class Secure : public StreamTest {
 protected:
  Secure() {
    const auto identity = certificates.issue();
    TlsServerOptions server_options;
    server_options.cert_file = identity.cert_file;
    server_options.key_file = identity.key_file;
    server = TlsContext::server(server_options);
    TlsClientOptions client_options;
    client_options.ca_file = certificates.ca_file();
    client = TlsContext::client(client_options);
  }
  // a is the client, b the server.
  void start(int buffer = 0, const char* host = "localhost") {
    make_pair(buffer);
    ASSERT_EQ(b.stream->start_tls(server, {}), 0);
    ASSERT_EQ(a.stream->start_tls(client, host), 0);
  }
  bool shake() {
    return run([&] { return a.connected && b.connected; });
  }
  Certificates certificates;
  std::shared_ptr<TlsContext> server, client;
};

TEST_F(Secure, connects_and_carries_bytes_both_ways) {
  start();
  ASSERT_TRUE(shake());
  EXPECT_EQ(a.stream->tls()->version(), "TLSv1.3");
  a.stream->write("ping");
  ASSERT_TRUE(run([&] { return b.received == "ping"; }));
  b.stream->out().append("po");
  b.stream->flush_with("ng");
  ASSERT_TRUE(run([&] { return a.received == "pong"; }));
  EXPECT_EQ(a.connected, 1);
  EXPECT_EQ(b.connected, 1);
}

TEST_F(Secure, echoes_a_megabyte_through_small_socket_buffers) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(1 << 20);
  b.data_hook = [&](std::string_view bytes) { b.stream->write(bytes); };
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return a.received.size() >= text.size() || a.closed || b.closed; })) << a.received.size();
  EXPECT_FALSE(a.closed) << a.closed_text;
  EXPECT_FALSE(b.closed) << b.closed_text;
  EXPECT_TRUE(a.received == text);
}

TEST_F(Secure, keeps_the_order_of_many_writes_when_the_socket_is_full) {
  start(8192);
  ASSERT_TRUE(shake());
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    const std::string head = "head " + std::to_string(i) + "\n";
    const std::string body = pattern(20'000 + static_cast<std::size_t>(i));
    a.stream->out().append(head);
    a.stream->flush_with(body);
    expected += head + body;
  }
  ASSERT_TRUE(run([&] { return b.received.size() >= expected.size() || a.closed || b.closed; }));
  EXPECT_FALSE(b.closed) << b.closed_text;
  EXPECT_TRUE(b.received == expected);
}

TEST_F(Secure, sends_what_was_written_before_the_handshake_was_done) {
  start();
  a.stream->write("early");
  ASSERT_TRUE(run([&] { return b.received == "early" || a.closed || b.closed; })) << b.received;
  EXPECT_FALSE(b.closed) << b.closed_text;
}

TEST_F(Secure, sends_what_is_written_within_on_connected) {
  a.connected_hook = [&] { a.stream->write("first"); };
  b.connected_hook = [&] { b.stream->write("welcome"); };
  start();
  ASSERT_TRUE(run([&] { return b.received == "first" && a.received == "welcome"; }));
}

TEST_F(Secure, a_peer_of_another_name_is_refused_with_a_text) {
  start(0, "example.org");
  ASSERT_TRUE(run([&] { return a.closed && b.closed; }));
  EXPECT_EQ(a.closed, EPROTO);
  EXPECT_NE(a.closed_text.find("hostname mismatch"), std::string::npos) << a.closed_text;
  EXPECT_EQ(b.closed, EPROTO) << "the alert did not arrive";
  EXPECT_EQ(a.connected, 0);
}

TEST_F(Secure, plain_text_from_the_peer_is_an_error) {
  const int peer = make_half();
  ASSERT_EQ(a.stream->start_tls(server, {}), 0);
  ASSERT_EQ(::write(peer, "GET / HTTP/1.1\r\n\r\n", 18), 18);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, EPROTO);
  EXPECT_NE(a.closed_text.find("http request"), std::string::npos) << a.closed_text;
  ::close(peer);
}

TEST_F(Secure, a_handshake_that_is_cut_is_an_error) {
  const int peer = make_half();
  ASSERT_EQ(a.stream->start_tls(client, "localhost"), 0);
  ::shutdown(peer, SHUT_WR);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_NE(a.closed, 0);
  ::close(peer);
}

TEST_F(Secure, close_notify_is_the_end_of_the_stream) {
  start();
  ASSERT_TRUE(shake());
  a.stream->write("bye");
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1; }));
  EXPECT_EQ(b.received, "bye");
  EXPECT_FALSE(b.closed);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  idle();
  EXPECT_EQ(reactor.turn(5 * kMs), 0) << "spins on the end of the socket";
  EXPECT_EQ(b.eof, 1);
}

TEST_F(Secure, a_half_closed_peer_still_gets_its_answer) {
  start();
  ASSERT_TRUE(shake());
  b.eof_hook = [&] { b.stream->write("answer"); };
  a.stream->write("question");
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return a.received == "answer" || a.closed; }));
  EXPECT_EQ(b.received, "question");
  EXPECT_EQ(a.received, "answer");
}

TEST_F(Secure, a_stream_cut_without_close_notify_is_an_error_and_no_end) {
  start();
  ASSERT_TRUE(shake());
  ::shutdown(a.stream->fd(), SHUT_WR);  // behind TLS's back
  ASSERT_TRUE(run([&] { return b.eof || b.closed; }));
  EXPECT_EQ(b.eof, 0) << "a truncated stream passes as a complete one";
  ASSERT_TRUE(run([&] { return b.closed.has_value(); }));
  EXPECT_EQ(b.closed, EPROTO);
}

TEST_F(Secure, close_when_sent_loses_nothing) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1 || b.closed; }));
  EXPECT_TRUE(b.received == text) << b.received.size();
}

TEST_F(Secure, shutdown_comes_after_everything_that_is_unsent) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return b.eof == 1 || b.closed; }));
  EXPECT_TRUE(b.received == text) << b.received.size();
}

TEST_F(Secure, paused_streams_deliver_nothing_until_resumed) {
  start();
  ASSERT_TRUE(shake());
  b.data_hook = [&](std::string_view) { b.stream->pause_reading(); };
  const std::string text = pattern(200'000);
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return !b.received.empty(); }));
  const std::size_t before = b.received.size();
  idle();
  EXPECT_EQ(b.received.size(), before);
  b.data_hook = {};
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return b.received.size() == text.size() || b.closed; })) << b.received.size();
  EXPECT_TRUE(b.received == text);
}

TEST_F(Secure, pausing_within_on_data_takes_effect_at_once) {
  start();
  ASSERT_TRUE(shake());
  int calls = 0;
  b.data_hook = [&](std::string_view) {
    ++calls;
    b.stream->pause_reading();
  };
  const std::string text = pattern(100'000);
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return calls > 0; }));
  idle();
  EXPECT_EQ(calls, 1);
  while (b.received.size() < text.size() && calls < 1000) {
    const int before = calls;
    b.stream->resume_reading();
    ASSERT_TRUE(run([&] { return calls > before; }));
  }
  EXPECT_TRUE(b.received == text);
}

TEST_F(Secure, closing_within_callbacks_is_safe) {
  a.connected_hook = [&] { a.stream->write(pattern(100'000)); };
  b.data_hook = [&](std::string_view) { b.stream->close(); };
  a.eof_hook = [&] { a.stream->close(); };
  start();
  ASSERT_TRUE(run([&] { return a.closed && b.closed; }));
}

TEST_F(Secure, start_tls_needs_an_open_stream_and_happens_once) {
  EXPECT_NE(a.stream->start_tls(client, "localhost"), 0);
  start();
  EXPECT_NE(a.stream->start_tls(client, "localhost"), 0);
}

TEST_F(Secure, start_tls_says_why_it_cannot) {
  make_pair();
  EXPECT_EQ(a.stream->start_tls(client, {}), EPROTO);
  EXPECT_NE(a.stream->error_text(EPROTO).find("verify_host needs the name"), std::string::npos)
      << a.stream->error_text(EPROTO);
  EXPECT_TRUE(a.stream->open());
  EXPECT_EQ(a.stream->start_tls(client, "localhost"), 0) << "a second try with a name";
}

// A client by hand, on the other end of a half(): the session of `peer` over the descriptor.
struct Hand {
  Hand(const std::shared_ptr<TlsContext>& context, int fd) : session(context, "localhost"), fd(fd) {}
  ~Hand() { ::close(fd); }
  void step() {  // reads what is there, goes on with the handshake, sends
    const ssize_t got = ::recv(fd, block.data(), block.size(), MSG_DONTWAIT);
    if (got > 0) session.feed({block.data(), static_cast<std::size_t>(got)});
    session.handshake(out);
    session.settle();
    send();
  }
  void send() {
    const ssize_t sent = ::send(fd, out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) out.erase_front(static_cast<std::size_t>(sent));
  }
  TlsSession session;
  OutBuffer out;
  int fd;
  std::vector<char> block = std::vector<char>(16384);
};

TEST_F(Secure, many_key_updates_cost_one_answer) {
  auto [mine, theirs] = tcp_pair(8192);
  ASSERT_EQ(b.stream->adopt(mine), 0);
  ASSERT_EQ(b.stream->start_tls(server, {}), 0);
  Hand peer(client, theirs);
  ASSERT_TRUE(run([&] { return peer.step(), peer.session.handshake_done() && b.connected; }));
  std::size_t asked = 0;
  EXPECT_TRUE(run([&] {
    for (int i = 0; i < 100 && peer.out.size() < 16384; ++i, ++asked) {
      SSL_key_update(peer.session.native(), SSL_KEY_UPDATE_REQUESTED);
      peer.session.write("x", peer.out);
    }
    peer.send();
    return b.received.size() > 1000 || b.closed;
  })) << asked
      << " asked, " << b.received.size() << " received, " << b.stream->unsent() << " unsent";
  EXPECT_FALSE(b.closed) << b.closed_text;
  EXPECT_LT(b.stream->unsent(), 1000u);
}

// TLS 1.2 records of a client, made from its keys: what no OpenSSL client would send (RFC 5288, RFC 5246).
class Records {
 public:
  explicit Records(SSL* ssl) {
    unsigned char master[48], randoms[64], block[40];
    SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof master);
    SSL_get_server_random(ssl, randoms, 32);
    SSL_get_client_random(ssl, randoms + 32, 32);
    std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "TLS1-PRF", nullptr),
                                                          EVP_KDF_free);
    std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                      EVP_KDF_CTX_free);
    char label[] = "key expansion";
    char hash[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", hash, 0),
                               OSSL_PARAM_construct_octet_string("secret", master, sizeof master),
                               OSSL_PARAM_construct_octet_string("seed", label, sizeof label - 1),
                               OSSL_PARAM_construct_octet_string("seed", randoms, sizeof randoms),
                               OSSL_PARAM_construct_end()};
    EXPECT_EQ(EVP_KDF_derive(context.get(), block, sizeof block, parameters), 1);
    std::memcpy(key_, block, 16);
    std::memcpy(salt_, block + 32, 4);
  }
  std::string make(unsigned char type, const std::string& content) {
    unsigned char number[8];
    for (int i = 0; i < 8; ++i) number[i] = static_cast<unsigned char>(sequence_ >> (8 * (7 - i)));
    ++sequence_;
    unsigned char nonce[12];
    std::memcpy(nonce, salt_, 4);
    std::memcpy(nonce + 4, number, 8);
    unsigned char about[13];
    std::memcpy(about, number, 8);
    const unsigned char head[] = {type, 3, 3, static_cast<unsigned char>(content.size() >> 8),
                                  static_cast<unsigned char>(content.size())};
    std::memcpy(about + 8, head, 5);
    std::string sealed(content.size() + 16, '\0');
    auto* to = reinterpret_cast<unsigned char*>(sealed.data());
    std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(),
                                                                           EVP_CIPHER_CTX_free);
    int size = 0;
    EVP_EncryptInit_ex(cipher.get(), EVP_aes_128_gcm(), nullptr, key_, nonce);
    EVP_EncryptUpdate(cipher.get(), nullptr, &size, about, sizeof about);
    EVP_EncryptUpdate(cipher.get(), to, &size, reinterpret_cast<const unsigned char*>(content.data()),
                      static_cast<int>(content.size()));
    EVP_EncryptFinal_ex(cipher.get(), to + size, &size);
    EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, 16, to + content.size());
    const std::size_t whole = sealed.size() + 8;
    std::string record = {static_cast<char>(type), 3, 3, static_cast<char>(whole >> 8), static_cast<char>(whole)};
    record.append(reinterpret_cast<const char*>(number), 8);
    return record + sealed;
  }

 private:
  unsigned char key_[16], salt_[4];
  std::uint64_t sequence_ = 1;  // after Finished
};

// A request to negotiate again is answered with no_renegotiation; who asks without reading the answers is cut off.
TEST_F(Secure, a_peer_that_asks_for_answers_and_does_not_read_is_cut_off) {
  TlsClientOptions old;
  old.ca_file = certificates.ca_file();
  old.max_version = "TLSv1.2";
  old.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  auto [mine, theirs] = tcp_pair(8192);
  ASSERT_EQ(b.stream->adopt(mine), 0);
  ASSERT_EQ(b.stream->start_tls(server, {}), 0);
  Hand peer(TlsContext::client(old), theirs);
  ASSERT_TRUE(run([&] { return peer.step(), peer.session.handshake_done() && b.connected; }));
  Records records(peer.session.native());
  peer.out.append(records.make(23, "hello"));
  ASSERT_TRUE(run([&] { return peer.send(), b.received == "hello" || b.closed; })) << b.closed_text;
  const std::string hello = std::string("\1\0\0\0", 4);  // a ClientHello, as far as anybody looks
  std::size_t asked = 0;
  EXPECT_TRUE(run([&] {
    while (peer.out.size() < 16384) {
      peer.out.append(records.make(22, hello));
      // OpenSSL gives up after five warnings without data in between: a clever peer sends some.
      if (++asked % 3 == 0) peer.out.append(records.make(23, "x"));
    }
    peer.send();
    EXPECT_LT(b.stream->unsent(), 200'000u);
    return b.closed.has_value();
  }));
  EXPECT_EQ(b.closed, EPROTO) << asked;
  EXPECT_NE(b.closed_text.find("answers that it does not read"), std::string::npos) << b.closed_text;
  EXPECT_GT(asked, 1000u);
}

TEST_F(Secure, may_follow_a_plain_text_exchange) {
  make_pair();
  b.data_hook = [&](std::string_view bytes) {
    if (bytes == "starttls?") {
      b.stream->write("yes");
      ASSERT_EQ(b.stream->start_tls(server, {}), 0);
    }
  };
  a.data_hook = [&](std::string_view bytes) {
    if (bytes == "yes") {
      ASSERT_EQ(a.stream->start_tls(client, "localhost"), 0);
    }
  };
  a.stream->write("starttls?");
  ASSERT_TRUE(shake());
  a.stream->write("secret");
  ASSERT_TRUE(run([&] { return b.received == "starttls?secret"; }));
}

}  // namespace
}  // namespace fasterapi::core::test
