// Exchange: one request of an ASGI application, behind its `receive` and `send`. The semantics are uvicorn's: a
// client that has left is told by `http.disconnect`, what is sent to it then is dropped, and the application is
// not cancelled.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <charconv>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>

#include "asgi_exchange.hpp"
#include "operations.hpp"
#include "plan.hpp"
#include "websocket.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {

using core::py::api;

namespace {

PyTypeObject* exchange_type = nullptr;
Exchange* as_exchange(PyObject* object) noexcept { return reinterpret_cast<Exchange*>(object); }

void resolve(PyObject*& slot, PyObject* value) noexcept {
  PyObject* future = std::exchange(slot, nullptr);
  if (!future) return;
  if (api->future_set_result(future, value) < 0) PyErr_WriteUnraisable(future);
  Py_DECREF(future);
}

PyObject* disconnect_message() noexcept {
  PyObject* message = PyDict_New();
  if (message && PyDict_SetItem(message, names.type, names.http_disconnect) < 0) Py_CLEAR(message);
  return message;
}

/// The longest waiting receive(), when several wait, becomes `waiter`.
void next_waiter(Exchange* self) noexcept {
  if (!self->more_waiters) return;
  if (PyList_GET_SIZE(self->more_waiters) == 0) {
    Py_CLEAR(self->more_waiters);
    return;
  }
  self->waiter = Py_NewRef(PyList_GET_ITEM(self->more_waiters, 0));
  if (PyList_SetSlice(self->more_waiters, 0, 1, nullptr) < 0) PyErr_WriteUnraisable(nullptr);
}

}  // namespace

void detach(Exchange* self) noexcept {
  Transaction* tx = std::exchange(self->tx, nullptr);
  if (!tx) return;
  tx->on_disconnect(nullptr, nullptr);
  tx->on_drained(nullptr, nullptr);
  if (FASTERAPI_UNLIKELY(tx->streams_body())) tx->on_body(nullptr, nullptr);
  tx->release();
  while (self->waiter) {
    Ref message(disconnect_message());
    if (!message) {
      PyErr_WriteUnraisable(nullptr);
      break;
    }
    resolve(self->waiter, message.get());
    next_waiter(self);
  }
  resolve(self->drain_waiter, Py_None);
}

namespace {

void client_left(void* arg) noexcept {
  auto* self = static_cast<Exchange*>(arg);
  self->disconnected = true;
  Py_INCREF(self);
  detach(self);
  Py_DECREF(self);
}

void client_has_read(void* arg) noexcept { resolve(static_cast<Exchange*>(arg)->drain_waiter, Py_None); }

void exchange_dealloc(PyObject* object) {
  auto* self = as_exchange(object);
  PyTypeObject* type = Py_TYPE(object);
  detach(self);
  Py_CLEAR(self->waiter);
  Py_CLEAR(self->more_waiters);
  Py_CLEAR(self->drain_waiter);
  self->head.~shared_ptr();
  delete self->trailers;
  Py_CLEAR(self->server);
  PyObject_Free(object);
  Py_DECREF(type);
}

/// The message of what has arrived of a body that streams; nullptr without an exception when that is nothing.
PyObject* piece_message(Exchange* self) noexcept {
  Transaction& tx = *self->tx;
  std::string_view piece = tx.arrived_body();
  bool complete = tx.body_state() == BodyState::complete;
  if (piece.empty() && !complete) return nullptr;
  Ref bytes(piece.empty() ? Py_NewRef(names.empty_bytes) : to_bytes(piece)), message(PyDict_New());
  if (!bytes || !message || PyDict_SetItem(message.get(), names.type, names.http_request) < 0 ||
      PyDict_SetItem(message.get(), names.body, bytes.get()) < 0 ||
      PyDict_SetItem(message.get(), names.more_body, complete ? Py_False : Py_True) < 0)
    return nullptr;
  self->request_given = complete;
  tx.take_body(piece.size());
  return message.release();
}

/// More of the body has arrived, or it cannot be completed.
void body_changed(void* arg) noexcept {
  auto* self = static_cast<Exchange*>(arg);
  Transaction* tx = self->tx;
  if (!tx || tx->body_state() == BodyState::gone) return;  // client_left() follows
  Py_INCREF(self);
  if (tx->body_state() == BodyState::failed) {
    // The application cannot be told why: for it the client has left, as it has for what the client sent.
    const ParseError& error = *tx->body_error();
    self->disconnected = true;
    tx->retain();
    detach(self);
    tx->started() ? tx->abort() : tx->respond_error(error.status, error.text);
    tx->release();
  } else {
    while (self->waiter && api->future_done(self->waiter)) {  // its task was cancelled
      Py_CLEAR(self->waiter);
      next_waiter(self);
    }
    Ref message(self->waiter ? piece_message(self) : nullptr);
    if (message) {
      resolve(self->waiter, message.get());
      next_waiter(self);
    } else if (PyErr_Occurred()) {
      PyErr_WriteUnraisable(nullptr);
    }
  }
  Py_DECREF(self);
}

PyObject* receive_piece(Exchange* self) noexcept {
  PyObject* message = piece_message(self);
  if (message) return ready(message);
  if (PyErr_Occurred()) return nullptr;
  Ref waiter(api->future_new(nullptr));
  if (!waiter) return nullptr;
  if (!self->waiter || api->future_done(self->waiter)) {
    Py_XSETREF(self->waiter, Py_NewRef(waiter.get()));
  } else {
    if (!self->more_waiters && !(self->more_waiters = PyList_New(0))) return nullptr;
    if (PyList_Append(self->more_waiters, waiter.get()) < 0) return nullptr;
  }
  self->tx->expect_body();
  return waiter.release();
}

PyObject* exchange_receive(PyObject* object, PyObject*) {
  auto* self = as_exchange(object);
  if (FASTERAPI_LIKELY(self->tx && !self->request_given)) {
    if (FASTERAPI_UNLIKELY(self->tx->streams_body())) return receive_piece(self);
    self->request_given = true;
    std::string_view body = self->tx->body();
    Ref bytes(body.empty() ? Py_NewRef(names.empty_bytes) : to_bytes(body)), message(PyDict_New());
    if (!bytes || !message || PyDict_SetItem(message.get(), names.type, names.http_request) < 0 ||
        PyDict_SetItem(message.get(), names.body, bytes.get()) < 0 ||
        PyDict_SetItem(message.get(), names.more_body, Py_False) < 0)
      return nullptr;
    return ready(message.release());
  }
  if (!self->tx) return ready(disconnect_message());
  if (self->waiter && api->future_done(self->waiter)) Py_CLEAR(self->waiter);  // its task was cancelled
  if (!self->waiter && !(self->waiter = api->future_new(nullptr))) return nullptr;
  return Py_NewRef(self->waiter);
}

bool is(PyObject* text, PyObject* interned) noexcept {
  return text == interned || (PyUnicode_Check(text) && PyUnicode_Compare(text, interned) == 0);
}

PyObject* unexpected(const char* wanted, PyObject* got) noexcept {
  PyErr_Format(PyExc_RuntimeError, "Expected ASGI message '%s', but got '%S'.", wanted, got);
  return nullptr;
}

PyObject* send_start(Exchange* self, PyObject* message) noexcept {
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
  PyObject* trailers = item(message, names.trailers);
  if (!trailers && PyErr_Occurred()) return nullptr;
  self->head = self->handler->head_of(static_cast<int>(code), headers, self->length, self->close);
  if (!self->head) return nullptr;
  if (FASTERAPI_UNLIKELY(trailers != nullptr)) {
    int wanted = PyObject_IsTrue(trailers);
    if (wanted < 0) return nullptr;
    if (wanted && !(self->trailers = new (std::nothrow) std::vector<std::pair<std::string, std::string>>))
      return PyErr_NoMemory();
  }
  self->stage = Stage::body;
  return ready(Py_NewRef(Py_None));
}

}  // namespace

PyObject* length_error(bool longer) noexcept {
  PyErr_SetString(PyExc_RuntimeError, longer ? "Response content longer than Content-Length"
                                             : "Response content shorter than Content-Length");
  return nullptr;
}

bool begin_stream(Exchange* self, bool identity) noexcept {
  try {
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : self->head->fields) fields.push_back({name, value});
    char digits[24];
    if (self->length >= 0) {
      char* end = std::to_chars(digits, digits + sizeof digits, self->length).ptr;
      fields.push_back({"content-length", {digits, static_cast<std::size_t>(end - digits)}});
    }
    identity ? self->tx->start_identity(self->head->status, {}, fields)
             : self->tx->start(self->head->status, {}, fields);
    return true;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
}

PyObject* after_piece(Exchange* self, bool roomy, bool more) noexcept {
  if (!self->tx) return ready(Py_NewRef(Py_None));  // writing found that the client has left
  if (!more) {
    if (FASTERAPI_UNLIKELY(self->trailers != nullptr)) {
      self->stage = Stage::trailers;
      return ready(Py_NewRef(Py_None));
    }
    self->tx->finish();
    self->stage = Stage::complete;
    detach(self);
    return ready(Py_NewRef(Py_None));
  }
  if (roomy) return ready(Py_NewRef(Py_None));
  if (self->drain_waiter && api->future_done(self->drain_waiter)) Py_CLEAR(self->drain_waiter);
  if (!self->drain_waiter && !(self->drain_waiter = api->future_new(nullptr))) return nullptr;
  self->tx->on_drained(&client_has_read, self);
  return Py_NewRef(self->drain_waiter);
}

namespace {

PyObject* send_body(Exchange* self, PyObject* message) noexcept {
  PyObject* body = item(message, names.body);
  if (!body && PyErr_Occurred()) return nullptr;
  PyObject* more_object = item(message, names.more_body);
  if (!more_object && PyErr_Occurred()) return nullptr;
  int more = more_object ? PyObject_IsTrue(more_object) : 0;
  if (more < 0) return nullptr;

  struct View {  // of any bytes-like object
    Py_buffer buffer{};
    bool held = false;
    ~View() {
      if (held) PyBuffer_Release(&buffer);
    }
  } view;
  std::string_view bytes;
  if (FASTERAPI_LIKELY(body && PyBytes_Check(body))) {
    bytes = bytes_view(body);
  } else if (body) {
    if (PyObject_GetBuffer(body, &view.buffer, PyBUF_SIMPLE) < 0) return nullptr;
    view.held = true;
    bytes = {static_cast<const char*>(view.buffer.buf), static_cast<std::size_t>(view.buffer.len)};
  }

  Transaction& tx = *self->tx;
  const bool silent = tx.head_only() || !status_has_body(self->head->status);
  if (!silent && self->length >= 0) {
    auto announced = static_cast<std::uint64_t>(self->length);
    if (bytes.size() > announced - self->sent) {
      if (tx.started()) tx.abort();
      return length_error(true);
    }
    if (!more && self->sent + bytes.size() < announced) {
      if (tx.started()) tx.abort();
      return length_error(false);
    }
  }
  self->sent += bytes.size();
  if (FASTERAPI_LIKELY(!more && !tx.started() && !silent && !self->trailers)) {
    if (self->close) tx.close_after();
    if (FASTERAPI_UNLIKELY(bytes.size() >= kKeptBody) && PyBytes_CheckExact(body))
      tx.respond_from(self->head->head, kept_bytes(body));
    else
      tx.respond(self->head->head, bytes);
    self->stage = Stage::complete;
    detach(self);
    return ready(Py_NewRef(Py_None));
  }
  if (!tx.started()) {
    if (self->close) tx.close_after();
    if (!begin_stream(self)) return nullptr;
  }
  if (FASTERAPI_UNLIKELY(!silent && body && PyBytes_CheckExact(body) && PyBytes_GET_SIZE(body) >= kKeptBody))
    return after_piece(self, tx.write_from(kept_bytes(body)), more);
  return after_piece(self, tx.write(silent ? std::string_view{} : bytes), more);
}

PyObject* exchange_send(PyObject* object, PyObject* message) {
  auto* self = as_exchange(object);
  if (!PyDict_Check(message)) {
    PyErr_Format(PyExc_TypeError, "an ASGI message is a dict, not %.100s", Py_TYPE(message)->tp_name);
    return nullptr;
  }
  PyObject* type = item(message, names.type);
  if (!type) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_KeyError, "type");
    return nullptr;
  }
  switch (self->stage) {
    case Stage::start:
      if (FASTERAPI_UNLIKELY(!is(type, names.response_start))) {
        if (!is(type, names.early_hint)) return unexpected("http.response.start", type);
        return self->tx ? send_early_hint(self, message) : ready(Py_NewRef(Py_None));
      }
      if (!self->tx) {
        self->stage = Stage::body;
        return ready(Py_NewRef(Py_None));
      }
      return send_start(self, message);
    case Stage::body:
      if (FASTERAPI_UNLIKELY(!is(type, names.response_body))) {
        const bool path = is(type, names.path_send);
        if (!path && !is(type, names.zero_copy_send)) return unexpected("http.response.body", type);
        if (!self->tx) return ready(Py_NewRef(Py_None));
        return path ? send_path(self, message) : send_zero_copy(self, message);
      }
      if (!self->tx) return ready(Py_NewRef(Py_None));  // nobody is there to read it
      return send_body(self, message);
    case Stage::trailers:
      if (!is(type, names.response_trailers)) return unexpected("http.response.trailers", type);
      return self->tx ? send_trailers(self, message) : ready(Py_NewRef(Py_None));
    case Stage::complete: break;
  }
  PyErr_Format(PyExc_RuntimeError, "Unexpected ASGI message '%S' sent, after response already completed.", type);
  return nullptr;
}

/// The application has returned or raised. Owns the reference that handle() gave it.
void application_done(void* arg, PyObject* result, PyObject* exception) noexcept {
  auto* self = static_cast<Exchange*>(arg);
  AsgiHandler& handler = *self->handler;
  Transaction* tx = self->tx;
  if (exception) {
    bool cancelled = PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.cancelled));
    if (!cancelled || (tx && self->stage != Stage::complete)) handler.report(exception);
  } else if (result != Py_None) {
    handler.report("ASGI callable should return None.");
  } else if (tx && self->stage == Stage::start) {
    handler.report("ASGI callable returned without starting response.");
  } else if (tx && self->stage != Stage::complete) {
    handler.report("ASGI callable returned without completing response.");
  }
  if (tx) {
    if (tx->started()) {
      tx->abort();
    } else {
      tx->close_after();
      tx->respond(500, "text/plain; charset=utf-8", {}, "Internal Server Error");
    }
    detach(self);
  }
  Py_DECREF(self);
}

PyMethodDef receive_method = {"receive", exchange_receive, METH_NOARGS, "Next event of the request."};
PyMethodDef send_method = {"send", exchange_send, METH_O, "Sends one event of the response."};

PyType_Slot exchange_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(exchange_dealloc)}, {0, nullptr}};
PyType_Spec exchange_spec = {"fasterapi_http._http.AsgiExchange", sizeof(Exchange), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, exchange_slots};

Exchange* make_exchange(Transaction& tx, AsgiHandler& handler) noexcept {
  auto* self = PyObject_New(Exchange, exchange_type);
  if (!self) return nullptr;
  tx.retain();
  self->tx = &tx;
  self->handler = &handler;
  self->server = Py_XNewRef(handler.owner.self);
  self->waiter = self->more_waiters = self->drain_waiter = nullptr;
  new (&self->head) std::shared_ptr<const AsgiHead>();
  self->length = -1;
  self->sent = 0;
  self->trailers = nullptr;
  self->stage = Stage::start;
  self->close = self->request_given = self->disconnected = false;
  return self;
}

constexpr std::size_t kHeads = 16;

}  // namespace

// ---------------------------------------------------------------- handler

AsgiHandler::AsgiHandler(PyServer& owner, PyObject* app, AsgiOptions options, PyObject* report)
    : owner(owner),
      app_(Ref::borrow(app)),
      report_(Ref::borrow(report)),
      websockets_(options.websockets),
      scopes_(std::move(options)) {}

void AsgiHandler::report(PyObject* exception) noexcept {
  if (!report_ || report_.get() == Py_None) {
    Ref ignored(PyObject_CallFunctionObjArgs(python.report, Py_None, exception, nullptr));
    if (!ignored) PyErr_WriteUnraisable(python.report);
    return;
  }
  Ref ignored(PyObject_CallOneArg(report_.get(), exception));
  if (!ignored) PyErr_WriteUnraisable(report_.get());
}

void AsgiHandler::report(const char* text) noexcept {
  Ref exception(PyObject_CallFunction(PyExc_RuntimeError, "s", text));
  if (exception)
    report(exception.get());
  else
    PyErr_WriteUnraisable(nullptr);
}

void AsgiHandler::handle(Transaction& tx) noexcept {
  if (FASTERAPI_UNLIKELY(tx.head.upgrade) && websockets_ && ws::asks_for_websocket(tx.head))
    return handle_websocket(tx);
  Ref scope(scopes_.build(tx));
  Ref exchange(scope ? reinterpret_cast<PyObject*>(make_exchange(tx, *this)) : nullptr);
  Ref receive(exchange ? PyCFunction_New(&receive_method, exchange.get()) : nullptr);
  Ref send(receive ? PyCFunction_New(&send_method, exchange.get()) : nullptr);
  if (FASTERAPI_UNLIKELY(!send)) {
    Ref raised(core::py::take_exception());
    report(raised.get());
    return tx.started() ? tx.abort() : tx.respond_error(500, "Internal Server Error");
  }
  tx.on_disconnect(&client_left, exchange.get());
  if (FASTERAPI_UNLIKELY(tx.streams_body())) tx.on_body(&body_changed, exchange.get());
  PyObject* args[4] = {nullptr, scope.get(), receive.get(), send.get()};
  auto* arg = reinterpret_cast<Exchange*>(Py_NewRef(exchange.get()));  // application_done() takes it
  Ref task(
      api->task_call(app_.get(), args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr, &application_done, arg));
  if (FASTERAPI_UNLIKELY(!task)) {
    Ref raised(core::py::take_exception());
    if (raised) application_done(arg, nullptr, raised.get());
  }
}

void AsgiHandler::handle_websocket(Transaction& tx) noexcept {
  ws::Handshake handshake;
  if (!grant_handshake(tx, handshake)) return;
  Ref scope(scopes_.build(tx));
  if (scope) return serve_websocket(tx, *this, app_.get(), scope.get(), std::move(handshake));
  Ref raised(core::py::take_exception());
  report(raised.get());
  tx.respond_error(500, "Internal Server Error");
}

std::shared_ptr<const AsgiHead> AsgiHandler::head_of(int status, PyObject* headers, std::int64_t& length,
                                                     bool& close) noexcept {
  length = -1;
  close = false;
  constexpr std::size_t kMaxFieldsOut = 256;
  std::string_view views[kMaxFieldsOut][2];
  std::size_t count = 0;
  Ref list(headers ? PySequence_Fast(headers, "'headers' must be a list of (name, value) pairs") : PyTuple_New(0));
  if (!list) return nullptr;
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(list.get());
  std::vector<Ref> kept;  // pairs that are not tuples or lists
  try {
    for (Py_ssize_t i = 0; i < size; ++i) {
      PyObject* pair = PySequence_Fast_GET_ITEM(list.get(), i);
      if (FASTERAPI_UNLIKELY(!PyTuple_Check(pair) && !PyList_Check(pair))) {
        kept.emplace_back(PySequence_List(pair));
        pair = kept.back().get();
        if (!pair) return nullptr;
      }
      if (PySequence_Fast_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_ValueError, "a header is a (name, value) pair");
        return nullptr;
      }
      PyObject* name_object = PySequence_Fast_GET_ITEM(pair, 0);
      PyObject* value_object = PySequence_Fast_GET_ITEM(pair, 1);
      if (!PyBytes_Check(name_object) || !PyBytes_Check(value_object)) {
        PyErr_Format(PyExc_TypeError, "header names and values must be bytes, not %.100s and %.100s",
                     Py_TYPE(name_object)->tp_name, Py_TYPE(value_object)->tp_name);
        return nullptr;
      }
      std::string_view name = bytes_view(name_object), value = bytes_view(value_object);
      switch (name.size()) {  // what the server decides itself
        case 4:
          if (equals_lower(name, "date")) continue;
          break;
        case 10:
          if (equals_lower(name, "connection")) {
            close |= equals_lower(value, "close");
            continue;
          }
          break;
        case 14:
          if (equals_lower(name, "content-length")) {
            auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
            if (error != std::errc{} || end != value.data() + value.size() || length < 0) {
              PyErr_SetString(PyExc_ValueError, "content-length must be a number");
              return nullptr;
            }
            continue;
          }
          break;
        case 17:
          if (equals_lower(name, "transfer-encoding")) continue;
          break;
        default: break;
      }
      if (count == kMaxFieldsOut) {
        PyErr_SetString(PyExc_ValueError, "more than 256 headers");
        return nullptr;
      }
      views[count][0] = name;
      views[count][1] = value;
      ++count;
    }
    for (const auto& known : heads_) {
      if (known->status != status || known->fields.size() != count) continue;
      bool same = true;
      for (std::size_t i = 0; same && i < count; ++i)
        same = known->fields[i].first == views[i][0] && known->fields[i].second == views[i][1];
      if (same) return known;
    }
    auto head = std::make_shared<AsgiHead>();
    head->status = status;
    std::vector<HeaderField> fields;
    for (std::size_t i = 0; i < count; ++i) {
      if (!valid_field_name(views[i][0]) || !valid_field_value(views[i][1])) {
        PyErr_SetString(PyExc_ValueError, "a header has a name or value that HTTP does not allow");
        return nullptr;
      }
      head->fields.emplace_back(views[i][0], views[i][1]);
      fields.push_back({views[i][0], views[i][1]});
    }
    head->head = owner.server.make_head(status, {}, fields);
    if (heads_.size() < kHeads)
      heads_.push_back(head);
    else
      heads_[next_head_++ % kHeads] = head;
    return head;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return nullptr;
  }
}

std::shared_ptr<RequestHandler> make_asgi_handler(PyServer& owner, PyObject* app) {
  if (!PyCallable_Check(app)) {
    PyErr_Format(PyExc_TypeError, "an ASGI application is callable, %.100s is not", Py_TYPE(app)->tp_name);
    return nullptr;
  }
  return std::make_shared<AsgiHandler>(owner, app, AsgiOptions{}, nullptr);
}

void bind_asgi(nb::module_& module);

void bind_asgi(nb::module_& module) {
  exchange_type = add_type(module.ptr(), exchange_spec);
  if (!exchange_type || !names.init() || !init_websocket(module.ptr())) nb::raise_python_error();
  module.def(
      "host_asgi",
      [](PyServer& server, nb::callable app, std::string root_path, std::string scheme, nb::object state,
         bool proxy_headers, std::vector<std::string> trusted, nb::object report, bool websockets,
         const std::string& forwarded_style, bool forwarded_host) {
        AsgiOptions options;
        options.root_path = std::move(root_path);
        options.scheme = std::move(scheme);
        if (!state.is_none()) options.state = Ref::borrow(state.ptr());
        options.proxy_headers = proxy_headers;
        options.trusted = networks_from(trusted);
        options.forwarded_host = forwarded_host;
        if (forwarded_style == "forwarded")
          options.forwarded_style = ForwardedStyle::rfc7239;
        else if (forwarded_style != "x-forwarded")
          throw nb::value_error("forwarded_style is \"x-forwarded\" or \"forwarded\"");
        options.websockets = websockets;
        auto handler = std::make_shared<AsgiHandler>(server, app.ptr(), std::move(options), report.ptr());
        if (websockets) server.server.set_websocket(handler);
        server.server.set_fallback(std::move(handler), true);
      },
      nb::arg("server"), nb::arg("app"), nb::arg("root_path") = "", nb::arg("scheme") = "http",
      nb::arg("state").none() = nb::none(), nb::arg("proxy_headers") = false,
      nb::arg("trusted") = std::vector<std::string>{}, nb::arg("report").none() = nb::none(),
      nb::arg("websockets") = true, nb::arg("forwarded_style") = "x-forwarded", nb::arg("forwarded_host") = false);
}

}  // namespace fasterapi::http::py
