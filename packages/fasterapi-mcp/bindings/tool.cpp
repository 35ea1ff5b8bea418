// Tools whose parameters and results are int, float, str, bool or None: arguments go from JSON text into the
// vectorcall, the result into the answer's template. Whatever is not exactly of the declared kind is left
// to the Python side, which validates and converts with pydantic.
#include <array>
#include <charconv>
#include <cmath>

#include "codec/json_walk.hpp"
#include "engine.hpp"
#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {

using core::py::api;

namespace {

constexpr std::size_t kMaxParams = 16;

/// New reference to the value as Python sees it, or nullptr (no exception) when it is not exactly that kind.
PyObject* convert(const core::json::Span& value, char type) {
  using core::json::Kind;
  switch (type) {
    case 'i': {
      std::int64_t number;
      return core::json::to_int(value, number) ? PyLong_FromLongLong(number) : nullptr;
    }
    case 'f': {
      if (value.kind != Kind::kNumber) return nullptr;
      double number;
      const char* end = value.text.data() + value.text.size();
      auto [stop, error] = std::from_chars(value.text.data(), end, number);
      return error == std::errc() && stop == end ? PyFloat_FromDouble(number) : nullptr;
    }
    case 's': {
      if (value.kind != Kind::kString) return nullptr;
      std::string storage;
      std::string_view text = detail::decode(value.inside(), storage);
      return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
    }
    case 'b':
      if (value.kind == Kind::kTrue) return Py_NewRef(Py_True);
      if (value.kind == Kind::kFalse) return Py_NewRef(Py_False);
      return nullptr;
    default: return nullptr;
  }
}

struct Arguments {
  std::array<PyObject*, kMaxParams + 1> slots{};  // slot 0 is the vectorcall offset
  ~Arguments() {
    for (std::size_t i = 1; i <= kMaxParams; ++i) Py_XDECREF(slots[i]);
  }
  /// False when the Python side must decide.
  bool fill(const Tool& tool, std::string_view text) {
    std::size_t count = tool.params.size();
    if (!text.empty()) {
      core::json::Cursor in(text);
      bool good = detail::walk_object(in, [&](std::string_view key) {
        core::json::Span value;
        if (!in.value(value)) return false;
        for (std::size_t i = 0; i < count; ++i) {
          if (tool.params[i].name != key) continue;
          if (slots[i + 1]) return false;  // given twice
          slots[i + 1] = convert(value, tool.params[i].type);
          return slots[i + 1] != nullptr;
        }
        return false;
      });
      if (!good) {
        PyErr_Clear();
        return false;
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (slots[i + 1]) continue;
      if (tool.params[i].required) return false;
      slots[i + 1] = Py_NewRef(tool.params[i].fallback.get());
    }
    return true;
  }
};

/// The JSON text of a scalar result, or false when its type is not exactly `kind` ('*' takes any scalar).
bool scalar_text(PyObject* result, char kind, OutBuffer& out) {
  if (PyUnicode_CheckExact(result)) {
    if (kind != 's' && kind != '*') return false;
    std::string_view text = py_view(result);
    if (text.data() == nullptr) return false;  // lone surrogates
    write_json_string(out, text);
  } else if (PyBool_Check(result)) {
    if (kind != 'b' && kind != '*') return false;
    out.append(result == Py_True ? "true" : "false");
  } else if (PyLong_CheckExact(result)) {
    if (kind != 'i' && kind != '*') return false;
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(result, &overflow);
    if (overflow) return false;
    out.append_int(number);
  } else if (PyFloat_CheckExact(result)) {
    if (kind != 'f' && kind != '*') return false;
    double number = PyFloat_AS_DOUBLE(result);
    if (!std::isfinite(number)) return false;
    char* text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, nullptr);
    if (!text) return PyErr_Clear(), false;
    out.append(text);
    PyMem_Free(text);
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool Engine::call_native(const std::shared_ptr<Tool>& tool, Message& m, Inbound& in, bool modern) {
  Arguments arguments;
  if (!arguments.fill(*tool, m.arguments)) return false;
  std::size_t nargs = tool->params.size() | PY_VECTORCALL_ARGUMENTS_OFFSET;
  PyObject* const* args = arguments.slots.data() + 1;
  if (tool->mode == Tool::Mode::kAsync) {
    if (calls_ >= options_.max_in_flight)
      return error(in, m.id, kInternalError, "Too many calls in flight", {}, 503), true;
    auto call = make_call(m, in, modern);
    call->tool = tool;
    start(call, tool->fn.get(), args, nargs);
    return true;
  }
  PyRef result, context;
  std::shared_ptr<Tool> keep = tool;  // the function may remove itself
  if (tool->mode == Tool::Mode::kContext) {
    context = PyRef(PyContext_CopyCurrent());
    if (!context || PyContext_Enter(context.get()) < 0) {
      PyErr_Clear();
      return false;
    }
  }
  result = PyRef(PyObject_Vectorcall(keep->fn.get(), args, nargs, nullptr));
  PyRef exception(result ? nullptr : core::py::take_exception());
  if (context && PyContext_Exit(context.get()) < 0) PyErr_Clear();
  if (exception) {
    answer_tool_exception(*in.channel, m.id, *keep, exception.get(), modern);
  } else {
    answer_tool(*in.channel, m.id, *keep, result.get(), modern);
  }
  return true;
}

bool Engine::answer_native(Channel& channel, std::string_view id, const Tool& tool, PyObject* result,
                           bool modern) {
  static thread_local OutBuffer text;
  text.clear();
  bool none = result == Py_None && (tool.returns == 'n' || tool.returns == '*');
  if (none) {
    text.append("null");
  } else if (!scalar_text(result, tool.returns, text)) {
    return false;
  }
  OutBuffer& out = channel.begin();
  write_result_head(out, id);
  if (none) {
    out.append("{\"content\":[]");
  } else {
    out.append("{\"content\":[{\"type\":\"text\",\"text\":");
    bool quoted = text.view().front() == '"';
    if (!quoted) out.push('"');
    out.append(text.view());
    if (!quoted) out.push('"');
    out.append("}]");
  }
  if (tool.structured) {
    out.append(",\"structuredContent\":{\"result\":");
    out.append(text.view());
    out.push('}');
  }
  if (modern) out.append(suffix_);
  out.append("}}");
  channel.end_answer(200);
  return true;
}

void Engine::answer_tool(Channel& channel, std::string_view id, const Tool& tool, PyObject* result, bool modern) {
  if (answer_native(channel, id, tool, result, modern)) return;
  PyRef body(PyObject_CallFunctionObjArgs(tool.convert.get(), result, modern ? Py_True : Py_False, nullptr));
  if (body && PyBytes_Check(body.get())) {
    write_result(channel.begin(), id, py_view(body.get()));
    return channel.end_answer(200);
  }
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a tool's converter must return bytes");
  PyRef exception(core::py::take_exception());
  answer_tool_exception(channel, id, tool, exception.get(), modern);
}

void Engine::answer_tool_exception(Channel& channel, std::string_view id, const Tool& tool, PyObject* exception,
                                   bool modern) {
  PyRef name(py_string(tool.name));
  PyRef body(name ? PyObject_CallFunctionObjArgs(on_exception_.get(), name.get(), exception,
                                                 modern ? Py_True : Py_False, nullptr)
                  : nullptr);
  if (body && PyBytes_Check(body.get())) {
    write_result(channel.begin(), id, py_view(body.get()));
    return channel.end_answer(200);
  }
  PyRef failure(PyErr_Occurred() ? core::py::take_exception() : Py_NewRef(exception));
  answer_exception(channel, id, failure.get(), modern);
}

}  // namespace fasterapi::mcp
