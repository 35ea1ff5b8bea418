#pragma once
// TLS of a server as Python sees it. The GIL is held, but while files are read.
#include <nanobind/nanobind.h>

#include <memory>

#include <fasterapi/core/tls.hpp>

namespace fasterapi::http::py {

struct NativeTls {
  std::shared_ptr<core::TlsContext> context;
};

void bind_tls(nanobind::module_& module);

/// The value of scope["extensions"]["tls"] (ASGI's TLS extension 0.2); null with an exception set.
PyObject* tls_extension(const core::TlsSession& session) noexcept;

}  // namespace fasterapi::http::py
