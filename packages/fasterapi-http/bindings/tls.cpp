// NativeTls: certificates and rules of a TLS server, and what a connection's scope says of them.
#include "tls.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <fasterapi/core/error.hpp>
#include <fasterapi/http/transaction.hpp>

#include "common.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {
namespace {

core::TlsIdentity identity_from(nb::handle item) {
  return {nb::cast<std::string>(item[0]), nb::cast<std::string>(item[1]), nb::cast<std::string>(item[2])};
}

core::TlsServerOptions options_from(nb::dict values) {
  core::TlsServerOptions options;
  auto text = [&](const char* name) { return nb::cast<std::string>(values[name]); };
  bool first = true;
  for (nb::handle item : values["certificates"]) {
    core::TlsIdentity identity = identity_from(item);
    if (std::exchange(first, false)) {
      options.cert_file = std::move(identity.cert_file);
      options.key_file = std::move(identity.key_file);
      options.key_password = std::move(identity.key_password);
    } else {
      options.more_certs.push_back(std::move(identity));
    }
  }
  options.refuse_unknown_names = nb::cast<bool>(values["refuse_unknown_names"]);
  options.client_ca_file = text("client_ca_file");
  options.client_ca_dir = text("client_ca_dir");
  options.crl_file = text("crl_file");
  options.verify_client = static_cast<core::TlsVerify>(nb::cast<int>(values["verify_client"]));
  options.alpn = text("alpn");
  options.min_version = text("min_version");
  options.max_version = text("max_version");
  options.ciphers = text("ciphers");
  options.groups = text("groups");
  options.tickets = nb::cast<bool>(values["tickets"]);
  options.ticket_lifetime_s = nb::cast<std::int64_t>(values["ticket_lifetime_s"]);
  const nb::bytes secret = nb::cast<nb::bytes>(values["ticket_secret"]);
  options.ticket_secret.assign(secret.c_str(), secret.size());
  options.allow_unexpected_eof = true;  // HTTP/1.1 messages say themselves where they end
  return options;
}

[[noreturn]] void raise(const core::Error& error) {
  PyErr_SetString(python.tls_error, error.what());
  nb::raise_python_error();
}

}  // namespace

void bind_tls(nb::module_& module) {
  nb::class_<NativeTls>(module, "NativeTls")
      .def("__init__",
           [](NativeTls* self, nb::dict values) {
             const core::TlsServerOptions options = options_from(values);
             try {
               new (self) NativeTls{core::TlsContext::server(options)};
             } catch (const core::Error& error) {
               raise(error);
             }
           })
      .def("reload",
           [](NativeTls& self, nb::dict values) {
             const core::TlsServerOptions options = options_from(values);
             try {
               nb::gil_scoped_release release;  // reads files
               self.context->reload(options);
             } catch (const core::Error& error) {
               raise(error);
             }
           })
      .def_prop_ro("counters", [](const NativeTls& self) {
        const core::TlsCounters counters = self.context->counters();
        nb::dict result;
        result["handshakes"] = counters.handshakes;
        result["resumed"] = counters.resumed;
        result["failed"] = counters.failed;
        result["reloads"] = counters.reloads;
        return result;
      });
}

PyObject* tls_extension(const core::TlsSession& session) noexcept {
  try {
    const std::string own = session.certificate();
    const std::vector<std::string> chain = session.peer_chain();
    auto text = [](const std::string& from) {
      return PyUnicode_FromStringAndSize(from.data(), static_cast<Py_ssize_t>(from.size()));
    };
    Ref server(own.empty() ? Py_NewRef(Py_None) : text(core::pem_certificate(own)));
    Ref certificates(PyList_New(0)), name(chain.empty() ? Py_NewRef(Py_None) : nullptr);
    if (!server || !certificates) return nullptr;
    for (const std::string& der : chain) {
      Ref pem(text(core::pem_certificate(der)));
      if (!pem || PyList_Append(certificates.get(), pem.get()) < 0) return nullptr;
    }
    if (!chain.empty()) name.reset(utf8_lossy(core::describe_certificate(chain.front()).subject));
    if (!name) return nullptr;
    return Py_BuildValue("{s:O,s:O,s:O,s:O,s:i,s:i}", "server_cert", server.get(), "client_cert_chain",
                         certificates.get(), "client_cert_name", name.get(), "client_cert_error", Py_None,
                         "tls_version", session.version_number(), "cipher_suite", session.cipher_number());
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  } catch (const core::Error& error) {
    PyErr_SetString(python.tls_error, error.what());
    return nullptr;
  }
}

}  // namespace fasterapi::http::py
