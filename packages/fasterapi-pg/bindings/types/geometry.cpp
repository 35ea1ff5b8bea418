// Geometric types and bit strings, as instances of the classes given to set_value_types().
#define PY_SSIZE_T_CLEAN  // Python 3.11 and 3.12 refuse the # formats without it
#include "protocol/wire.hpp"
#include "types/scalar.hpp"

namespace fasterapi::pg::py {
namespace {

using wire::get_f64;

PyObject* unset(const char* name) {
  PyErr_Format(PyExc_RuntimeError, "set_value_types() was not given %s", name);
  return nullptr;
}

PyObject* make_point(const char* p) {
  if (!value_types.point) return unset("Point");
  return PyObject_CallFunction(value_types.point, "dd", get_f64(p), get_f64(p + 8));
}

/// Appends the `count` floats found by walking `v` (numbers, or sequences of numbers) to `out`.
bool put_floats(PyObject* v, std::size_t count, OutBuffer& out) {
  std::size_t before = out.size();
  auto walk = [&](auto& self, PyObject* o, int depth) -> bool {
    if (PyFloat_Check(o) || PyLong_Check(o) || depth > 3) {
      double d = PyFloat_AsDouble(o);
      if (d == -1.0 && PyErr_Occurred()) return false;
      out.commit(wire::put64(out.reserve(8), std::bit_cast<std::uint64_t>(d)));
      return true;
    }
    if (!PySequence_Check(o)) {
      PyErr_Format(PyExc_TypeError, "'%s' object is not subscriptable", Py_TYPE(o)->tp_name);
      return false;
    }
    Ref fast(PySequence_Fast(o, "a sequence of numbers expected"));
    if (!fast) return false;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) {
      if (!self(self, PySequence_Fast_GET_ITEM(fast.get(), i), depth + 1)) return false;
    }
    return true;
  };
  if (!walk(walk, v, 0)) return false;
  if (count && out.size() - before != count * 8) {
    PyErr_Format(PyExc_ValueError, "expected %zu numbers, got %zu", count, (out.size() - before) / 8);
    return false;
  }
  return true;
}

bool fixed_floats(PyObject* v, std::size_t count, OutBuffer& out) {
  out.commit(wire::put32(out.reserve(4), static_cast<std::uint32_t>(count * 8)));
  return put_floats(v, count, out);
}

PyObject* point_tuple(const char* p, std::uint32_t count) {
  Ref t(PyTuple_New(count));
  for (std::uint32_t i = 0; t && i < count; ++i) {
    PyObject* point = make_point(p + std::size_t{i} * 16);
    if (!point) return nullptr;
    PyTuple_SET_ITEM(t.get(), i, point);
  }
  return t.release();
}

PyObject* two_points(PyObject* cls, const char* name, const char* p) {
  if (!cls) return unset(name);
  Ref t(point_tuple(p, 2));
  return t ? PyObject_CallObject(cls, t.get()) : nullptr;
}

}  // namespace

PyObject* decode_point(const Type& t, const char* p, std::int32_t n) {
  return n == 16 ? make_point(p) : malformed(t);
}
bool encode_point(const Type&, PyObject* v, OutBuffer& out) { return fixed_floats(v, 2, out); }

PyObject* decode_lseg(const Type& t, const char* p, std::int32_t n) {
  return n == 32 ? two_points(value_types.line_segment, "LineSegment", p) : malformed(t);
}
bool encode_lseg(const Type&, PyObject* v, OutBuffer& out) { return fixed_floats(v, 4, out); }

PyObject* decode_box(const Type& t, const char* p, std::int32_t n) {
  return n == 32 ? two_points(value_types.box, "Box", p) : malformed(t);
}
bool encode_box(const Type&, PyObject* v, OutBuffer& out) { return fixed_floats(v, 4, out); }

PyObject* decode_line(const Type& t, const char* p, std::int32_t n) {
  if (n != 24) return malformed(t);
  if (!value_types.line) return unset("Line");
  return PyObject_CallFunction(value_types.line, "ddd", get_f64(p), get_f64(p + 8), get_f64(p + 16));
}
bool encode_line(const Type&, PyObject* v, OutBuffer& out) { return fixed_floats(v, 3, out); }

PyObject* decode_circle(const Type& t, const char* p, std::int32_t n) {
  if (n != 24) return malformed(t);
  if (!value_types.circle) return unset("Circle");
  Ref center(make_point(p));
  return center ? PyObject_CallFunction(value_types.circle, "Od", center.get(), get_f64(p + 16)) : nullptr;
}
bool encode_circle(const Type&, PyObject* v, OutBuffer& out) { return fixed_floats(v, 3, out); }

PyObject* decode_path(const Type& t, const char* p, std::int32_t n) {
  wire::Reader in({p, static_cast<std::size_t>(n)});
  bool closed = in.u8() != 0;
  std::uint32_t count = in.u32();
  if (!in.ok() || in.left() != std::size_t{count} * 16) return malformed(t);
  if (!value_types.path) return unset("Path");
  Ref points(point_tuple(in.at(), count));
  Ref kwargs(points ? Py_BuildValue("{s:O}", "is_closed", closed ? Py_True : Py_False) : nullptr);
  return kwargs ? PyObject_Call(value_types.path, points.get(), kwargs.get()) : nullptr;
}
bool encode_path(const Type&, PyObject* v, OutBuffer& out) {
  bool closed;
  if (PyList_Check(v)) {
    closed = false;
  } else if (PyTuple_Check(v)) {
    closed = true;
  } else {
    Ref a(PyObject_GetAttrString(v, "is_closed"));
    int x = a ? PyObject_IsTrue(a.get()) : -1;
    if (x < 0) return false;
    closed = x;
  }
  std::size_t mark = out.size();
  char* p = wire::put32(out.reserve(9), 0);
  *p++ = closed;
  out.commit(wire::put32(p, 0));
  Ref list(PySequence_List(v));
  if (!list || !put_floats(list.get(), 0, out)) return false;
  std::size_t bytes = out.size() - mark - 9;
  wire::put32(out.data() + mark + 5, static_cast<std::uint32_t>(bytes / 16));
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(bytes + 5));
  return true;
}

PyObject* decode_polygon(const Type& t, const char* p, std::int32_t n) {
  wire::Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  if (!in.ok() || in.left() != std::size_t{count} * 16) return malformed(t);
  if (!value_types.polygon) return unset("Polygon");
  Ref points(point_tuple(in.at(), count));
  return points ? PyObject_CallObject(value_types.polygon, points.get()) : nullptr;
}
bool encode_polygon(const Type&, PyObject* v, OutBuffer& out) {
  std::size_t mark = out.size();
  out.commit(wire::put32(wire::put32(out.reserve(8), 0), 0));
  Ref list(PySequence_List(v));
  if (!list || !put_floats(list.get(), 0, out)) return false;
  std::size_t bytes = out.size() - mark - 8;
  wire::put32(out.data() + mark + 4, static_cast<std::uint32_t>(bytes / 16));
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(bytes + 4));
  return true;
}

PyObject* decode_bit(const Type& t, const char* p, std::int32_t n) {
  wire::Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t bits = in.u32();
  if (!in.ok() || in.left() != (std::size_t{bits} + 7) / 8) return malformed(t);
  if (!value_types.bit_string) return unset("BitString");
  return PyObject_CallMethod(value_types.bit_string, "frombytes", "y#I", in.at(),
                             static_cast<Py_ssize_t>(in.left()), bits);
}
bool encode_bit(const Type&, PyObject* v, OutBuffer& out) {
  Ref made;
  if (PyUnicode_Check(v) && value_types.bit_string) {
    made = Ref(PyObject_CallOneArg(value_types.bit_string, v));
    if (!made) return false;
    v = made.get();
  }
  Ref bytes;
  Py_ssize_t bits;
  if (PyBytes_Check(v)) {
    bytes = Ref::borrow(v);
    bits = PyBytes_GET_SIZE(v) * 8;
  } else {
    bytes = Ref(PyObject_GetAttrString(v, "bytes"));
    if (!bytes) return false;
    bits = PyObject_Size(v);
    if (bits < 0) return false;
  }
  if (!PyBytes_Check(bytes.get()) || PyBytes_GET_SIZE(bytes.get()) != (bits + 7) / 8 || bits > 0x7fffffff) {
    PyErr_SetString(PyExc_ValueError, "invalid bit string");
    return false;
  }
  auto size = static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get()));
  char* p = wire::put32(out.reserve(8 + size), static_cast<std::uint32_t>(4 + size));
  p = wire::put32(p, static_cast<std::uint32_t>(bits));
  std::memcpy(p, PyBytes_AS_STRING(bytes.get()), size);
  out.commit(p + size);
  return true;
}

}  // namespace fasterapi::pg::py
