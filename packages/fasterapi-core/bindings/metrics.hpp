#pragma once
#include <nanobind/nanobind.h>

namespace fasterapi::core::py {
void bind_metrics(nanobind::module_& m);
}
