#pragma once
// Exchange: what stands behind `receive` and `send` of one request of an ASGI application.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "asgi.hpp"

namespace fasterapi::http::py {

enum class Stage : std::uint8_t { start, body, trailers, complete };

struct Exchange {
  PyObject_HEAD Transaction* tx;  // retained until the answer is complete or the client has left
  AsgiHandler* handler;
  PyObject* server;        // keeps handler and transaction
  PyObject* waiter;        // receive() that waits for the client to leave
  PyObject* more_waiters;  // list of further ones, which only an application that reads twice has
  PyObject* drain_waiter;  // send() that waits for the client to read
  std::shared_ptr<const AsgiHead> head;
  std::int64_t length;  // announced, -1 if not
  std::uint64_t sent;
  std::vector<std::pair<std::string, std::string>>* trailers;  // as far as they came; null: none announced
  Stage stage;
  bool close;
  bool request_given;
  bool disconnected;
};

/// Borrowed item of a message; nullptr without an exception when it is absent.
inline PyObject* item(PyObject* message, PyObject* key) noexcept { return PyDict_GetItemWithError(message, key); }

// asgi.cpp
/// The transaction is done with: whoever waits hears it.
void detach(Exchange* self) noexcept;
/// Starts an answer whose pieces follow, or that has to say a length that its body does not show.
bool begin_stream(Exchange* self, bool identity = false) noexcept;  // identity: not to be compressed
/// After a piece was written: ends the answer, or the awaitable that lets the client catch up.
PyObject* after_piece(Exchange* self, bool roomy, bool more) noexcept;
PyObject* length_error(bool longer) noexcept;

// asgi_extensions.cpp: https://asgi.readthedocs.io/en/latest/extensions.html
PyObject* send_early_hint(Exchange* self, PyObject* message) noexcept;
PyObject* send_path(Exchange* self, PyObject* message) noexcept;
PyObject* send_zero_copy(Exchange* self, PyObject* message) noexcept;
PyObject* send_trailers(Exchange* self, PyObject* message) noexcept;

}  // namespace fasterapi::http::py
