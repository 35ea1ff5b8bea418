// Call and Peer as Python sees them.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "bind.hpp"
#include "engine.hpp"

namespace fasterapi::mcp {

namespace nb = nanobind;
using core::py::api;

namespace {

nb::object decode(std::string_view json) {
  if (json.empty()) return nb::none();
  PyObject* value = api->json_decode(json.data(), json.size(), 0);
  if (!value) nb::raise_python_error();
  return nb::steal(value);
}

std::string_view bytes_of(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

nb::object state_of(Peer& peer) {
  if (!peer.state) peer.state = PyRef(PyDict_New());
  return nb::borrow(peer.state.get());
}

bool notify(Call& call, std::string_view method, const nb::bytes& params) {
  if (call.cancelled || call.finished || !call.channel->streams()) return false;
  write_notification(call.channel->begin(), method, bytes_of(params));
  call.channel->end_event();
  return true;
}

nb::object request(Call& call, std::string_view method, const nb::bytes& params) {
  if (call.modern || !call.peer || call.cancelled || call.finished || !call.channel->streams()) {
    PyErr_SetString(PyExc_ConnectionError, "the client cannot be asked on this connection");
    nb::raise_python_error();
  }
  PyRef future(api->future_new(nullptr));
  if (!future) nb::raise_python_error();
  long long number = call.peer->next_request++;
  call.peer->pending.emplace(number, future);
  write_request(call.channel->begin(), number, method, bytes_of(params));
  call.channel->end_event();
  return nb::steal(future.release());
}

}  // namespace

PyObject* wrap_call(const std::shared_ptr<Call>& call) {
  try {
    return nb::cast(call).release().ptr();
  } catch (nb::python_error& error) {
    error.restore();
    return nullptr;
  }
}

void bind_call(nb::module_& m) {
  nb::class_<Peer>(m, "Peer", "A legacy client: the stdio process or an HTTP session.")
      .def_rw("version", &Peer::version)
      .def_ro("session_id", &Peer::session_id)
      .def_prop_ro("state", &state_of)
      .def_prop_ro("listening", [](Peer& peer) { return peer.stream && peer.stream->streams(); })
      .def("send", [](Peer& peer, std::string_view method, const nb::bytes& params) {
        return peer.send(method, bytes_of(params));
      });

  nb::class_<Call>(m, "Call", "One request that waits for its result.")
      .def_prop_ro("id", [](Call& call) { return decode(call.id); })
      .def_prop_ro("id_json", [](Call& call) { return nb::bytes(call.id.data(), call.id.size()); })
      .def_ro("method", &Call::method)
      .def_ro("modern", &Call::modern)
      .def_ro("version", &Call::version)
      .def_ro("cancelled", &Call::cancelled)
      .def_ro("log_level", &Call::log_level)
      .def_prop_ro("progress_token", [](Call& call) { return decode(call.progress_token); })
      .def_prop_ro("params",
                   [](Call& call) -> nb::object {
                     return call.params.empty() ? nb::object(nb::dict()) : decode(call.params);
                   })
      .def_prop_ro("peer",
                   [](Call& call) {
                     if (!call.peer) call.peer = std::make_shared<Peer>("");
                     return call.peer;
                   })
      .def_prop_ro("http", [](Call& call) { return call.channel->is_http(); })
      .def_prop_ro("streams", [](Call& call) { return call.channel->streams(); })
      .def(
          "header",
          [](Call& call, std::string_view lower_name) -> nb::object {
            std::string_view value = call.channel->header(lower_name);
            if (!value.data()) return nb::none();
            return nb::steal(PyUnicode_DecodeLatin1(value.data(), static_cast<Py_ssize_t>(value.size()), nullptr));
          })
      .def("decoded_header",
           [](Call& call, std::string_view lower_name) -> nb::object {
             std::string_view value = call.channel->header(lower_name);
             std::string text;
             if (!value.data() || !decode_header_value(value, text)) return nb::none();
             return nb::steal(py_string(text));
           })
      .def("close_stream", [](Call& call) { return call.channel->detach_stream(); })
      .def("notify", &notify)
      .def("request", &request);
}

}  // namespace fasterapi::mcp
