#pragma once
// NumPy arrays and scalars for the JSON encoder, through the buffer protocol: NumPy itself is not needed to build
// and is looked up only when a program has imported it.
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "json_ref.hpp"

namespace fasterapi::core::py {

/// NumPy's types, kept once a program has imported it.
struct NumpyTypes {
  PyTypeObject* array = nullptr;
  PyTypeObject* scalar = nullptr;  // numpy.generic

  /// False, without an exception, while numpy is not imported.
  bool load() {
    if (array) return true;
    PyObject* modules = PyImport_GetModuleDict();
    PyObject* numpy = modules ? PyDict_GetItemString(modules, "numpy") : nullptr;
    if (!numpy) return false;
    const auto take = [&](const char* name) {
      return reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(numpy, name));
    };
    PyTypeObject *a = take("ndarray"), *g = take("generic");
    if (!a || !g || !PyType_Check(a) || !PyType_Check(g)) {  // half imported, or something else of that name
      PyErr_Clear();
      Py_XDECREF(a);
      Py_XDECREF(g);
      return false;
    }
    array = a;
    scalar = g;
    return true;
  }
};

enum class NumpyKind : std::uint8_t { none, boolean, integer, natural, half, single, real };

struct NumpyElement {
  NumpyKind kind = NumpyKind::none;
  std::size_t size = 0;
};

/// What one element is, from its native-order format of the struct module.
inline NumpyElement numpy_element(const Py_buffer& view) noexcept {
  const char* format = view.format ? view.format : "B";
  if (*format == '@' || *format == '=') ++format;
  if (*format == '\0' || format[1] != '\0') return {};
  const auto size = static_cast<std::size_t>(view.itemsize);
  if (*format == '?') return {NumpyKind::boolean, size};
  if (std::strchr("bhilq", *format)) return {NumpyKind::integer, size};
  if (std::strchr("BHILQ", *format)) return {NumpyKind::natural, size};
  if (*format == 'e') return {NumpyKind::half, size};
  if (*format == 'f') return {NumpyKind::single, size};
  if (*format == 'd') return {NumpyKind::real, size};
  return {};
}

template <class Wide, class... Ts>
Wide numpy_load(const char* at, std::size_t size) noexcept {
  Wide value{};
  const auto take = [&](auto narrow) {
    if (sizeof narrow != size) return;
    std::memcpy(&narrow, at, sizeof narrow);
    value = static_cast<Wide>(narrow);
  };
  (take(Ts{}), ...);
  return value;
}
inline std::int64_t numpy_integer(const char* at, std::size_t size) noexcept {
  return numpy_load<std::int64_t, std::int8_t, std::int16_t, std::int32_t, std::int64_t>(at, size);
}
inline std::uint64_t numpy_natural(const char* at, std::size_t size) noexcept {
  return numpy_load<std::uint64_t, std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(at, size);
}
inline float numpy_half(const char* at) noexcept {
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  const std::uint32_t sign = (bits & 0x8000u) << 16, fraction = bits & 0x3FFu;
  std::uint32_t exponent = bits >> 10 & 31u;
  std::uint32_t wide;
  if (exponent == 31) {
    wide = sign | 0x7F800000u | fraction << 13;
  } else if (exponent != 0) {
    wide = sign | (exponent + 112) << 23 | fraction << 13;
  } else {  // subnormal: fraction * 2^-24
    const float value = static_cast<float>(fraction) * 5.9604644775390625e-08f;
    std::memcpy(&wide, &value, 4);
    wide |= sign;
  }
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

}  // namespace fasterapi::core::py
