#pragma once
// fasterapi_core.Fragment: JSON text that json_dumps() writes as it is.
#include <Python.h>

#include <string_view>

namespace fasterapi::core::py {

extern PyTypeObject* FragmentType;

/// The text of a Fragment; false with an exception when it is a str that has no UTF-8 form.
bool fragment_text(PyObject* fragment, std::string_view& text);
bool add_json_fragment(PyObject* module);

}  // namespace fasterapi::core::py
