#pragma once
// Plan: what a route does with a request, compiled once: decode arguments, call, encode.
//   Cost     nothing is built that the endpoint does not take; a call that does not suspend answers in place
//   Threads  the reactor's thread; endpoints of mode "thread" run in the server's pool with a copied context
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fasterapi/http/server.hpp>

#include "common.hpp"
#include "response.hpp"

namespace fasterapi::http::py {

/// The native server with what Python adds to it. `self` is the Python object that owns it (borrowed).
struct PyServer {
  explicit PyServer(ServerOptions options) : server(std::move(options)) {}
  PyServer(const PyServer&) = delete;
  PyServer& operator=(const PyServer&) = delete;
  ~PyServer();

  Ref loop;  // keeps the reactor: destroyed after `server`
  Server server;
  PyObject* self = nullptr;
  Ref app;
  Ref on_error;
  Ref exception_handler;
  bool exception_handler_is_async = false;
  Ref executor;
  Ref access_log;
  HeadCache heads;
  core::OutBuffer body;  // JSON under construction
  bool body_busy = false;
  std::vector<std::shared_ptr<class Plan>> plans;
  std::uint32_t threads_running = 0;
};

enum class Source : std::uint8_t {
  request,
  response,
  path,
  query,
  query_list,
  header,
  cookie,
  body_json,
  body_bytes
};
enum class Convert : std::uint8_t { str, integer, real, boolean, callable, json };
enum class Mode : std::uint8_t { async, inline_, thread };
enum class Encode : std::uint8_t { json, text, bytes, callable };

struct Arg {
  Source source;
  Convert convert;
  bool required;
  std::string name;
  Ref callable;
  Ref default_;
  int capture = -1;
};

struct ResponsePlan {
  int status = 200;
  std::string media_type;
  Encode encode = Encode::json;
  Ref callable;
  std::vector<std::pair<std::string, std::string>> fields;
};

class Plan final : public RequestHandler {
 public:
  Plan(PyServer& owner, PyObject* endpoint, Mode mode, std::vector<Arg> args, ResponsePlan response,
       PyObject* slow);
  void handle(Transaction& tx) noexcept override;
  /// After freeze(): finds the captures of path arguments. The name of one that the path lacks, else "".
  std::string resolve();
  std::uint32_t route = 0;
  /// For the cycle collector of the server object.
  int traverse(visitproc visit, void* arg);
  void clear();

 private:
  friend struct Call;
  friend struct ThreadJob;
  static constexpr std::size_t kInlineArgs = 16;
  /// Fills `out` (new references). False: let the Python implementation decide (no exception is set).
  bool decode(Transaction& tx, PyObject** out, PyObject** request, PyObject** injected) noexcept;
  PyObject* decode_one(Transaction& tx, const Arg& arg) noexcept;
  PyObject* convert(const Arg& arg, std::string_view raw, bool form) noexcept;
  void run_slow(Transaction& tx) noexcept;
  void run_inline(Transaction& tx, PyObject** args, PyObject* request, PyObject* injected) noexcept;
  void run_thread(Transaction& tx, PyObject** args, PyObject* request, PyObject* injected) noexcept;
  /// Encodes and sends a result; false with an exception set when nothing was sent.
  bool answer(Transaction& tx, PyObject* result, PyObject* injected) noexcept;
  bool send_encoded(Transaction& tx, std::string_view body, PyObject* injected) noexcept;

  PyServer& owner_;
  Ref endpoint_;
  Mode mode_;
  std::vector<Arg> args_;
  ResponsePlan response_;
  Ref slow_;
  HeadTemplate head_;
};

/// Answers an exception: through the server's exception handler, natively for HTTPException, else 500 and a
/// report. Borrows `exception`; `request` may be nullptr.
void answer_exception(PyServer& owner, Transaction& tx, PyObject* request, PyObject* exception) noexcept;
/// The same with the exception that is set, which it takes.
void answer_raised(PyServer& owner, Transaction& tx, PyObject* request) noexcept;

/// 404 and 405 through the exception handler.
std::shared_ptr<RequestHandler> make_unmatched_handler(PyServer& owner);
/// Prebuilt bytes with ETag.
std::shared_ptr<RequestHandler> make_static_handler(PyServer& owner, int status, std::string_view media_type,
                                                    std::string_view body,
                                                    std::vector<std::pair<std::string, std::string>> fields);
/// An ASGI application as the handler of what no route takes; owned by the ASGI half of the package.
std::shared_ptr<RequestHandler> make_asgi_handler(PyServer& owner, PyObject* app) __attribute__((weak));

/// A sibling's Endpoint out of its capsule; nullptr with an exception set.
std::shared_ptr<RequestHandler> make_endpoint_handler(PyObject* capsule, std::size_t& max_body);

}  // namespace fasterapi::http::py
