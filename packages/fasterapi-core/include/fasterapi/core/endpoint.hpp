#pragma once
// Endpoint: how a sibling (MCP, an extension) serves HTTP requests without knowing the HTTP server, and
// how the server calls it without knowing the sibling. Objects travel between modules as PyCapsules named
// kEndpointCapsule; the Python object that made the capsule keeps the endpoint alive.
//   Cost     one virtual call per request; request views point into the receive buffer
//   Threads  the reactor's thread, GIL held
//   Lifetime a RequestView is valid during handle(). A ResponderRef may be kept and answered later on the
//            same thread; if the last reference goes unanswered the client gets a 500.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

inline constexpr const char* kEndpointCapsule = "fasterapi_core.Endpoint";

struct HeaderField {
  std::string_view name;  // as received; compare without case
  std::string_view value; // trimmed
};

class FASTERAPI_CORE_API RequestView {
 public:
  virtual std::string_view method() const noexcept = 0;
  virtual std::string_view path() const noexcept = 0;   // percent-encoded, without the query
  virtual std::string_view query() const noexcept = 0;  // without '?'
  virtual std::span<const HeaderField> headers() const noexcept = 0;
  /// Value of the first field of that name (given in lower case); data() == nullptr when absent.
  virtual std::string_view header(std::string_view lower_name) const noexcept = 0;
  virtual std::string_view body() const noexcept = 0;  // complete
  virtual std::string_view client() const noexcept = 0;  // "127.0.0.1:52110", "" for UNIX sockets

 protected:
  ~RequestView() = default;
};

class FASTERAPI_CORE_API Responder {
 public:
  /// The whole answer. Content-Length and Date are added. Ignored when the client has gone.
  virtual void respond(int status, std::string_view content_type, std::span<const HeaderField> headers,
                       std::string_view body) noexcept = 0;
  /// A streamed answer: start(), write() as often as wanted, finish().
  virtual void start(int status, std::string_view content_type,
                     std::span<const HeaderField> headers) noexcept = 0;
  virtual bool write(std::string_view chunk) noexcept = 0;  // false: more than 64 KiB wait for the client
  virtual void finish() noexcept = 0;
  /// Called once, when the client leaves before the answer is finished. Set to nullptr to forget it.
  virtual void on_disconnect(void (*fn)(void* arg) noexcept, void* arg) noexcept = 0;
  virtual bool connected() const noexcept = 0;
  virtual void retain() noexcept = 0;
  virtual void release() noexcept = 0;

 protected:
  ~Responder() = default;
};

class ResponderRef {
 public:
  ResponderRef() noexcept = default;
  explicit ResponderRef(Responder& responder) noexcept : responder_(&responder) { responder.retain(); }
  ResponderRef(ResponderRef&& other) noexcept : responder_(std::exchange(other.responder_, nullptr)) {}
  ResponderRef& operator=(ResponderRef&& other) noexcept {
    std::swap(responder_, other.responder_);
    return *this;
  }
  ~ResponderRef() {
    if (responder_) responder_->release();
  }
  Responder* operator->() const noexcept { return responder_; }
  explicit operator bool() const noexcept { return responder_ != nullptr; }

 private:
  Responder* responder_ = nullptr;
};

class FASTERAPI_CORE_API Endpoint {
 public:
  virtual ~Endpoint();
  /// Must answer `responder`, now or later. `max_body` bounds what the server buffers for it.
  virtual void handle(const RequestView& request, Responder& responder) noexcept = 0;
  virtual std::size_t max_body() const noexcept { return 4u << 20; }
};

}  // namespace fasterapi::core
