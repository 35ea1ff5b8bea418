#pragma once
// What the TLS tests share: both ends of a session in memory, certificates, and the text of configuration errors.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/tls.hpp>

#include "../support/certificates.hpp"

namespace fasterapi::core::test {

using Status = TlsSession::Status;

// One end with its outgoing ciphertext.
struct End {
  End(std::shared_ptr<TlsContext> context, std::string_view host) : session(std::move(context), host) {}
  Status handshake() { return session.handshake(out); }
  Status write(std::string_view plain) { return session.write(plain, out); }
  Status read(char* plain, std::size_t capacity, std::size_t& size) {
    const Status status = session.read(plain, capacity, size, out);
    session.settle();
    return status;
  }
  void close_notify() { session.close_notify(out); }
  void feed(std::string_view bytes) {
    session.feed(bytes);
    session.settle();
  }
  OutBuffer take() { return std::exchange(out, OutBuffer()); }
  TlsSession* operator->() { return &session; }
  const std::string& error() const { return session.error(); }
  OutBuffer out;
  TlsSession session;
};

// Both ends in memory; `chunk` bytes travel at a time, so that 1 splits everything everywhere.
struct Pair {
  Pair(const TlsServerOptions& server_options, const TlsClientOptions& client_options,
       const std::string& host = "localhost")
      : Pair(TlsContext::server(server_options), TlsContext::client(client_options), host) {}
  Pair(std::shared_ptr<TlsContext> server_context, std::shared_ptr<TlsContext> client_context,
       const std::string& host = "localhost")
      : server(std::move(server_context), {}), client(std::move(client_context), host) {}

  static void carry(End& from, End& to, std::size_t chunk) {
    OutBuffer wire = from.take();
    for (std::size_t at = 0; at < wire.size(); at += chunk) {
      to.feed(wire.view().substr(at, chunk));
      if (!to->handshake_done()) to.handshake();
    }
  }

  bool shake(std::size_t chunk = 1 << 20) {
    client_status = client.handshake();
    for (int i = 0; i < 6; ++i) {
      carry(client, server, chunk);
      server_status = server.handshake();
      carry(server, client, chunk);
      client_status = client.handshake();
    }
    return client_status == Status::ok && server_status == Status::ok;
  }

  static std::string read_all(End& session, Status& last) {
    std::string all;
    char block[1000];
    std::size_t size = 0;
    while ((last = session.read(block, sizeof block, size)) == Status::ok) all.append(block, size);
    return all;
  }
  // What the server reads of what the client has written.
  std::string to_server(Status& last, std::size_t chunk = 1 << 20) {
    carry(client, server, chunk);
    return read_all(server, last);
  }

  End server, client;
  Status client_status = Status::want_more, server_status = Status::want_more;
};

class Tls : public testing::Test {
 protected:
  Tls() : identity(certificates.issue()) {
    server.cert_file = identity.cert_file;
    server.key_file = identity.key_file;
    client.ca_file = certificates.ca_file();
  }
  ~Tls() override { EXPECT_EQ(ERR_peek_error(), 0u) << "OpenSSL's error queue was left filled"; }

  static std::string failure(const TlsClientOptions& options) {
    try {
      TlsContext::client(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  static std::string failure(const TlsServerOptions& options) {
    try {
      TlsContext::server(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  Certificates certificates;
  Certificates::Identity identity;
  TlsServerOptions server;
  TlsClientOptions client;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace fasterapi::core::test
