#pragma once
// What operators set on a server from Python: trusted networks, access log, metrics, limits over all workers.
#include <nanobind/nanobind.h>

#include <string>
#include <vector>

#include "../src/peer/networks.hpp"

namespace fasterapi::http::py {

/// Throws nanobind's value_error for what is no address or network.
Networks networks_from(const std::vector<std::string>& texts);

void bind_operations(nanobind::module_& module);

}  // namespace fasterapi::http::py
