// Exchange: one HTTP request driven through a core::Endpoint from Python. For hosting the endpoint in a
// server that is not ours (ASGI), and for tests.
#include <algorithm>

#define PY_SSIZE_T_CLEAN  // Python 3.11 and 3.12 refuse the # formats without it
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <fasterapi/core/endpoint.hpp>

#include "bind.hpp"
#include "engine.hpp"

namespace fasterapi::mcp {

namespace nb = nanobind;
using core::HeaderField;

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

class Request final : public core::RequestView {
 public:
  Request(const std::string& method, const std::string& path, const std::string& query, const Fields& headers,
          std::string_view body, const std::string& client)
      : method_(method), path_(path), query_(query), body_(body), client_(client) {
    fields_.reserve(headers.size());
    for (auto& [name, value] : headers) fields_.push_back({name, value});
  }
  std::string_view method() const noexcept override { return method_; }
  std::string_view path() const noexcept override { return path_; }
  std::string_view query() const noexcept override { return query_; }
  std::span<const HeaderField> headers() const noexcept override { return fields_; }
  std::string_view header(std::string_view lower_name) const noexcept override {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    for (auto& field : fields_) {
      if (field.name.size() == lower_name.size() &&
          std::equal(field.name.begin(), field.name.end(), lower_name.begin(),
                     [&](char a, char b) { return lower(a) == b; }))
        return field.value.data() ? field.value : std::string_view("");
    }
    return {};
  }
  std::string_view body() const noexcept override { return body_; }
  std::string_view client() const noexcept override { return client_; }

 private:
  std::string_view method_, path_, query_, body_, client_;
  std::vector<HeaderField> fields_;
};

/// Forwards the answer to a Python object with respond(), start(), write() and finish().
class PyResponder final : public core::Responder {
 public:
  explicit PyResponder(PyObject* sink) : sink_(PyRef::borrow(sink)) {}

  void respond(int status, std::string_view content_type, std::span<const HeaderField> headers,
               std::string_view body) noexcept override {
    if (done_) return;
    done_ = true;
    PyRef list(header_list(headers));
    call("respond", list ? Py_BuildValue("(is#Oy#)", status, content_type.data() ? content_type.data() : "",
                                         static_cast<Py_ssize_t>(content_type.size()), list.get(),
                                         body.data() ? body.data() : "", static_cast<Py_ssize_t>(body.size()))
                         : nullptr);
  }
  void start(int status, std::string_view content_type, std::span<const HeaderField> headers) noexcept override {
    if (done_) return;
    started_ = true;
    PyRef list(header_list(headers));
    call("start", list ? Py_BuildValue("(is#O)", status, content_type.data(),
                                       static_cast<Py_ssize_t>(content_type.size()), list.get())
                       : nullptr);
  }
  bool write(std::string_view chunk) noexcept override {
    if (done_) return true;
    return call("write", Py_BuildValue("(y#)", chunk.data(), static_cast<Py_ssize_t>(chunk.size())));
  }
  void finish() noexcept override {
    if (done_) return;
    done_ = true;
    call("finish", PyTuple_New(0));
  }
  void on_disconnect(void (*fn)(void*) noexcept, void* arg) noexcept override { fn_ = fn, arg_ = arg; }
  bool connected() const noexcept override { return !gone_; }
  void retain() noexcept override { ++references_; }
  void release() noexcept override {
    if (--references_ != 0) return;
    if (!done_ && !gone_) respond(500, {}, {}, {});
    delete this;
  }

  void disconnect() {
    if (gone_ || done_) return;
    gone_ = done_ = true;
    if (auto fn = std::exchange(fn_, nullptr)) fn(arg_);
  }

 private:
  static PyObject* header_list(std::span<const HeaderField> headers) {
    PyRef list(PyList_New(0));
    for (auto& field : headers) {
      PyRef pair(Py_BuildValue("(s#s#)", field.name.data(), static_cast<Py_ssize_t>(field.name.size()),
                               field.value.data(), static_cast<Py_ssize_t>(field.value.size())));
      if (!list || !pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
    }
    return list.release();
  }
  bool call(const char* method, PyObject* owned_args) noexcept {
    PyRef args(owned_args);
    PyRef fn(args ? PyObject_GetAttrString(sink_.get(), method) : nullptr);
    PyRef result(fn ? PyObject_Call(fn.get(), args.get(), nullptr) : nullptr);
    if (!result) PyErr_WriteUnraisable(sink_.get());
    return result.get() != Py_False;
  }
  PyRef sink_;
  std::size_t references_ = 0;
  void (*fn_)(void*) noexcept = nullptr;
  void* arg_ = nullptr;
  bool started_ = false, done_ = false, gone_ = false;
};

/// Keeps the responder, so that Python can say that the client has left.
struct Exchange {
  explicit Exchange(PyResponder* responder) : responder(responder) { responder->retain(); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() { responder->release(); }
  PyResponder* responder;
};

}  // namespace

void bind_exchange(nb::module_& m) {
  nb::class_<Exchange>(m, "Exchange", "One HTTP request that a core Endpoint answers into a Python sink.")
      .def(
          "__init__",
          [](Exchange* self, nb::capsule endpoint, nb::object sink, const std::string& method,
             const std::string& path, const std::string& query, const Fields& headers, nb::bytes body,
             const std::string& client) {
            auto* target =
                static_cast<core::Endpoint*>(PyCapsule_GetPointer(endpoint.ptr(), core::kEndpointCapsule));
            if (!target) nb::raise_python_error();
            new (self) Exchange(new PyResponder(sink.ptr()));
            Request request(method, path, query, headers, {body.c_str(), body.size()}, client);
            target->handle(request, *self->responder);
          },
          nb::arg("endpoint"), nb::arg("sink"), nb::arg("method"), nb::arg("path"), nb::arg("query"),
          nb::arg("headers"), nb::arg("body"), nb::arg("client") = "")
      .def("disconnect", [](Exchange& self) { self.responder->disconnect(); });
  m.def("endpoint_max_body", [](nb::capsule endpoint) {
    auto* target = static_cast<core::Endpoint*>(PyCapsule_GetPointer(endpoint.ptr(), core::kEndpointCapsule));
    if (!target) nb::raise_python_error();
    return target->max_body();
  });
}

}  // namespace fasterapi::mcp
