// The extension fasterapi_mcp._mcp.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "bind.hpp"
#include "engine.hpp"
#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {

namespace nb = nanobind;

namespace {

std::string text_of(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

Tool::Mode mode_of(std::string_view name) {
  if (name == "inline") return Tool::Mode::kInline;
  if (name == "context") return Tool::Mode::kContext;
  if (name == "async") return Tool::Mode::kAsync;
  return Tool::Mode::kSlow;
}

void add_tool(Engine& engine, std::string name, nb::object fn, std::string_view mode, nb::list params,
              char returns, bool structured, nb::object convert) {
  auto tool = std::make_shared<Tool>();
  tool->name = std::move(name);
  tool->fn = PyRef::borrow(fn.ptr());
  tool->mode = mode_of(mode);
  tool->returns = returns;
  tool->structured = structured;
  tool->convert = PyRef::borrow(convert.ptr());
  for (nb::handle item : params) {
    auto entry = nb::cast<nb::tuple>(item);
    Param param{nb::cast<std::string>(entry[0]), nb::cast<std::string>(entry[1]).at(0), nb::cast<bool>(entry[2]),
                PyRef::borrow(nb::object(entry[3]).ptr())};
    tool->params.push_back(std::move(param));
  }
  if (tool->params.size() > 16) tool->mode = Tool::Mode::kSlow;  // the argument array of tool.cpp
  engine.add_tool(std::move(tool));
}

/// What the Python object holds: endpoints, connections and calls keep the engine too.
struct Handle {
  std::shared_ptr<Engine> engine;
  Engine* operator->() const noexcept { return engine.get(); }
  Engine& operator*() const noexcept { return *engine; }
};

int engine_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  auto& engine = nb::inst_ptr<Handle>(self)->engine;
  return engine && engine.use_count() == 1 ? engine->gc_traverse(visit, arg) : 0;
}
int engine_clear(PyObject* self) {
  auto& engine = nb::inst_ptr<Handle>(self)->engine;
  if (engine && engine.use_count() == 1) engine->gc_clear();
  return 0;
}
PyType_Slot engine_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(engine_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(engine_clear)},
                              {0, nullptr}};

}  // namespace

void bind_engine(nb::module_& m) {
  nb::class_<Handle>(m, "Engine", nb::type_slots(engine_slots), "Tables and dispatch of one MCP server.")
      .def("__init__",
           [](Handle* self, nb::object handler, nb::object on_exception) {
             new (self) Handle{std::make_shared<Engine>(handler.ptr(), on_exception.ptr())};
           })
      .def("set_answer", [](Handle& e, std::string method, bool modern,
                            const nb::bytes& body) { e->set_answer(std::move(method), modern, text_of(body)); })
      .def("set_methods",
           [](Handle& e, std::vector<std::string> modern, std::vector<std::string> legacy) {
             e->set_methods(std::move(modern), std::move(legacy));
           })
      .def("set_suffix", [](Handle& e, const nb::bytes& suffix) { e->set_suffix(text_of(suffix)); })
      .def("set_limits",
           [](Handle& e, std::size_t max_message, std::size_t max_sessions, std::size_t max_in_flight,
              double session_idle_s) {
             Options& o = e->options();
             o.max_message = max_message;
             o.max_sessions = max_sessions;
             o.max_in_flight = max_in_flight;
             o.session_idle_ns = static_cast<std::int64_t>(session_idle_s * 1e9);
           })
      .def("set_http",
           [](Handle& e, bool json_response, bool stateless, std::vector<std::string> hosts,
              std::vector<std::string> origins, bool ip_hosts) {
             Options& o = e->options();
             o.json_response = json_response;
             o.stateless = stateless;
             o.hosts = HostPolicy{std::move(hosts), std::move(origins), ip_hosts};
           })
      .def("add_tool",
           [](Handle& e, std::string name, nb::object fn, std::string_view mode, nb::list params, char returns,
              bool structured, nb::object convert) {
             add_tool(*e, std::move(name), fn, mode, params, returns, structured, convert);
           })
      .def("remove_tool", [](Handle& e, const std::string& name) { e->remove_tool(name); })
      .def("serve_stdio",
           [](Handle& e, int in_fd, int out_fd, bool own) {
             PyObject* future = serve_stdio(e.engine, in_fd, out_fd, own);
             if (!future) nb::raise_python_error();
             return nb::steal(future);
           })
      .def("endpoint",
           [](Handle& e) {
             PyObject* capsule = make_endpoint(e.engine);
             if (!capsule) nb::raise_python_error();
             return nb::steal(capsule);
           })
      .def("peers", [](Handle& e) { return e->peers(); })
      .def_prop_ro("calls", [](Handle& e) { return e->calls(); })
      .def("close", [](Handle& e) { e->close(); });
}

}  // namespace fasterapi::mcp

NB_MODULE(_mcp, m) {
  if (!fasterapi::core::py::import_core()) nanobind::raise_python_error();
  nanobind::set_leak_warnings(false);  // a server lives as long as its process; users must not be alarmed
  m.attr("MODERN_VERSION") = std::string(fasterapi::mcp::kModernVersion);
  m.attr("LEGACY_VERSIONS") =
      std::vector<std::string>(fasterapi::mcp::kLegacyVersions.begin(), fasterapi::mcp::kLegacyVersions.end());
  fasterapi::mcp::bind_call(m);
  fasterapi::mcp::bind_engine(m);
  fasterapi::mcp::bind_exchange(m);
}
