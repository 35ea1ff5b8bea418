// NativeServer: configuration and control of the native server from Python, and the module itself.
#define PY_SSIZE_T_CLEAN
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cerrno>
#include <cstring>

#include <fasterapi/core/platform.hpp>

#include "operations.hpp"
#include "plan.hpp"
#include "request.hpp"
#include "tls.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {

void bind_asgi(nb::module_& module) __attribute__((weak));
void bind_files(nb::module_& module);
void bind_forms(nb::module_& module);

PyServer::~PyServer() = default;

namespace {

[[noreturn]] void raise(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  nb::raise_python_error();
}

Limits limits_from(nb::dict values) {
  Limits limits;
  for (auto [key, value] : values) {
    auto name = nb::cast<std::string>(key);
    bool known = false;
    for (const LimitInfo& info : kLimitTable) {
      if (info.name != name) continue;
      limits.*info.field = nb::cast<std::uint64_t>(value);
      known = true;
    }
    if (!known) raise(PyExc_TypeError, "unknown limit '" + name + "'");
  }
  return limits;
}

CompressionOptions compression_from(nb::dict values) {
  CompressionOptions options;
  for (nb::handle item : nb::cast<nb::sequence>(values["codings"])) {
    const auto name = nb::cast<std::string>(item);
    Coding found = Coding::identity;
    for (Coding coding : {Coding::gzip, Coding::br, Coding::zstd})
      if (coding_name(coding) == name) found = coding;
    if (found == Coding::identity)
      raise(PyExc_ValueError, "'" + name + "' is no content coding: gzip, br or zstd");
    if (!coding_available(found))
      raise(PyExc_RuntimeError, "this build of fasterapi-http has no " + name +
                                    ": it was built without the library (libbrotli-dev, libzstd-dev)");
    options.codings.push_back(found);
  }
  options.minimum_size = nb::cast<std::uint64_t>(values["minimum_size"]);
  options.maximum_size = nb::cast<std::uint64_t>(values["maximum_size"]);
  auto level = [&](const char* name, int lowest, int highest) {
    const int value = nb::cast<int>(values[name]);
    if (value < lowest || value > highest)
      raise(PyExc_ValueError,
            std::string(name) + " must be from " + std::to_string(lowest) + " to " + std::to_string(highest));
    return value;
  };
  options.gzip_level = level("gzip_level", 1, 9);
  options.br_level = level("br_level", 0, 11);
  options.zstd_level = level("zstd_level", 1, 19);
  return options;
}

template <class Enum>
Enum one_of(std::string_view text, std::initializer_list<std::pair<const char*, Enum>> choices, const char* what) {
  std::string known;
  for (auto [name, value] : choices) {
    if (text == name) return value;
    known += known.empty() ? "" : ", ";
    known += name;
  }
  raise(PyExc_ValueError, std::string(what) + ": '" + std::string(text) + "' is not one of " + known);
}

Arg arg_from(nb::handle item) {
  if (!PyTuple_Check(item.ptr()) || PyTuple_GET_SIZE(item.ptr()) != 5)
    raise(PyExc_TypeError, "an argument is a tuple (source, name, convert, required, default)");
  auto at = [&](int i) { return PyTuple_GET_ITEM(item.ptr(), i); };
  Arg arg{};
  arg.source = one_of<Source>(nb::cast<std::string_view>(nb::handle(at(0))),
                              {{"request", Source::request},
                               {"response", Source::response},
                               {"path", Source::path},
                               {"query", Source::query},
                               {"query_list", Source::query_list},
                               {"header", Source::header},
                               {"cookie", Source::cookie},
                               {"body_json", Source::body_json},
                               {"body_bytes", Source::body_bytes}},
                              "source of an argument");
  if (at(1) != Py_None) arg.name = nb::cast<std::string>(nb::handle(at(1)));
  if (arg.source == Source::header)
    for (char& c : arg.name)
      if (c >= 'A' && c <= 'Z') c |= 0x20;
  if (at(2) == Py_None) {
    arg.convert = arg.source == Source::body_json ? Convert::json : Convert::str;
  } else if (PyUnicode_Check(at(2))) {
    arg.convert = one_of<Convert>(
        nb::cast<std::string_view>(nb::handle(at(2))),
        {{"str", Convert::str}, {"int", Convert::integer}, {"float", Convert::real}, {"bool", Convert::boolean}},
        "conversion of an argument");
  } else if (PyCallable_Check(at(2))) {
    arg.convert = Convert::callable;
    arg.callable = Ref::borrow(at(2));
  } else {
    raise(PyExc_TypeError, "the conversion of an argument is a name, a callable or None");
  }
  arg.required = PyObject_IsTrue(at(3)) == 1;
  arg.default_ = Ref::borrow(at(4));
  return arg;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields fields_from(nb::handle headers) {
  Fields fields;
  nb::object items = PyMapping_Check(headers.ptr()) && !PySequence_Check(headers.ptr())
                         ? nb::steal(PyMapping_Items(headers.ptr()))
                     : PyDict_Check(headers.ptr()) ? nb::steal(PyMapping_Items(headers.ptr()))
                                                   : nb::borrow(headers);
  for (nb::handle item : items) {
    auto name = nb::cast<std::string>(item[0]), value = nb::cast<std::string>(item[1]);
    if (!valid_field_name(name) || !valid_field_value(value))
      raise(PyExc_ValueError, "header '" + name + "' has a name or value that HTTP does not allow");
    fields.emplace_back(std::move(name), std::move(value));
  }
  return fields;
}

void check_media_type(const std::string& media_type) {
  if (!valid_field_value(media_type)) raise(PyExc_ValueError, "media_type must not contain control characters");
}

void check_status(int status) {
  if (status < 100 || status > 999) raise(PyExc_ValueError, "status must be between 100 and 999");
}

void throw_route_error(const RouteError& error) {
  raise(error.conflict && python.route_conflict ? python.route_conflict : PyExc_ValueError, error.text);
}

void add_handler(PyServer& self, const std::vector<std::string>& methods, const std::string& path,
                 std::shared_ptr<RequestHandler> handler, std::uint64_t max_body, bool stream_body = false) {
  if (self.server.frozen()) raise(PyExc_RuntimeError, "the server's routes are frozen");
  std::vector<std::string_view> names(methods.begin(), methods.end());
  if (RouteError error = self.server.add_route(names, path, std::move(handler), max_body, stream_body))
    throw_route_error(error);
}

void add_route(PyServer& self, const std::vector<std::string>& methods, const std::string& path,
               nb::object endpoint, std::string_view mode, nb::sequence args, int status,
               const std::string& media_type, nb::object encode, nb::object headers, nb::object slow,
               std::uint64_t max_body, bool stream_body) {
  check_status(status);
  check_media_type(media_type);
  if (!PyCallable_Check(endpoint.ptr())) raise(PyExc_TypeError, "endpoint must be callable");
  auto kind =
      one_of<Mode>(mode, {{"async", Mode::async}, {"inline", Mode::inline_}, {"thread", Mode::thread}}, "mode");
  std::vector<Arg> decoded;
  for (nb::handle item : args) {
    decoded.push_back(arg_from(item));
    bool takes_body = decoded.back().source == Source::body_json || decoded.back().source == Source::body_bytes;
    if (stream_body && takes_body)
      raise(PyExc_ValueError, "a route whose body streams reads it from the request, not by an argument");
  }
  if (stream_body && kind != Mode::async)
    raise(PyExc_ValueError, "only an endpoint of mode \"async\" can read a body that streams");
  ResponsePlan response;
  response.status = status;
  response.media_type = media_type;
  response.fields = fields_from(headers);
  if (PyUnicode_Check(encode.ptr())) {
    response.encode =
        one_of<Encode>(nb::cast<std::string_view>(encode),
                       {{"json", Encode::json}, {"text", Encode::text}, {"bytes", Encode::bytes}}, "encode");
  } else if (PyCallable_Check(encode.ptr())) {
    response.encode = Encode::callable;
    response.callable = Ref::borrow(encode.ptr());
  } else {
    raise(PyExc_TypeError, "encode is \"json\", \"text\", \"bytes\" or a callable");
  }
  auto plan =
      std::make_shared<Plan>(self, endpoint.ptr(), kind, std::move(decoded), std::move(response), slow.ptr());
  plan->route = static_cast<std::uint32_t>(self.server.routes().size());
  add_handler(self, methods, path, plan, max_body, stream_body);
  self.plans.push_back(std::move(plan));
}

void freeze(PyServer& self) {
  if (self.server.frozen()) return;
  if (RouteError error = self.server.freeze()) throw_route_error(error);
  for (auto& plan : self.plans) {
    std::string missing = plan->resolve();
    if (!missing.empty())
      raise(PyExc_ValueError, "the path " + std::string(self.server.routes().pattern(plan->route)) +
                                  " has no parameter named '" + missing + "'");
  }
}

void set_exception_handler(PyServer& self, nb::object handler, bool is_async) {
  if (handler.is_none()) {
    self.exception_handler.reset();
    self.server.set_unmatched(nullptr);
    return;
  }
  self.exception_handler = Ref::borrow(handler.ptr());
  self.exception_handler_is_async = is_async;
  self.server.set_unmatched(make_unmatched_handler(self));
}

void set_access_log(PyServer& self, nb::object callback) {
  if (callback.is_none()) {
    self.access_log.reset();
    return self.server.set_access_log(nullptr);
  }
  self.access_log = Ref::borrow(callback.ptr());
  self.server.set_access_log([&self](const Transaction& tx, std::int64_t elapsed) {
    auto size = [](std::string_view text) { return static_cast<Py_ssize_t>(text.size()); };
    std::string_view client = tx.client();
    Ref method(latin1(tx.head.method_text())), target(latin1(tx.head.target()));
    Ref ignored(method && target
                    ? PyObject_CallFunction(
                          self.access_log.get(), "s#OOsiKL", client.data() ? client.data() : "", size(client),
                          method.get(), target.get(), tx.head.minor_version ? "1.1" : "1.0", tx.status(),
                          static_cast<unsigned long long>(tx.body_bytes_sent()), static_cast<long long>(elapsed))
                    : nullptr);
    if (!ignored) PyErr_WriteUnraisable(self.access_log.get());
  });
}

void set_asgi(PyServer& self, nb::object app) {
  if (!make_asgi_handler) raise(PyExc_NotImplementedError, "this build of fasterapi-http has no ASGI support");
  auto handler = make_asgi_handler(self, app.ptr());
  if (!handler) nb::raise_python_error();
  self.server.set_websocket(handler);
  self.server.set_fallback(std::move(handler), true);
}

/// An application for the handshakes alone; everything else stays with the routes.
void set_websocket_app(PyServer& self, nb::object app) {
  auto handler = make_asgi_handler(self, app.ptr());
  if (!handler) nb::raise_python_error();
  self.server.set_websocket(std::move(handler));
}

void attach(PyServer& self) {
  core::Reactor* reactor = core::py::api->current_reactor();
  if (!reactor) nb::raise_python_error();
  if (self.server.attached() && &self.server.reactor() != reactor)
    raise(PyExc_RuntimeError, "the server was started on another event loop");
  self.server.attach(*reactor);
  self.loop = Ref::borrow(core::py::api->current_loop());
}

void listen(PyServer& self, int fd) {
  if (int error = self.server.listen(fd)) {
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    nb::raise_python_error();
  }
}

void drain(PyServer& self, nb::object emptied, double idle_grace) {
  auto callback = std::make_shared<Ref>(Ref::borrow(emptied.ptr()));
  auto done = [callback] {
    Ref ignored(PyObject_CallNoArgs(callback->get()));
    if (!ignored) PyErr_WriteUnraisable(callback->get());
    callback->reset();
  };
  self.server.drain(done, static_cast<core::Nanos>(idle_grace * 1e9));
}

int server_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  if (!nb::inst_ready(object)) return 0;
  auto& self = *nb::inst_ptr<PyServer>(object);
  Py_VISIT(self.loop.get());  // not cleared: the connections need its reactor until they are gone
  Py_VISIT(self.app.get());
  Py_VISIT(self.on_error.get());
  Py_VISIT(self.exception_handler.get());
  Py_VISIT(self.executor.get());
  Py_VISIT(self.access_log.get());
  for (auto& plan : self.plans)
    if (int stop = plan->traverse(visit, arg)) return stop;
  return 0;
}

int server_clear(PyObject* object) {
  auto& self = *nb::inst_ptr<PyServer>(object);
  self.app.reset();
  self.on_error.reset();
  self.exception_handler.reset();
  self.executor.reset();
  self.access_log.reset();
  for (auto& plan : self.plans) plan->clear();
  return 0;
}

PyType_Slot server_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(server_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(server_clear)},
                              {0, nullptr}};

void bind_server(nb::module_& module) {
  nb::class_<PyServer>(module, "NativeServer", nb::type_slots(server_slots))
      .def(
          "__init__",
          [](PyServer* self, nb::dict limits, nb::object headers, bool date_header, bool redirect_slashes,
             std::string_view order, bool ws_per_message_deflate, int ws_deflate_window,
             std::vector<std::string> ws_allowed_origins, const NativeTls* tls, nb::object compression,
             bool decode_requests) {
            ServerOptions options;
            options.limits = limits_from(limits);
            options.fields = fields_from(headers);
            options.date_header = date_header;
            options.redirect_slashes = redirect_slashes;
            options.order = one_of<RouteOrder>(
                order, {{"registration", RouteOrder::registration}, {"specificity", RouteOrder::specificity}},
                "order");
            if (ws_deflate_window && (ws_deflate_window < 9 || ws_deflate_window > 15))
              raise(PyExc_ValueError, "ws_deflate_window is 0 or from 9 to 15");
            if (!compression.is_none()) options.compression = compression_from(nb::cast<nb::dict>(compression));
            options.decode_requests = decode_requests;
            options.websocket.deflate = ws_per_message_deflate;
            options.websocket.deflate_window_bits = ws_deflate_window;
            options.websocket.allowed_origins = std::move(ws_allowed_origins);
            if (tls) options.tls = tls->context;
            new (self) PyServer(std::move(options));
          },
          nb::arg("limits"), nb::arg("headers"), nb::arg("date_header"), nb::arg("redirect_slashes"),
          nb::arg("order"), nb::arg("ws_per_message_deflate"), nb::arg("ws_deflate_window"),
          nb::arg("ws_allowed_origins"), nb::arg("tls").none(), nb::arg("compression").none(),
          nb::arg("decode_requests"))
      .def("_bind", [](nb::handle self) { nb::cast<PyServer&>(self).self = self.ptr(); })
      .def("_add_route", &add_route, nb::arg("methods"), nb::arg("path"), nb::arg("endpoint"), nb::arg("mode"),
           nb::arg("args"), nb::arg("status"), nb::arg("media_type"), nb::arg("encode"), nb::arg("headers"),
           nb::arg("slow").none(), nb::arg("max_body"), nb::arg("stream_body"))
      .def("_add_static",
           [](PyServer& self, const std::vector<std::string>& methods, const std::string& path, int status,
              const std::string& media_type, nb::bytes body, nb::object headers) {
             check_status(status);
             check_media_type(media_type);
             add_handler(
                 self, methods, path,
                 make_static_handler(self, status, media_type, {body.c_str(), body.size()}, fields_from(headers)),
                 0);
           })
      .def("_add_endpoint",
           [](PyServer& self, const std::vector<std::string>& methods, const std::string& path,
              nb::object capsule) {
             std::size_t max_body = 0;
             auto handler = make_endpoint_handler(capsule.ptr(), max_body);
             if (!handler) nb::raise_python_error();
             add_handler(self, methods, path, std::move(handler), max_body);
           })
      .def("freeze", &freeze)
      .def("_set_exception_handler", &set_exception_handler, nb::arg("handler").none(), nb::arg("is_async"))
      .def(
          "_set_on_error",
          [](PyServer& self, nb::object callback) {
            self.on_error = Ref::borrow(callback.is_none() ? nullptr : callback.ptr());
          },
          nb::arg("callback").none())
      .def("_set_access_log", &set_access_log, nb::arg("callback").none())
      .def("_set_asgi", &set_asgi)
      .def("_set_websocket_app", &set_websocket_app)
      .def_prop_rw(
          "app", [](PyServer& self) { return self.app ? nb::borrow(self.app.get()) : nb::none(); },
          [](PyServer& self, nb::object app) { self.app = Ref::borrow(app.is_none() ? nullptr : app.ptr()); },
          nb::for_setter(nb::arg("app").none()))
      .def("_attach", &attach)
      .def("_listen", &listen)
      .def("_adopt", [](PyServer& self, int fd) { self.server.adopt(fd); })
      .def("_stop_listening", [](PyServer& self) { self.server.stop_listening(); })
      .def("_drain", &drain, nb::arg("emptied"), nb::arg("idle_grace") = 0.0)
      .def("_abort", [](PyServer& self) { self.server.abort_connections(); })
      .def("_take_executor",
           [](PyServer& self) { return self.executor ? nb::steal(self.executor.release()) : nb::none(); })
      .def_prop_ro("frozen", [](PyServer& self) { return self.server.frozen(); })
      .def_prop_ro("draining", [](PyServer& self) { return self.server.draining(); })
      .def_prop_ro("connections", [](PyServer& self) { return self.server.connections(); })
      .def_prop_ro("requests", [](PyServer& self) { return self.server.counters().requests; })
      .def_prop_ro("connections_accepted",
                   [](PyServer& self) { return self.server.counters().connections_accepted; })
      .def_prop_ro("connections_refused",
                   [](PyServer& self) { return self.server.counters().connections_refused; })
      .def_prop_ro("protocol_errors", [](PyServer& self) { return self.server.counters().protocol_errors; })
      .def_prop_ro("timeouts", [](PyServer& self) { return self.server.counters().timeouts; });
}

void configure(nb::kwargs parts) {
  auto take = [&](const char* name) {
    nb::object part = nb::borrow(parts[name]);
    return part.release().ptr();  // for the life of the process
  };
  python.http_exception = take("http_exception");
  python.route_conflict = take("route_conflict");
  python.address = take("address");
  python.url = take("url");
  python.state = take("state");
  python.drive_stream = take("drive_stream");
  python.file_response = take("file_response");
  python.form_error = take("form_error");
  python.read_form = take("read_form");
  python.client_disconnect = take("client_disconnect");
  python.ws_disconnected = take("ws_disconnected");
  python.tls_error = take("tls_error");
  python.identity = take("identity");
  python.cancelled = take("cancelled");
  python.report = take("report");
  python.uuid = take("uuid");
  python.make_executor = take("make_executor");
  python.format_cookie = take("format_cookie");
  python.format_deletion = take("format_deletion");
}

nb::list limit_table() {
  nb::list rows;
  for (const LimitInfo& info : kLimitTable)
    rows.append(nb::make_tuple(info.name, info.default_value, info.unit, info.status, info.code));
  return rows;
}

}  // namespace
}  // namespace fasterapi::http::py

NB_MODULE(_http, module) {
  namespace py = fasterapi::http::py;
  if (!fasterapi::core::py::import_core()) nb::raise_python_error();
  nb::set_leak_warnings(false);  // servers that live until the interpreter ends
  if (!py::init_awaitables(module.ptr()) || !py::init_headers(module.ptr()) || !py::init_query(module.ptr()) ||
      !py::init_request(module.ptr()) || !py::init_response(module.ptr()) || !py::init_writer(module.ptr()))
    nb::raise_python_error();
  py::bind_tls(module);
  py::bind_server(module);
  py::bind_operations(module);
  module.def("configure", &py::configure);
  module.def("limit_table", &py::limit_table);
  module.def("available_codings", [] {
    nb::list names;
    using fasterapi::http::Coding;
    for (Coding coding : {Coding::br, Coding::zstd, Coding::gzip})
      if (fasterapi::http::coding_available(coding)) names.append(fasterapi::http::coding_name(coding));
    return names;
  });
  module.def("simd_tier", [] { return fasterapi::http::simd_tier(); });
  py::bind_files(module);
  py::bind_forms(module);
  if (py::bind_asgi) py::bind_asgi(module);
}
