// WebSocketExchange: one WebSocket of an ASGI application, after the ASGI specification (websocket 2.4) and
// uvicorn's reading of it. Messages are taken off the queue only when the coroutine that asked for one goes on, so
// a cancelled receive() loses nothing.
#include <Python.h>

#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <fasterapi/core/platform.hpp>

#include "plan.hpp"
#include "websocket.hpp"
#include "websocket/session.hpp"

namespace fasterapi::http::py {

using core::py::api;

namespace {

struct WsNames {
  PyObject *websocket, *ws, *wss, *https, *subprotocols, *denial, *connect, *receive, *send, *disconnect, *close,
      *accept, *response_start, *response_body, *text, *bytes, *code, *reason, *subprotocol, *asgi_version;
  bool init() noexcept {
    auto intern = [](PyObject*& slot, const char* text) {
      return (slot = PyUnicode_InternFromString(text)) != nullptr;
    };
    asgi_version = Py_BuildValue("{s:s,s:s}", "version", "3.0", "spec_version", "2.4");
    return asgi_version && intern(websocket, "websocket") && intern(ws, "ws") && intern(wss, "wss") &&
           intern(https, "https") && intern(subprotocols, "subprotocols") &&
           intern(denial, "websocket.http.response") && intern(connect, "websocket.connect") &&
           intern(receive, "websocket.receive") && intern(send, "websocket.send") &&
           intern(disconnect, "websocket.disconnect") && intern(close, "websocket.close") &&
           intern(accept, "websocket.accept") && intern(response_start, "websocket.http.response.start") &&
           intern(response_body, "websocket.http.response.body") && intern(text, "text") &&
           intern(bytes, "bytes") && intern(code, "code") && intern(reason, "reason") &&
           intern(subprotocol, "subprotocol");
  }
};
WsNames ws_names;

enum class Stage : std::uint8_t { connecting, open, denying, done };

class Socket final : public ws::SessionListener {
 public:
  Socket(Transaction& tx, AsgiHandler& handler, ws::Handshake handshake)
      : handler_(handler),
        server_(Ref::borrow(handler.owner.self)),
        limits_(tx.server().limits()),
        tx_(&tx),
        handshake_(std::move(handshake)) {
    tx.retain();
    tx.on_disconnect(&Socket::client_left, this);
  }
  ~Socket() {
    if (session_) session_->detach();
    release();
  }

  // ---- from the session
  bool on_message(ws::Opcode opcode, std::string_view data, bool ascii) noexcept override;
  void on_writable() noexcept override { wake(drain_waiter_); }
  void on_end(std::uint16_t code, std::string_view reason) noexcept override;

  // ---- from Python
  /// A message is there: new dict, or nullptr with or without an exception set.
  PyObject* take() noexcept;
  bool has_message() const noexcept { return !connect_told_ || !queue_.empty() || ended_; }
  /// New future that is done when there may be a message.
  PyObject* wait() noexcept;
  PyObject* send(PyObject* message) noexcept;
  void application_done(PyObject* result, PyObject* exception) noexcept;

 private:
  static void client_left(void* self) noexcept;
  static void has_read(void* self) noexcept { static_cast<Socket*>(self)->on_writable(); }
  PyObject* accept(PyObject* message) noexcept;
  PyObject* send_data(PyObject* message) noexcept;
  PyObject* close(PyObject* message) noexcept;
  PyObject* deny(PyObject* message, bool start) noexcept;
  PyObject* drained() noexcept;
  PyObject* unexpected(const char* wanted, PyObject* got) noexcept;
  void release() noexcept;
  void end(std::uint16_t code, std::string_view reason) noexcept;
  static void wake(Ref& waiter) noexcept;

  struct Item {
    Ref data;
    std::size_t size;
  };

  AsgiHandler& handler_;
  Ref server_;  // keeps the handler
  const Limits& limits_;
  Transaction* tx_;  // until the handshake is answered
  ws::Handshake handshake_;
  ws::Session* session_ = nullptr;  // the connection's; null once it has ended
  std::deque<Item> queue_;
  std::size_t queued_bytes_ = 0;
  std::vector<Ref> waiters_;
  Ref drain_waiter_;
  std::shared_ptr<const AsgiHead> head_;
  std::string reason_;
  std::uint16_t code_ = ws::kAbnormal;
  Stage stage_ = Stage::connecting;
  bool connect_told_ = false, ended_ = false, end_told_ = false, denial_started_ = false;
};

struct Exchange {
  PyObject_HEAD Socket* socket;
};
struct Receive {  // what receive() returns
  PyObject_HEAD PyObject* exchange;
  PyObject* future;
  PyObject* iterator;  // of the future
};
PyTypeObject *exchange_type = nullptr, *receive_type = nullptr;
Exchange* as_exchange(PyObject* object) noexcept { return reinterpret_cast<Exchange*>(object); }
Receive* as_receive(PyObject* object) noexcept { return reinterpret_cast<Receive*>(object); }

PyObject* item(PyObject* message, PyObject* key) noexcept { return PyDict_GetItemWithError(message, key); }

bool is(PyObject* text, PyObject* interned) noexcept {
  return text == interned || (PyUnicode_Check(text) && PyUnicode_Compare(text, interned) == 0);
}

PyObject* text_object(std::string_view data, bool ascii) noexcept {
  if (!ascii) return PyUnicode_DecodeUTF8(data.data(), static_cast<Py_ssize_t>(data.size()), nullptr);
  PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(data.size()), 127);
  if (text && !data.empty()) std::memcpy(PyUnicode_1BYTE_DATA(text), data.data(), data.size());
  return text;
}

// ---------------------------------------------------------------- from the session

void Socket::wake(Ref& waiter) noexcept {
  Ref future(waiter.release());
  if (future && api->future_set_result(future.get(), Py_None) < 0) PyErr_WriteUnraisable(future.get());
}

bool Socket::on_message(ws::Opcode opcode, std::string_view data, bool ascii) noexcept {
  PyObject* object = opcode == ws::Opcode::text ? text_object(data, ascii) : to_bytes(data);
  try {
    if (!object) throw std::bad_alloc();
    queue_.push_back({Ref(object), data.size()});
  } catch (const std::bad_alloc&) {
    PyErr_Clear();
    session_->close(ws::kInternalError, "out of memory");
    return true;
  }
  queued_bytes_ += data.size();
  if (!waiters_.empty()) {
    for (Ref& waiter : waiters_) wake(waiter);
    waiters_.clear();
  }
  return queue_.size() < limits_.max_ws_queue && queued_bytes_ < limits_.max_ws_message_bytes;
}

void Socket::end(std::uint16_t code, std::string_view reason) noexcept {
  if (ended_) return;
  ended_ = true;
  code_ = code;
  try {
    reason_ = reason;
  } catch (const std::bad_alloc&) {  // then it goes without
  }
  for (Ref& waiter : waiters_) wake(waiter);
  waiters_.clear();
  wake(drain_waiter_);
}

void Socket::on_end(std::uint16_t code, std::string_view reason) noexcept {
  session_ = nullptr;
  end(code, reason);
}

void Socket::client_left(void* arg) noexcept {
  auto* self = static_cast<Socket*>(arg);
  self->end(ws::kAbnormal, {});
  self->release();
}

void Socket::release() noexcept {
  Transaction* tx = std::exchange(tx_, nullptr);
  if (!tx) return;
  tx->on_disconnect(nullptr, nullptr);
  tx->on_drained(nullptr, nullptr);
  tx->release();
}

// ---------------------------------------------------------------- receive

PyObject* Socket::take() noexcept {
  Ref message(PyDict_New());
  if (!message) return nullptr;
  auto set = [&](PyObject* key, PyObject* value) { return PyDict_SetItem(message.get(), key, value) == 0; };
  if (FASTERAPI_UNLIKELY(!connect_told_)) {
    connect_told_ = true;
    return set(names.type, ws_names.connect) ? message.release() : nullptr;
  }
  if (FASTERAPI_LIKELY(!queue_.empty())) {
    Item one = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= one.size;
    PyObject* key = PyUnicode_Check(one.data.get()) ? ws_names.text : ws_names.bytes;
    if (!set(names.type, ws_names.receive) || !set(key, one.data.get())) return nullptr;
    // Half empty, so that a fast sender is not stopped and started for each message.
    if (session_ && queue_.size() <= limits_.max_ws_queue / 2 && queued_bytes_ <= limits_.max_ws_message_bytes / 2)
      session_->resume();
    return message.release();
  }
  end_told_ = true;
  Ref code(PyLong_FromLong(code_)), reason(utf8_lossy(reason_));
  if (!code || !reason || !set(names.type, ws_names.disconnect) || !set(ws_names.code, code.get()) ||
      !set(ws_names.reason, reason.get()))
    return nullptr;
  return message.release();
}

PyObject* Socket::wait() noexcept {
  Ref future(api->future_new(nullptr));
  if (!future) return nullptr;
  try {
    std::erase_if(waiters_, [](const Ref& one) { return api->future_done(one.get()) != 0; });  // cancelled ones
    waiters_.push_back(Ref::borrow(future.get()));
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  return future.release();
}

/// One step of the coroutine that receive() stands for.
PySendResult receive_step(Receive* self, PyObject** result) noexcept {
  Socket& socket = *as_exchange(self->exchange)->socket;
  Py_CLEAR(self->iterator);
  Py_CLEAR(self->future);
  if (FASTERAPI_LIKELY(socket.has_message())) {
    *result = socket.take();
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
  }
  self->future = socket.wait();
  self->iterator = self->future ? Py_TYPE(self->future)->tp_as_async->am_await(self->future) : nullptr;
  *result = self->iterator ? Py_TYPE(self->iterator)->tp_iternext(self->iterator) : nullptr;
  return *result ? PYGEN_NEXT : PYGEN_ERROR;
}

PyObject* receive_next(PyObject* object) {
  PyObject* result = nullptr;
  if (receive_step(as_receive(object), &result) != PYGEN_RETURN) return result;
  core::py::stop_iteration(result);
  Py_DECREF(result);
  return nullptr;
}

PySendResult receive_send(PyObject* object, PyObject*, PyObject** result) {
  return receive_step(as_receive(object), result);
}

PyObject* receive_send_method(PyObject* object, PyObject*) {
  PyObject* result = receive_next(object);
  if (!result && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
  return result;
}

/// Cancellation arrives here when a task wraps the object itself: nothing is held, so it just passes.
PyObject* receive_throw(PyObject*, PyObject* const* args, Py_ssize_t count) {
  PyObject* exception = count > 1 && args[1] != Py_None ? args[1] : args[0];
  if (PyExceptionInstance_Check(exception))
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  else
    PyErr_SetNone(exception);
  return nullptr;
}

PyObject* receive_close(PyObject*, PyObject*) { Py_RETURN_NONE; }
PyObject* receive_self(PyObject* self) { return Py_NewRef(self); }

void receive_dealloc(PyObject* object) {
  auto* self = as_receive(object);
  PyTypeObject* type = Py_TYPE(object);
  Py_CLEAR(self->iterator);
  Py_CLEAR(self->future);
  Py_CLEAR(self->exchange);
  PyObject_Free(object);
  Py_DECREF(type);
}

// send, throw and close make it a collections.abc.Coroutine: asyncio.create_task(receive()) works as with servers
// whose receive is a coroutine function.
PyMethodDef receive_methods[] = {
    {"send", receive_send_method, METH_O, "One step."},
    {"throw", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(receive_throw)), METH_FASTCALL,
     "Raises the exception."},
    {"close", receive_close, METH_NOARGS, "Ends it."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot receive_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(receive_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(receive_self)},
    {Py_tp_iternext, reinterpret_cast<void*>(receive_next)},
    {Py_am_await, reinterpret_cast<void*>(receive_self)},
    {Py_am_send, reinterpret_cast<void*>(receive_send)},
    {Py_tp_methods, receive_methods},
    {0, nullptr},
};
PyType_Spec receive_spec = {"fasterapi_http._http.WebSocketReceive", sizeof(Receive), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, receive_slots};

PyObject* exchange_receive(PyObject* object, PyObject*) {
  auto* self = PyObject_New(Receive, receive_type);
  if (!self) return nullptr;
  self->exchange = Py_NewRef(object);
  self->future = self->iterator = nullptr;
  return reinterpret_cast<PyObject*>(self);
}

// ---------------------------------------------------------------- send

PyObject* Socket::unexpected(const char* wanted, PyObject* got) noexcept {
  PyErr_Format(PyExc_RuntimeError, "Expected ASGI message %s, but got '%S'.", wanted, got);
  return nullptr;
}

/// The peer has gone and the application was not told yet.
PyObject* client_disconnected() noexcept {
  PyErr_SetString(python.ws_disconnected, "the WebSocket's client has left");
  return nullptr;
}

PyObject* Socket::send(PyObject* message) noexcept {
  PyObject* type = item(message, names.type);
  if (!type) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_KeyError, "type");
    return nullptr;
  }
  switch (stage_) {
    case Stage::connecting:
      if (is(type, ws_names.accept)) return accept(message);
      if (is(type, ws_names.close)) return close(message);
      if (is(type, ws_names.response_start)) return deny(message, true);
      return unexpected("'websocket.accept', 'websocket.close' or 'websocket.http.response.start'", type);
    case Stage::open:
      if (FASTERAPI_LIKELY(is(type, ws_names.send))) return send_data(message);
      if (is(type, ws_names.close)) return close(message);
      return unexpected("'websocket.send' or 'websocket.close'", type);
    case Stage::denying:
      if (is(type, ws_names.response_body)) return deny(message, false);
      return unexpected("'websocket.http.response.body'", type);
    case Stage::done: break;
  }
  PyErr_Format(PyExc_RuntimeError,
               "Unexpected ASGI message '%S', after sending 'websocket.close' or response already completed.",
               type);
  return nullptr;
}

PyObject* Socket::accept(PyObject* message) noexcept {
  if (!tx_) return client_disconnected();
  PyObject* subprotocol = item(message, ws_names.subprotocol);
  if (!subprotocol && PyErr_Occurred()) return nullptr;
  std::string_view chosen;
  if (subprotocol && subprotocol != Py_None) {
    if (!PyUnicode_Check(subprotocol)) {
      PyErr_Format(PyExc_TypeError, "'subprotocol' must be str or None, not %.100s",
                   Py_TYPE(subprotocol)->tp_name);
      return nullptr;
    }
    chosen = as_utf8(subprotocol);
    if (!chosen.data()) return nullptr;
    if (!valid_field_name(chosen)) {
      PyErr_SetString(PyExc_ValueError, "'subprotocol' must be a token");
      return nullptr;
    }
  }
  PyObject* headers = item(message, names.headers);
  if (!headers && PyErr_Occurred()) return nullptr;
  std::int64_t length;
  bool closes;
  auto head = handler_.head_of(101, headers == Py_None ? nullptr : headers, length, closes);
  if (!head) return nullptr;
  try {
    std::vector<HeaderField> fields{
        {"upgrade", "websocket"}, {"connection", "Upgrade"}, {"sec-websocket-accept", handshake_.accept}};
    if (!handshake_.extensions.empty()) fields.push_back({"sec-websocket-extensions", handshake_.extensions});
    if (!chosen.empty()) fields.push_back({"sec-websocket-protocol", chosen});
    for (const auto& [name, value] : head->fields) {
      bool ours = equals_lower(name, "sec-websocket-accept") || equals_lower(name, "sec-websocket-extensions") ||
                  equals_lower(name, "upgrade") ||
                  (!chosen.empty() && equals_lower(name, "sec-websocket-protocol"));
      if (ours) {
        PyErr_Format(PyExc_ValueError, "the header '%.100s' of a handshake is the server's", name.c_str());
        return nullptr;
      }
      fields.push_back({name, value});
    }
    auto session = std::make_unique<ws::Session>(*this, tx_->server().reactor(), limits_, handshake_.deflate);
    session_ = session.get();
    Transaction* tx = tx_;
    tx->on_disconnect(nullptr, nullptr);
    if (!tx->upgrade(fields, std::move(session))) {
      if (session_) session_ = nullptr;
      end(ws::kAbnormal, {});
      release();
      return client_disconnected();
    }
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  stage_ = Stage::open;
  release();
  return ready(Py_NewRef(Py_None));
}

PyObject* Socket::drained() noexcept {
  if (drain_waiter_ && api->future_done(drain_waiter_.get())) drain_waiter_.reset();
  if (!drain_waiter_) drain_waiter_.reset(api->future_new(nullptr));
  return Py_XNewRef(drain_waiter_.get());
}

PyObject* Socket::send_data(PyObject* message) noexcept {
  PyObject* data = item(message, ws_names.bytes);
  if (!data && PyErr_Occurred()) return nullptr;
  const bool text = !data || data == Py_None;
  if (text) {
    data = item(message, ws_names.text);
    if (!data && PyErr_Occurred()) return nullptr;
    if (!data || !PyUnicode_Check(data)) {
      PyErr_Format(PyExc_TypeError, "'websocket.send' needs 'bytes' as bytes or 'text' as str, not %.100s",
                   data ? Py_TYPE(data)->tp_name : "neither");
      return nullptr;
    }
  }
  struct View {  // of any bytes-like object
    Py_buffer buffer{};
    bool held = false;
    ~View() {
      if (held) PyBuffer_Release(&buffer);
    }
  } view;
  std::string_view payload;
  if (text) {
    if (FASTERAPI_LIKELY(PyUnicode_IS_ASCII(data)))
      payload = {static_cast<const char*>(PyUnicode_DATA(data)),
                 static_cast<std::size_t>(PyUnicode_GET_LENGTH(data))};
    else
      payload = as_utf8(data);  // lone surrogates are a UnicodeEncodeError
    if (!payload.data()) return nullptr;
  } else if (PyBytes_Check(data)) {
    payload = bytes_view(data);
  } else {
    if (PyObject_GetBuffer(data, &view.buffer, PyBUF_SIMPLE) < 0) return nullptr;
    view.held = true;
    payload = {static_cast<const char*>(view.buffer.buf), static_cast<std::size_t>(view.buffer.len)};
  }
  if (FASTERAPI_UNLIKELY(!session_)) {
    if (end_told_) {
      PyErr_SetString(PyExc_RuntimeError,
                      "Unexpected ASGI message 'websocket.send', after 'websocket.disconnect' was received.");
      return nullptr;
    }
    return client_disconnected();
  }
  bool roomy = session_->send(text ? ws::Opcode::text : ws::Opcode::binary, payload);
  if (FASTERAPI_LIKELY(roomy)) return ready(Py_NewRef(Py_None));
  return drained();
}

PyObject* Socket::close(PyObject* message) noexcept {
  if (stage_ == Stage::connecting) {
    stage_ = Stage::done;
    if (!tx_) return ready(Py_NewRef(Py_None));
    tx_->close_after();
    tx_->respond(403, {}, {}, {});
    end(ws::kAbnormal, {});
    release();
    return ready(Py_NewRef(Py_None));
  }
  PyObject* code_object = item(message, ws_names.code);
  if (!code_object && PyErr_Occurred()) return nullptr;
  long code = code_object && code_object != Py_None ? PyLong_AsLong(code_object) : ws::kNormal;
  if (code == -1 && PyErr_Occurred()) return nullptr;
  if (code != ws::kNoStatus && (code < 0 || !ws::valid_close_code(static_cast<unsigned>(code)))) {
    PyErr_Format(PyExc_ValueError, "a WebSocket cannot be closed with code %ld", code);
    return nullptr;
  }
  PyObject* reason_object = item(message, ws_names.reason);
  if (!reason_object && PyErr_Occurred()) return nullptr;
  std::string_view reason;
  if (reason_object && reason_object != Py_None) {
    if (!PyUnicode_Check(reason_object)) {
      PyErr_Format(PyExc_TypeError, "'reason' must be str or None, not %.100s", Py_TYPE(reason_object)->tp_name);
      return nullptr;
    }
    reason = as_utf8(reason_object);
    if (!reason.data()) return nullptr;
  }
  if (!session_) {
    if (end_told_) {
      PyErr_SetString(PyExc_RuntimeError,
                      "Unexpected ASGI message 'websocket.close', after 'websocket.disconnect' was received.");
      return nullptr;
    }
    stage_ = Stage::done;
    return client_disconnected();
  }
  stage_ = Stage::done;
  session_->close(static_cast<std::uint16_t>(code), reason);
  return ready(Py_NewRef(Py_None));
}

/// A refusal with an answer of the application's (extension websocket.http.response).
PyObject* Socket::deny(PyObject* message, bool start) noexcept {
  if (start) {
    PyObject* status = item(message, names.status);
    if (!status) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_KeyError, "status");
      return nullptr;
    }
    long code = PyLong_AsLong(status);
    if (code == -1 && PyErr_Occurred()) return nullptr;
    if (code < 200 || code > 999) {
      PyErr_Format(PyExc_ValueError, "'status' must be between 200 and 999, not %ld", code);
      return nullptr;
    }
    PyObject* headers = item(message, names.headers);
    if (!headers && PyErr_Occurred()) return nullptr;
    std::int64_t length;
    bool closes;
    head_ = handler_.head_of(static_cast<int>(code), headers, length, closes);
    if (!head_) return nullptr;
    stage_ = Stage::denying;
    return ready(Py_NewRef(Py_None));
  }
  PyObject* body = item(message, names.body);
  if (!body && PyErr_Occurred()) return nullptr;
  if (body && !PyBytes_Check(body)) {
    PyErr_Format(PyExc_TypeError, "'body' must be bytes, not %.100s", Py_TYPE(body)->tp_name);
    return nullptr;
  }
  PyObject* more_object = item(message, names.more_body);
  if (!more_object && PyErr_Occurred()) return nullptr;
  int more = more_object ? PyObject_IsTrue(more_object) : 0;
  if (more < 0) return nullptr;
  std::string_view bytes = body ? bytes_view(body) : std::string_view{};
  if (!more) stage_ = Stage::done;
  if (!tx_) return ready(Py_NewRef(Py_None));  // nobody is there to read it
  tx_->close_after();
  if (!denial_started_ && !more) {
    tx_->respond(head_->head, bytes);
  } else {
    if (!denial_started_) {
      denial_started_ = true;
      try {
        std::vector<HeaderField> fields;
        for (const auto& [name, value] : head_->fields) fields.push_back({name, value});
        tx_->start(head_->status, {}, fields);
      } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
      }
    }
    bool roomy = tx_->write(bytes);
    if (!tx_) return ready(Py_NewRef(Py_None));  // writing found that the client has left
    if (more) {
      if (roomy) return ready(Py_NewRef(Py_None));
      tx_->on_drained(&Socket::has_read, this);
      return drained();
    }
    tx_->finish();
  }
  end(ws::kAbnormal, {});
  release();
  return ready(Py_NewRef(Py_None));
}

PyObject* exchange_send(PyObject* object, PyObject* message) {
  if (!PyDict_Check(message)) {
    PyErr_Format(PyExc_TypeError, "an ASGI message is a dict, not %.100s", Py_TYPE(message)->tp_name);
    return nullptr;
  }
  return as_exchange(object)->socket->send(message);
}

// ---------------------------------------------------------------- the application

void Socket::application_done(PyObject* result, PyObject* exception) noexcept {
  const bool left =
      exception && PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.ws_disconnected));
  const bool cancelled =
      exception && PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.cancelled));
  if (exception && !left && (!cancelled || stage_ != Stage::done)) {
    handler_.report(exception);
  } else if (!exception && result != Py_None) {
    handler_.report("ASGI callable should return None.");
  } else if (!exception && tx_ && stage_ == Stage::connecting) {
    handler_.report("ASGI callable returned without sending handshake.");
  } else if (!exception && tx_ && stage_ == Stage::denying) {
    handler_.report("ASGI callable returned without completing response.");
  }
  if (tx_) {
    tx_->close_after();
    if (tx_->started())
      tx_->abort();
    else
      tx_->respond(500, "text/plain; charset=utf-8", {}, "Internal Server Error");
    release();
  }
  if (session_) {
    if (exception)
      session_->close(ws::kInternalError, {});
    else
      session_->close(ws::kNormal, {});
    if (session_) session_->detach();
    session_ = nullptr;
  }
  stage_ = Stage::done;
  queue_.clear();
  end(ws::kAbnormal, {});
}

void application_done(void* arg, PyObject* result, PyObject* exception) noexcept {
  auto* self = static_cast<Exchange*>(arg);
  self->socket->application_done(result, exception);
  Py_DECREF(self);
}

void exchange_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  delete as_exchange(object)->socket;
  PyObject_Free(object);
  Py_DECREF(type);
}

PyMethodDef receive_method = {"receive", exchange_receive, METH_NOARGS, "Next event of the WebSocket."};
PyMethodDef send_method = {"send", exchange_send, METH_O, "Sends one event."};

PyType_Slot exchange_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(exchange_dealloc)}, {0, nullptr}};
PyType_Spec exchange_spec = {"fasterapi_http._http.WebSocketExchange", sizeof(Exchange), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, exchange_slots};

/// Makes the request's scope one of type `websocket`.
bool convert_scope(PyObject* scope, const RequestHead& head) {
  auto offered = ws::offered_subprotocols(head);
  Ref list(PyList_New(0)), extensions(PyDict_New()), empty(PyDict_New());
  if (!offered || !list || !extensions || !empty) return false;
  for (std::string_view one : *offered) {
    Ref text(latin1(one));
    if (!text || PyList_Append(list.get(), text.get()) < 0) return false;
  }
  PyObject* scheme = PyDict_GetItemWithError(scope, names.scheme);
  if (!scheme && PyErr_Occurred()) return false;
  PyObject* secure = scheme && is(scheme, ws_names.https) ? ws_names.wss : ws_names.ws;
  // Of the extensions of a request only that of TLS is one of a WebSocket too.
  PyObject* before = PyDict_GetItemWithError(scope, names.extensions);
  PyObject* tls = before ? PyDict_GetItemWithError(before, names.tls) : nullptr;
  if (!tls && PyErr_Occurred()) return false;
  if (tls && PyDict_SetItem(extensions.get(), names.tls, tls) < 0) return false;
  if (PyDict_DelItem(scope, names.method) < 0) return false;
  return PyDict_SetItem(scope, names.type, ws_names.websocket) == 0 &&
         PyDict_SetItem(scope, names.asgi, ws_names.asgi_version) == 0 &&
         PyDict_SetItem(scope, names.scheme, secure) == 0 &&
         PyDict_SetItem(scope, ws_names.subprotocols, list.get()) == 0 &&
         PyDict_SetItem(extensions.get(), ws_names.denial, empty.get()) == 0 &&
         PyDict_SetItem(scope, names.extensions, extensions.get()) == 0;
}

PyObject* make_exchange(Transaction& tx, AsgiHandler& handler, ws::Handshake handshake) {
  auto socket = std::make_unique<Socket>(tx, handler, std::move(handshake));
  auto* self = PyObject_New(Exchange, exchange_type);
  if (!self) return nullptr;
  self->socket = socket.release();
  return reinterpret_cast<PyObject*>(self);
}

}  // namespace

void serve_websocket(Transaction& tx, AsgiHandler& handler, PyObject* app, PyObject* scope,
                     ws::Handshake handshake) noexcept {
  Ref exchange;
  try {
    if (convert_scope(scope, tx.head)) exchange.reset(make_exchange(tx, handler, std::move(handshake)));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  Ref receive(exchange ? PyCFunction_New(&receive_method, exchange.get()) : nullptr);
  Ref send(receive ? PyCFunction_New(&send_method, exchange.get()) : nullptr);
  if (FASTERAPI_UNLIKELY(!send)) {
    Ref raised(core::py::take_exception());
    if (raised) handler.report(raised.get());
    return tx.respond_error(500, "Internal Server Error");
  }
  PyObject* args[4] = {nullptr, scope, receive.get(), send.get()};
  auto* arg = as_exchange(Py_NewRef(exchange.get()));  // application_done() takes it
  Ref task(api->task_call(app, args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr, &application_done, arg));
  if (FASTERAPI_UNLIKELY(!task)) {
    Ref raised(core::py::take_exception());
    if (raised) application_done(arg, nullptr, raised.get());
  }
}

bool grant_handshake(Transaction& tx, ws::Handshake& out) noexcept {
  const WebSocketOptions& options = tx.server().options().websocket;
  try {
    out = ws::check_handshake(tx.head, {.deflate = options.deflate,
                                        .deflate_window_bits = options.deflate_window_bits,
                                        .allowed_origins = options.allowed_origins});
    if (out.status == 101) return true;
    std::vector<HeaderField> fields;
    if (out.status == 426) {  // RFC 6455 section 4.4; RFC 9110 section 15.5.22 wants the Upgrade field
      fields.push_back({"sec-websocket-version", "13"});
      fields.push_back({"upgrade", "websocket"});
    }
    if (out.status == 405) fields.push_back({"allow", "GET"});
    tx.close_after();
    tx.respond(out.status, "text/plain; charset=utf-8", fields, out.text);
  } catch (const std::exception&) {
    tx.close_after();
    tx.respond_error(500, "Internal Server Error");
  }
  return false;
}

bool init_websocket(PyObject* module) noexcept {
  exchange_type = add_type(module, exchange_spec);
  receive_type = add_type(module, receive_spec);
  return exchange_type && receive_type && ws_names.init();
}

}  // namespace fasterapi::http::py
