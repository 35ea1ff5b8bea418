// Stands for src/tls in a build without OpenSSL: no context can be made, so that no session ever runs. Only what
// streams call is here; whoever calls more does not link.
#include <fasterapi/core/error.hpp>
#include <fasterapi/core/tls.hpp>

namespace fasterapi::core {
namespace {

[[noreturn]] void absent() { throw Error("TLS: this build has no OpenSSL"); }
const std::string kNothing;

}  // namespace

struct TlsContext::Impl {};
struct TlsSession::Impl {};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;
std::shared_ptr<TlsContext> TlsContext::client(const TlsClientOptions&) { absent(); }
std::shared_ptr<TlsContext> TlsContext::server(const TlsServerOptions&) { absent(); }

TlsSession::TlsSession(std::shared_ptr<TlsContext>, std::string_view) { absent(); }
TlsSession::~TlsSession() = default;
void TlsSession::feed(std::string_view) {}
void TlsSession::settle() {}
void TlsSession::feed_eof() noexcept {}
TlsSession::Status TlsSession::handshake(OutBuffer&) { return Status::failed; }
TlsSession::Status TlsSession::read(char*, std::size_t, std::size_t& size, OutBuffer&) {
  size = 0;
  return Status::failed;
}
TlsSession::Status TlsSession::write(std::string_view, OutBuffer&) { return Status::failed; }
void TlsSession::close_notify(OutBuffer&) {}
bool TlsSession::handshake_done() const noexcept { return false; }
const std::string& TlsSession::error() const noexcept { return kNothing; }
std::size_t TlsSession::buffered() const noexcept { return 0; }

}  // namespace fasterapi::core
