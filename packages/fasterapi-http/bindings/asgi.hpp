#pragma once
// ASGI 3 hosting: an application is the handler of what no route takes.
//   Cost     per request one scope dict (copied from a template), two bound methods and one Exchange; header lists
//   and
//            addresses that repeat on a connection are shared tuples
//   Threads  the reactor's thread; caches belong to their server
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/http/server.hpp>

#include "../src/peer/forwarded.hpp"
#include "common.hpp"

namespace fasterapi::http::py {

struct PyServer;

/// Interned strings and constant messages of the protocol.
struct AsgiNames {
  PyObject *type, *http, *asgi, *http_version, *method, *scheme, *path, *raw_path, *query_string, *root_path,
      *headers, *client, *server, *state, *extensions, *status, *body, *more_body, *trailers, *http_request,
      *http_disconnect, *https, *tls, *response_start, *response_body, *version_10, *version_11, *empty_bytes,
      *early_hint, *links, *path_send, *zero_copy_send, *file, *offset, *count, *response_trailers, *more_trailers;
  PyObject* methods[kMethodCount];
  bool init() noexcept;
};
inline AsgiNames names;

struct AsgiOptions {
  std::string root_path;
  std::string scheme = "http";
  Ref state;         // dict to copy into each scope, or empty
  Networks trusted;  // peers whose X-Forwarded-* or Forwarded fields count
  ForwardedStyle forwarded_style = ForwardedStyle::x_forwarded;
  bool forwarded_host = false;  // the host that they tell replaces the Host field and `server`
  bool proxy_headers = false;
  bool websockets = true;  // else handshakes are requests like any other
};

/// Builds `scope` dicts for one server.
class ScopeBuilder {
 public:
  explicit ScopeBuilder(AsgiOptions options);
  /// New dict, or nullptr with an exception set.
  PyObject* build(Transaction& tx) noexcept;

 private:
  struct Address {
    std::uint64_t serial = 0;
    Ref client, server;
    Ref tls;  // the extension of TLS connections
    bool trusted = false;
  };
  struct Fields {
    std::string block;
    Ref list;
  };
  PyObject* make(Transaction& tx);
  bool prepare() noexcept;
  Address* address_of(Transaction& tx);
  PyObject* header_list(const RequestHead& head);
  PyObject* make_header_list(const RequestHead& head);
  bool apply_forwarded(const Transaction& tx, PyObject* scope);
  bool apply_host(const Forwarded& told, PyObject* scope);

  AsgiOptions options_;
  Ref template_;
  Ref extensions_;
  Ref root_path_bytes_;
  std::vector<Address> addresses_;  // direct-mapped by connection serial
  std::string local_address_;       // the last connection's own end, and its tuple
  Ref local_;
  std::vector<Fields> fields_;  // direct-mapped by hash of the header block
  std::vector<std::pair<std::string, Ref>> known_names_;
};

/// An answer's head as the application gave it, found again when it repeats.
struct AsgiHead {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // without what the server decides itself
  HeadTemplate head;
};

class AsgiHandler final : public RequestHandler {
 public:
  AsgiHandler(PyServer& owner, PyObject* app, AsgiOptions options, PyObject* report);
  void handle(Transaction& tx) noexcept override;
  bool takes_websockets() const noexcept { return websockets_; }

  /// The head for (status, headers); `length` is the announced one or -1, `close` set by a Connection: close
  /// field. Null with a Python exception set when something is not a valid header.
  std::shared_ptr<const AsgiHead> head_of(int status, PyObject* headers, std::int64_t& length,
                                          bool& close) noexcept;
  /// Logs what escaped from the application.
  void report(PyObject* exception) noexcept;
  void report(const char* text) noexcept;

  PyServer& owner;

 private:
  void handle_websocket(Transaction& tx) noexcept;

  Ref app_, report_;
  bool websockets_;
  ScopeBuilder scopes_;
  std::vector<std::shared_ptr<const AsgiHead>> heads_;
  std::size_t next_head_ = 0;
};

}  // namespace fasterapi::http::py
