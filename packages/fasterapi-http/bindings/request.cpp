#include "request.hpp"

#include <structmember.h>

#include <cstring>
#include <string>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/server.hpp>
#include <fasterapi/http/uri.hpp>

namespace fasterapi::http::py {

using core::py::api;

PyTypeObject* request_type = nullptr;
PyTypeObject* sync_request_type = nullptr;

namespace {

enum class Want : unsigned char { piece, body, json, text };

struct RequestObject {
  PyObject ob_base;  // PyObject_HEAD
  Transaction* tx;
  PyObject* server;  // keeps the native server, and so the transaction's owner, alive
  PyObject* app;
  PyObject* query_params;
  PyObject* path_params;
  PyObject* cookies;
  PyObject* state;
  PyObject* url;
  PyObject* scope;
  PyObject* body;
  PyObject* json;
  PyObject* weakrefs;
  PyObject* waiter;  // future of who waits for a body that streams
  Want wanted;
  bool consumed;  // of a body that streams, a piece was given out
  bool ended;     // and its end
};

PyTypeObject* body_stream_type = nullptr;
constexpr int kFree = 64;
RequestObject* free_list[kFree];
int free_count = 0;
PyObject* method_names[kMethodCount];

RequestObject* as_request(PyObject* object) { return reinterpret_cast<RequestObject*>(object); }

int request_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* self = as_request(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->server);
  Py_VISIT(self->app);
  Py_VISIT(self->path_params);
  Py_VISIT(self->state);
  Py_VISIT(self->scope);
  Py_VISIT(self->json);
  Py_VISIT(self->waiter);
  return 0;
}

int request_clear(PyObject* object) {
  auto* self = as_request(object);
  Py_CLEAR(self->app);
  Py_CLEAR(self->query_params);
  Py_CLEAR(self->path_params);
  Py_CLEAR(self->cookies);
  Py_CLEAR(self->state);
  Py_CLEAR(self->url);
  Py_CLEAR(self->scope);
  Py_CLEAR(self->body);
  Py_CLEAR(self->json);
  return 0;
}

void request_dealloc(PyObject* object) {
  auto* self = as_request(object);
  PyObject_GC_UnTrack(object);
  if (self->weakrefs) PyObject_ClearWeakRefs(object);
  request_clear(object);
  if (self->tx) {
    if (FASTERAPI_UNLIKELY(self->tx->streams_body())) self->tx->on_body(nullptr, nullptr);
    std::exchange(self->tx, nullptr)->release();
  }
  Py_CLEAR(self->waiter);
  Py_CLEAR(self->server);  // after the transaction
  PyTypeObject* type = Py_TYPE(object);
  if (free_count < kFree)
    free_list[free_count++] = self;
  else
    PyObject_GC_Del(self);
  Py_DECREF(type);
}

// ---------------------------------------------------------------- attributes

PyObject* get_method(PyObject* object, void*) {
  Transaction& tx = *as_request(object)->tx;
  if (tx.head.method != Method::other) return Py_NewRef(method_names[static_cast<unsigned>(tx.head.method)]);
  return latin1(tx.head.method_text());
}
PyObject* get_path(PyObject* object, void*) { return decoded_path_text(as_request(object)->tx->head.path()); }
PyObject* get_raw_path(PyObject* object, void*) { return to_bytes(as_request(object)->tx->head.path()); }
PyObject* get_query_string(PyObject* object, void*) { return to_bytes(as_request(object)->tx->head.query()); }
PyObject* get_http_version(PyObject* object, void*) {
  return PyUnicode_FromString(as_request(object)->tx->head.minor_version ? "1.1" : "1.0");
}

PyObject* get_headers(PyObject* object, void*) {
  // Not cached: the view keeps the request, and a cycle would keep both until the collector comes by.
  return make_request_headers(*as_request(object)->tx, object);
}
PyObject* get_query_params(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->query_params) self->query_params = make_query_params(self->tx->head.query());
  return Py_XNewRef(self->query_params);
}
PyObject* get_path_params(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->path_params) self->path_params = build_path_params(*self->tx);
  return Py_XNewRef(self->path_params);
}

PyObject* build_cookies(const Transaction& tx) {
  Ref cookies(PyDict_New());
  if (!cookies) return nullptr;
  for (unsigned i = tx.head.find_index("cookie"); i < tx.head.field_count;
       i = tx.head.find_index("cookie", i + 1)) {
    std::string_view rest = tx.head.value(i);
    while (!rest.empty()) {
      std::size_t end = rest.find(';');
      std::string_view pair = rest.substr(0, end);
      rest = end == rest.npos ? std::string_view{} : rest.substr(end + 1);
      while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
      while (!pair.empty() && pair.back() == ' ') pair.remove_suffix(1);
      std::size_t equals = pair.find('=');
      std::string_view name = equals == pair.npos ? std::string_view{} : pair.substr(0, equals);
      std::string_view value = equals == pair.npos ? pair : pair.substr(equals + 1);
      if (name.empty() && value.empty()) continue;
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
        value = value.substr(1, value.size() - 2);
      Ref key(latin1(name)), text(latin1(value));
      if (!key || !text || !PyDict_SetDefault(cookies.get(), key.get(), text.get())) return nullptr;
    }
  }
  return cookies.release();
}
PyObject* get_cookies(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->cookies) self->cookies = build_cookies(*self->tx);
  return Py_XNewRef(self->cookies);
}

PyObject* get_client(PyObject* object, void*) {
  Transaction& tx = *as_request(object)->tx;
  std::string_view host = tx.client_host();
  if (host.empty()) Py_RETURN_NONE;
  return PyObject_CallFunction(python.address, "s#i", host.data(), static_cast<Py_ssize_t>(host.size()),
                               tx.client_port());
}

PyObject* get_state(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->state) self->state = PyObject_CallNoArgs(python.state);
  return Py_XNewRef(self->state);
}
int set_state(PyObject* object, PyObject* value, void*) {
  Py_XSETREF(as_request(object)->state, Py_XNewRef(value));
  return 0;
}
PyObject* get_app(PyObject* object, void*) {
  auto* self = as_request(object);
  return Py_NewRef(self->app ? self->app : Py_None);
}
int set_app(PyObject* object, PyObject* value, void*) {
  Py_XSETREF(as_request(object)->app, Py_XNewRef(value));
  return 0;
}

PyObject* get_scope(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->scope) {
    Ref scope(build_scope(*self->tx, self->app));
    Ref params(get_path_params(object, nullptr)), state(get_state(object, nullptr));
    if (!scope || !params || !state) return nullptr;
    if (PyDict_SetItemString(scope.get(), "path_params", params.get()) < 0) return nullptr;
    if (PyDict_SetItemString(scope.get(), "state", state.get()) < 0) return nullptr;
    self->scope = scope.release();
  }
  return Py_NewRef(self->scope);
}

PyObject* get_url(PyObject* object, void*) {
  auto* self = as_request(object);
  if (!self->url) {
    const RequestHead& head = self->tx->head;
    std::string text;
    if (!head.host().empty()) text.append(self->tx->scheme()).append("://").append(head.host());
    text.append(head.path());
    if (head.query().data() && !head.query().empty()) text.append("?").append(head.query());
    Ref plain(latin1(text));
    if (plain) self->url = PyObject_CallOneArg(python.url, plain.get());
  }
  return Py_XNewRef(self->url);
}
PyObject* get_base_url(PyObject* object, void*) {
  const RequestHead& head = as_request(object)->tx->head;
  std::string text = as_request(object)->tx->scheme();
  text.append("://").append(head.host()).append("/");
  Ref plain(latin1(text));
  return plain ? PyObject_CallOneArg(python.url, plain.get()) : nullptr;
}
PyObject* get_route(PyObject* object, void*) {
  const Transaction& tx = *as_request(object)->tx;
  if (tx.match.kind != Match::Kind::found) Py_RETURN_NONE;
  return utf8_lossy(tx.server().routes().pattern(tx.match.route));
}

PyGetSetDef getset[] = {
    {"method", get_method, nullptr, "HTTP method, upper case.", nullptr},
    {"path", get_path, nullptr, "Decoded path.", nullptr},
    {"raw_path", get_raw_path, nullptr, "Path as sent (bytes).", nullptr},
    {"query_string", get_query_string, nullptr, "Query as sent, without '?' (bytes).", nullptr},
    {"http_version", get_http_version, nullptr, "\"1.1\" or \"1.0\".", nullptr},
    {"headers", get_headers, nullptr, "Header fields: case-insensitive mapping.", nullptr},
    {"query_params", get_query_params, nullptr, "Decoded query parameters: multi-valued mapping.", nullptr},
    {"path_params", get_path_params, nullptr, "Path parameters by name, converted.", nullptr},
    {"cookies", get_cookies, nullptr, "Cookies by name.", nullptr},
    {"client", get_client, nullptr, "Peer address (host, port), or None.", nullptr},
    {"state", get_state, set_state, "Free attributes for middleware and handlers.", nullptr},
    {"app", get_app, set_app, "The application that handles the request.", nullptr},
    {"scope", get_scope, nullptr, "ASGI scope dict, built on first use.", nullptr},
    {"url", get_url, nullptr, "Full URL.", nullptr},
    {"base_url", get_base_url, nullptr, "URL of the root.", nullptr},
    {"route", get_route, nullptr, "Pattern of the matched route, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

// ---------------------------------------------------------------- body

PyObject* body_value(RequestObject* self) {
  if (!self->body) self->body = to_bytes(self->tx->body());
  return Py_XNewRef(self->body);
}
PyObject* json_value(RequestObject* self) {
  if (!self->json) {
    std::string_view body = self->tx->body();
    self->json = api->json_decode(body.data() ? body.data() : "", body.size(), 0);
  }
  return Py_XNewRef(self->json);
}

// ---------------------------------------------------------------- body that streams

PyObject* text_value(RequestObject* self) { return utf8_lossy(self->tx->body()); }
PyObject* whole_value(RequestObject* self, Want want) {
  return want == Want::body ? body_value(self) : want == Want::json ? json_value(self) : text_value(self);
}

/// New exception for a body that will not be complete.
PyObject* body_exception(Transaction& tx) {
  if (const ParseError* error = tx.body_error()) {
    Ref text(utf8_lossy(error->text));
    return text ? PyObject_CallFunction(python.http_exception, "iO", error->status, text.get()) : nullptr;
  }
  return PyObject_CallNoArgs(python.client_disconnect);
}

/// The next piece, b"" at the end; nullptr without an exception when there is none yet.
PyObject* piece_value(RequestObject* self) {
  Transaction& tx = *self->tx;
  std::string_view piece = tx.arrived_body();
  if (!piece.empty()) {
    PyObject* bytes = to_bytes(piece);
    if (!bytes) return nullptr;
    self->consumed = true;
    tx.take_body(piece.size());
    return bytes;
  }
  if (tx.body_state() != BodyState::complete) return nullptr;
  self->consumed = self->ended = true;
  return PyBytes_FromStringAndSize(nullptr, 0);
}

void body_changed(void* arg) noexcept {
  auto* self = static_cast<RequestObject*>(arg);
  if (!self->waiter) return;
  if (api->future_done(self->waiter)) {  // whoever waited was cancelled
    Py_CLEAR(self->waiter);
    return;
  }
  Transaction& tx = *self->tx;
  Ref value;
  if (tx.body_state() == BodyState::failed || tx.body_state() == BodyState::gone) {
    value.reset(body_exception(tx));
  } else {
    if (self->wanted == Want::piece)
      value.reset(piece_value(self));
    else if (tx.body_state() == BodyState::complete)
      value.reset(whole_value(self, self->wanted));
    if (!value && !PyErr_Occurred()) return;
    if (value) {
      Ref waiter(std::exchange(self->waiter, nullptr));
      if (api->future_set_result(waiter.get(), value.get()) < 0) PyErr_WriteUnraisable(waiter.get());
      return;
    }
  }
  if (!value) value.reset(core::py::take_exception());
  Ref waiter(std::exchange(self->waiter, nullptr));
  if (api->future_set_exception(waiter.get(), value.get()) < 0) PyErr_WriteUnraisable(waiter.get());
}

PyObject* wait_for_body(RequestObject* self, Want want) {
  Transaction& tx = *self->tx;
  if (tx.body_state() == BodyState::failed || tx.body_state() == BodyState::gone)
    return ready_exception(body_exception(tx));
  if (self->waiter && !api->future_done(self->waiter)) {
    PyErr_SetString(PyExc_RuntimeError, "the body is being read already");
    return nullptr;
  }
  Py_XSETREF(self->waiter, api->future_new(nullptr));
  if (!self->waiter) return nullptr;
  Ref waiter = Ref::borrow(self->waiter);
  self->wanted = want;
  tx.on_body(&body_changed, self);
  if (want == Want::piece)
    tx.expect_body();
  else
    tx.collect_body();
  return waiter.release();
}

PyObject* awaitable(PyObject* value) { return value ? ready(value) : ready_exception(core::py::take_exception()); }

PyObject* async_whole(PyObject* object, Want want) {
  auto* self = as_request(object);
  if (FASTERAPI_UNLIKELY(self->tx->streams_body())) {
    if (self->consumed) {
      PyErr_SetString(PyExc_RuntimeError, "Stream consumed");
      return nullptr;
    }
    if (self->tx->body_state() != BodyState::complete) return wait_for_body(self, want);
    self->tx->collect_body();
  }
  return awaitable(whole_value(self, want));
}
PyObject* async_body(PyObject* object, PyObject*) { return async_whole(object, Want::body); }
PyObject* async_json(PyObject* object, PyObject*) { return async_whole(object, Want::json); }
PyObject* sync_body(PyObject* object, PyObject*) { return body_value(as_request(object)); }
PyObject* sync_json(PyObject* object, PyObject*) { return json_value(as_request(object)); }
PyObject* sync_text(PyObject* object, PyObject*) { return utf8_lossy(as_request(object)->tx->body()); }
PyObject* async_text(PyObject* object, PyObject*) { return async_whole(object, Want::text); }
PyObject* async_disconnected(PyObject* object, PyObject*) {
  return ready(PyBool_FromLong(!as_request(object)->tx->connected()));
}
PyObject* sync_disconnected(PyObject* object, PyObject*) {
  return PyBool_FromLong(!as_request(object)->tx->connected());
}

/// Iterator over the body in pieces: the buffered body, once, or what arrives of a body that streams. The
/// asynchronous one ends with b"" as Starlette's.
struct BodyStream {
  PyObject ob_base;  // PyObject_HEAD
  PyObject* request;
  int step;
};
void stream_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  Py_CLEAR(reinterpret_cast<BodyStream*>(object)->request);
  PyObject_Free(object);
  Py_DECREF(type);
}
PyObject* stream_self(PyObject* self) { return Py_NewRef(self); }
PyObject* stream_step(BodyStream* self) {
  int step = self->step++;
  if (step == 0 && !as_request(self->request)->tx->body().empty()) return body_value(as_request(self->request));
  if (step <= 1) {
    self->step = 2;
    return PyBytes_FromStringAndSize(nullptr, 0);
  }
  return nullptr;
}
PyObject* stream_anext(PyObject* object) {
  auto* self = reinterpret_cast<BodyStream*>(object);
  auto* request = as_request(self->request);
  if (FASTERAPI_UNLIKELY(request->tx->streams_body()) && request->tx->body().empty()) {
    if (request->ended) {
      PyErr_SetNone(PyExc_StopAsyncIteration);
      return nullptr;
    }
    PyObject* piece = piece_value(request);
    if (piece) return ready(piece);
    return PyErr_Occurred() ? nullptr : wait_for_body(request, Want::piece);
  }
  PyObject* chunk = stream_step(self);
  if (chunk) return ready(chunk);
  if (!PyErr_Occurred()) PyErr_SetNone(PyExc_StopAsyncIteration);
  return nullptr;
}
PyType_Slot stream_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(stream_dealloc)},
    {Py_am_aiter, reinterpret_cast<void*>(stream_self)},
    {Py_am_anext, reinterpret_cast<void*>(stream_anext)},
    {0, nullptr},
};
PyType_Spec stream_spec = {"fasterapi_http._http.BodyStream", sizeof(BodyStream), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, stream_slots};

PyObject* async_stream(PyObject* object, PyObject*) {
  if (as_request(object)->consumed) {
    PyErr_SetString(PyExc_RuntimeError, "Stream consumed");
    return nullptr;
  }
  auto* stream = PyObject_New(BodyStream, body_stream_type);
  if (!stream) return nullptr;
  stream->request = Py_NewRef(object);
  stream->step = 0;
  return reinterpret_cast<PyObject*>(stream);
}
PyObject* sync_stream(PyObject* object, PyObject*) {
  Ref body(body_value(as_request(object)));
  if (!body) return nullptr;
  Ref pieces(PyList_New(0));
  if (!pieces || (PyBytes_GET_SIZE(body.get()) && PyList_Append(pieces.get(), body.get()) < 0)) return nullptr;
  return PyObject_GetIter(pieces.get());
}

PyObject* async_form(PyObject* object, PyObject* args, PyObject* kwargs) {
  if (PyTuple_GET_SIZE(args)) {
    PyErr_SetString(PyExc_TypeError, "form() takes its limits by keyword");
    return nullptr;
  }
  PyObject* request[1] = {object};
  return PyObject_VectorcallDict(python.read_form, request, 1, kwargs);
}

// Mapping over the scope, as Starlette's Request is.
PyObject* request_subscript(PyObject* object, PyObject* key) {
  Ref scope(get_scope(object, nullptr));
  return scope ? PyObject_GetItem(scope.get(), key) : nullptr;
}

PyObject* request_repr(PyObject* object) {
  Ref method(get_method(object, nullptr)), path(get_path(object, nullptr));
  if (!method || !path) return nullptr;
  return PyUnicode_FromFormat("<%s %U %U>", as_request(object)->tx ? Py_TYPE(object)->tp_name : "Request",
                              method.get(), path.get());
}

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RequestObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyMethodDef async_methods[] = {
    {"body", async_body, METH_NOARGS, "body()\n--\n\nAwaitable of the whole body (bytes)."},
    {"json", async_json, METH_NOARGS,
     "json()\n--\n\nAwaitable of the decoded JSON body. Raises fasterapi_core.JSONDecodeError (a ValueError)."},
    {"text", async_text, METH_NOARGS, "text()\n--\n\nAwaitable of the body as str."},
    {"form", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(async_form)), METH_VARARGS | METH_KEYWORDS,
     "form(*, max_files=100, max_fields=1000, max_part_size=1048576)\n--\n\nAwaitable of the FormData of the "
     "body. "
     "Raises HTTPException(400) when it is malformed or passes a limit."},
    {"stream", async_stream, METH_NOARGS, "stream()\n--\n\nAsynchronous iterator over the body (bytes)."},
    {"is_disconnected", async_disconnected, METH_NOARGS,
     "is_disconnected()\n--\n\nAwaitable: whether the client has left."},
    {nullptr, nullptr, 0, nullptr},
};
PyMethodDef sync_methods[] = {
    {"body", sync_body, METH_NOARGS, "body()\n--\n\nThe whole body (bytes)."},
    {"json", sync_json, METH_NOARGS,
     "json()\n--\n\nThe decoded JSON body. Raises fasterapi_core.JSONDecodeError (a ValueError)."},
    {"text", sync_text, METH_NOARGS, "text()\n--\n\nThe body as str."},
    {"stream", sync_stream, METH_NOARGS, "stream()\n--\n\nIterator over the body (bytes)."},
    {"is_disconnected", sync_disconnected, METH_NOARGS, "is_disconnected()\n--\n\nWhether the client has left."},
    {nullptr, nullptr, 0, nullptr},
};

constexpr char kAsyncDoc[] = "One HTTP request, as asynchronous handlers see it. Made by the server.";
constexpr char kSyncDoc[] = "One HTTP request, as synchronous handlers see it: body() and json() return values.";

#define REQUEST_SLOTS(methods, doc)                                                                              \
  {                                                                                                              \
    {Py_tp_dealloc, reinterpret_cast<void*>(request_dealloc)},                                                   \
        {Py_tp_traverse, reinterpret_cast<void*>(request_traverse)},                                             \
        {Py_tp_clear, reinterpret_cast<void*>(request_clear)}, {Py_tp_getset, getset}, {Py_tp_methods, methods}, \
        {Py_tp_members, members}, {Py_tp_repr, reinterpret_cast<void*>(request_repr)},                           \
        {Py_mp_subscript, reinterpret_cast<void*>(request_subscript)}, {Py_tp_doc, const_cast<char*>(doc)},      \
        {0, nullptr},                                                                                            \
  }
PyType_Slot async_slots[] = REQUEST_SLOTS(async_methods, kAsyncDoc);
PyType_Slot sync_slots[] = REQUEST_SLOTS(sync_methods, kSyncDoc);
constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
PyType_Spec async_spec = {"fasterapi_http.Request", sizeof(RequestObject), 0, kFlags, async_slots};
PyType_Spec sync_spec = {"fasterapi_http.SyncRequest", sizeof(RequestObject), 0, kFlags, sync_slots};

}  // namespace

// ---------------------------------------------------------------- shared with the plan and with ASGI

PyObject* make_request(Transaction& transaction, PyObject* server, PyObject* app, bool sync) noexcept {
  PyTypeObject* type = sync ? sync_request_type : request_type;
  RequestObject* self;
  if (free_count > 0) {
    self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), type);
  } else {
    self = PyObject_GC_New(RequestObject, type);
    if (!self) return nullptr;
  }
  std::memset(reinterpret_cast<char*>(self) + sizeof(PyObject), 0, sizeof(RequestObject) - sizeof(PyObject));
  transaction.retain();
  self->tx = &transaction;
  self->server = Py_NewRef(server);
  self->app = Py_XNewRef(app);
  PyObject_GC_Track(self);
  return reinterpret_cast<PyObject*>(self);
}

Transaction* transaction_of(PyObject* request) noexcept {
  if (!Py_IS_TYPE(request, request_type) && !Py_IS_TYPE(request, sync_request_type)) return nullptr;
  return as_request(request)->tx;
}

PyObject* decoded_path_text(std::string_view text) noexcept {
  if (text.find('%') == text.npos) return utf8_lossy(text);
  char small[512];
  if (text.size() <= sizeof small) return utf8_lossy({small, percent_decode(text, small)});
  return utf8_lossy(percent_decoded(text));
}

PyObject* decoded_form_text(std::string_view text) noexcept {
  if (text.find_first_of("%+") == text.npos) return utf8_lossy(text);
  char small[512];
  if (text.size() <= sizeof small) return utf8_lossy({small, form_decode(text, small)});
  return utf8_lossy(form_decoded(text));
}

PyObject* capture_value(const Capture& capture) noexcept {
  switch (capture.converter) {
    case Converter::integer: {
      Ref text(decoded_path_text(capture.view()));
      return text ? PyLong_FromUnicodeObject(text.get(), 10) : nullptr;
    }
    case Converter::real: {
      Ref text(decoded_path_text(capture.view()));
      return text ? PyFloat_FromString(text.get()) : nullptr;
    }
    case Converter::uuid: {
      Ref text(decoded_path_text(capture.view()));
      return text ? PyObject_CallOneArg(python.uuid, text.get()) : nullptr;
    }
    default: return decoded_path_text(capture.view());
  }
}

PyObject* build_path_params(const Transaction& tx) noexcept {
  Ref params(PyDict_New());
  if (!params) return nullptr;
  if (tx.match.kind != Match::Kind::found) return params.release();
  auto names = tx.server().routes().params(tx.match.route);
  for (unsigned i = 0; i < tx.match.capture_count && i < names.size(); ++i) {
    Ref name(PyUnicode_FromStringAndSize(names[i].name.data(), static_cast<Py_ssize_t>(names[i].name.size())));
    Ref value(capture_value(tx.match.captures[i]));
    if (!name || !value || PyDict_SetItem(params.get(), name.get(), value.get()) < 0) return nullptr;
  }
  return params.release();
}

PyObject* build_scope(Transaction& tx, PyObject* app) noexcept {
  const RequestHead& head = tx.head;
  Ref fields(PyList_New(head.field_count));
  if (!fields) return nullptr;
  for (unsigned i = 0; i < head.field_count; ++i) {
    PyObject* name = to_lower_bytes(head.name(i));
    PyObject* value = to_bytes(head.value(i));
    PyObject* pair = name && value ? PyTuple_Pack(2, name, value) : nullptr;
    Py_XDECREF(name);
    Py_XDECREF(value);
    if (!pair) return nullptr;
    PyList_SET_ITEM(fields.get(), i, pair);
  }
  Ref path(decoded_path_text(head.path())), raw(to_bytes(head.path())), query(to_bytes(head.query()));
  Ref method(latin1(head.method_text()));
  Ref client;
  if (!tx.client_host().empty())
    client.reset(Py_BuildValue("[s#i]", tx.client_host().data(), static_cast<Py_ssize_t>(tx.client_host().size()),
                               tx.client_port()));
  else
    client.reset(Py_NewRef(Py_None));
  if (!path || !raw || !query || !method || !client) return nullptr;
  return Py_BuildValue("{s:s,s:{s:s,s:s},s:s,s:O,s:s,s:O,s:O,s:O,s:s,s:O,s:O,s:O}", "type", "http", "asgi",
                       "version", "3.0", "spec_version", "2.4", "http_version", head.minor_version ? "1.1" : "1.0",
                       "method", method.get(), "scheme", tx.scheme(), "path", path.get(), "raw_path", raw.get(),
                       "query_string", query.get(), "root_path", "", "headers", fields.get(), "client",
                       client.get(), "app", app ? app : Py_None);
}

bool find_cookie(const Transaction& tx, std::string_view name, std::string_view& found) noexcept {
  for (unsigned i = tx.head.find_index("cookie"); i < tx.head.field_count;
       i = tx.head.find_index("cookie", i + 1)) {
    std::string_view rest = tx.head.value(i);
    while (!rest.empty()) {
      std::size_t end = rest.find(';');
      std::string_view pair = rest.substr(0, end);
      rest = end == rest.npos ? std::string_view{} : rest.substr(end + 1);
      while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
      while (!pair.empty() && pair.back() == ' ') pair.remove_suffix(1);
      std::size_t equals = pair.find('=');
      if (equals == pair.npos || pair.substr(0, equals) != name) continue;
      found = pair.substr(equals + 1);
      if (found.size() >= 2 && found.front() == '"' && found.back() == '"')
        found = found.substr(1, found.size() - 2);
      return true;
    }
  }
  return false;
}

bool init_request(PyObject* module) noexcept {
  for (unsigned i = 0; i < kMethodCount; ++i) {
    std::string_view name = method_name(static_cast<Method>(i));
    method_names[i] = PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
    if (!method_names[i]) return false;
    PyUnicode_InternInPlace(&method_names[i]);
  }
  body_stream_type = add_type(module, stream_spec);
  request_type = add_type(module, async_spec);
  sync_request_type = add_type(module, sync_spec);
  return body_stream_type && request_type && sync_request_type;
}

}  // namespace fasterapi::http::py
