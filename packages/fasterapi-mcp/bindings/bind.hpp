#pragma once
// The parts of the module `_mcp`.
#include <nanobind/nanobind.h>

namespace fasterapi::mcp {

void bind_call(nanobind::module_& m);
void bind_engine(nanobind::module_& m);
void bind_exchange(nanobind::module_& m);

}  // namespace fasterapi::mcp
