#pragma once
// WebSockets of an ASGI application: the `websocket` scope, its receive and send.
//   Cost     a message is one str or bytes object and one dict; waiting costs a future, nothing else suspends
//   Threads  the reactor's thread
#include <fasterapi/http/websocket.hpp>

#include "asgi.hpp"

namespace fasterapi::http::py {

/// Judges the opening request; false when it was refused, and answered.
bool grant_handshake(Transaction& tx, ws::Handshake& out) noexcept;
/// Starts `app(scope, receive, send)` for a granted handshake; `scope` is that of the request and is changed.
void serve_websocket(Transaction& tx, AsgiHandler& handler, PyObject* app, PyObject* scope,
                     ws::Handshake handshake) noexcept;

bool init_websocket(PyObject* module) noexcept;

}  // namespace fasterapi::http::py
