#define PY_SSIZE_T_CLEAN
#include "operations.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include <fasterapi/core/metrics.hpp>

#include "../src/log/access_format.hpp"
#include "../src/log/line_writer.hpp"
#include "../src/server/guard.hpp"
#include "../src/server/handover.hpp"
#include "../src/server/request_metrics.hpp"
#include "plan.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {
namespace {

constexpr std::size_t kLogBound = 1 << 20;

[[noreturn]] void raise_errno(int error, const std::string& path) {
  errno = error;
  if (path.empty())
    PyErr_SetFromErrno(PyExc_OSError);
  else
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, path.c_str());
  nb::raise_python_error();
}

struct AccessLog {
  AccessLog(std::string path, int descriptor) : writer(path, descriptor, kLogBound), path(std::move(path)) {}
  LineWriter writer;
  AccessFormat format;
  std::string line, path;
};

std::shared_ptr<AccessLog> open_access_log(PyServer& server, const std::string& path, int descriptor,
                                           const std::string& format) {
  std::shared_ptr<AccessLog> log;
  AccessFormat compiled;
  std::string error;
  if (!compiled.compile(format, error)) throw nb::value_error(error.c_str());
  try {
    log = std::make_shared<AccessLog>(path, descriptor);
  } catch (const std::system_error& failure) {
    raise_errno(failure.code().value(), path);
  }
  log->format = std::move(compiled);
  server.server.add_observer([log](const Transaction& transaction, std::int64_t elapsed) {
    log->format.write(transaction, elapsed, log->line);
    log->writer.append(log->line);
  });
  return log;
}

void count_requests(PyServer& server) {
  auto metrics = std::make_shared<RequestMetrics>(core::metrics::Registry::process());
  server.server.add_observer(
      [metrics](const Transaction& transaction, std::int64_t elapsed) { metrics->record(transaction, elapsed); });
}

void set_guard(PyServer& server, double rate, double burst, const std::string& key, bool adaptive, double most,
               const std::vector<std::string>& trusted) {
  GuardOptions options;
  options.rate = rate;
  options.burst = burst;
  options.adaptive = adaptive;
  options.max_limit = most;
  options.trusted = networks_from(trusted);
  if (key == "prefix") {
    options.key = GuardOptions::Key::prefix;
  } else if (key.starts_with("header:")) {
    options.key = GuardOptions::Key::header;
    options.header = key.substr(7);
    for (char& c : options.header)
      if (c >= 'A' && c <= 'Z') c |= 0x20;
  } else if (key != "address") {
    throw nb::value_error("the key of a rate limit is address, prefix or header:NAME");
  }
  core::SharedBlock* block = rate > 0 ? &core::metrics::Registry::process().block() : nullptr;
  server.server.set_guard(std::make_unique<Guard>(std::move(options), block));
}

nb::dict guard_state(PyServer& server) {
  nb::dict state;
  const Guard* guard = server.server.guard();
  state["in_flight"] = guard ? guard->in_flight() : 0;
  state["limit"] = guard ? guard->limit() : 0.0;
  state["rate_limited"] = guard ? guard->rate_limited() : 0;
  state["overloaded"] = guard ? guard->overloaded() : 0;
  const Handover* handover = server.server.handover();
  state["handed_over"] = handover ? handover->given() : 0;
  state["taken_over"] = handover ? handover->taken() : 0;
  return state;
}

void set_handover(PyServer& server, int receiver, std::vector<int> senders, std::uint32_t index) {
  auto handover = std::make_unique<Handover>(server.server, core::metrics::Registry::process().block(), receiver,
                                             std::move(senders), index);
  if (int error = server.server.set_handover(std::move(handover))) raise_errno(error, {});
}

}  // namespace

Networks networks_from(const std::vector<std::string>& texts) {
  Networks networks;
  for (const std::string& text : texts)
    if (!networks.add(text)) throw nb::value_error(("'" + text + "' is no address, network or '*'").c_str());
  return networks;
}

void bind_operations(nb::module_& module) {
  nb::class_<AccessLog>(module, "AccessLog")
      .def("reopen",
           [](AccessLog& log) {
             if (int error = log.writer.reopen()) raise_errno(error, log.path);
           })
      .def_prop_ro("dropped", [](AccessLog& log) { return log.writer.dropped(); });
  module.def("open_access_log", &open_access_log, nb::arg("server"), nb::arg("path"), nb::arg("descriptor"),
             nb::arg("format"));
  module.def("check_access_format", [](const std::string& format) {
    AccessFormat compiled;
    std::string error;
    if (!compiled.compile(format, error)) throw nb::value_error(error.c_str());
  });
  module.def("count_requests", &count_requests, nb::arg("server"));
  module.def("set_guard", &set_guard, nb::arg("server"), nb::arg("rate"), nb::arg("burst"), nb::arg("key"),
             nb::arg("adaptive"), nb::arg("most"), nb::arg("trusted"));
  module.def("operation_counters", &guard_state, nb::arg("server"));
  module.def("set_handover", &set_handover, nb::arg("server"), nb::arg("receiver"), nb::arg("senders"),
             nb::arg("index"));
  module.def(
      "set_proxy_protocol",
      [](PyServer& server, const std::vector<std::string>& peers) {
        server.server.set_proxy_protocol(std::make_shared<const Networks>(networks_from(peers)));
      },
      nb::arg("server"), nb::arg("peers"));
}

}  // namespace fasterapi::http::py
