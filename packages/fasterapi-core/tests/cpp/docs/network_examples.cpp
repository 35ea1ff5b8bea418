// The programs of docs/tls.md and docs/networking.md.
#include <fasterapi/core/connector.hpp>
#include <fasterapi/core/tls.hpp>

#include <filesystem>
#include <optional>

#include "../stream/stream_harness.hpp"
#include "../support/certificates.hpp"

namespace fasterapi::core::test {
namespace {

class NetworkExamples : public StreamTest, public ConnectorListener {
 protected:
  void on_connect(Connector&, int fd, const SocketAddress&) noexcept override { connected = fd; }
  void on_connect_failed(Connector&, const ConnectFailure& failure) noexcept override {
    ADD_FAILURE() << failure.text;
    connected = -2;
  }
  int connected = -1;
};

TEST_F(NetworkExamples, contexts) {
  Certificates certificates;
  certificates.issue();
  const std::string directory = std::filesystem::path(certificates.ca_file()).parent_path();
  {
    TlsServerOptions options;
    options.cert_file = directory + "/localhost.crt";
    options.key_file = directory + "/localhost.key";
    options.alpn = "http/1.1";
    std::shared_ptr<TlsContext> server = TlsContext::server(options);
    EXPECT_TRUE(server->is_server());
  }
  {
    TlsClientOptions options;
    options.ca_file = directory + "/ca.pem";  // empty: the system's store
    std::shared_ptr<TlsContext> client = TlsContext::client(options);
    EXPECT_FALSE(client->is_server());
  }
}

TEST_F(NetworkExamples, resolver) {
  std::optional<Resolution> answer;
  Resolver::Query query = Resolver::shared().resolve(
      reactor, "localhost", 80, [&](Resolution found) { answer = std::move(found); }, 5'000'000'000);
  ASSERT_TRUE(run([&] { return answer.has_value(); }));
  EXPECT_EQ(answer->error, "");
}

TEST_F(NetworkExamples, connector) {
  sockaddr_in address;
  const int listening = listen(address);
  const std::uint16_t port = ntohs(address.sin_port);
  Connector connector(reactor, *this);
  ConnectOptions how;
  how.host = "localhost";
  how.port = port;
  how.timeout = 10'000'000'000;
  connector.connect(how);
  ASSERT_TRUE(run([&] { return connected != -1; }));
  ::close(connected);
  ::close(listening);
}

}  // namespace
}  // namespace fasterapi::core::test
