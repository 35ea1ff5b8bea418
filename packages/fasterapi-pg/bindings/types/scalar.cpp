// Numbers, text, bytes, uuid, json, network addresses and the server's own identifiers.
#define PY_SSIZE_T_CLEAN  // Python 3.11 and 3.12 refuse the # formats without it
#include <arpa/inet.h>

#include <cmath>
#include <cstring>

#include "protocol/wire.hpp"
#include "types/numeric.hpp"
#include "types/scalar.hpp"

namespace fasterapi::pg::py {

using wire::get16;
using wire::get32;
using wire::get64;

namespace {

PyObject *g_decimal, *g_uuid, *g_safe_unknown, *g_ip_address, *g_ip_interface, *g_ip_network;
PyObject *s_bytes, *s_packed, *s_network, *s_prefixlen, *s_network_address;
Py_ssize_t g_uuid_int_offset = 0, g_uuid_safe_offset = 0;  // slots of UUID instances; 0: use the constructor

bool out_of_range(const char* type) {
  PyErr_Format(PyExc_OverflowError, "value out of %s range", type);
  return false;
}

/// int or an object with __index__ (bool included); floats are refused instead of being cut.
bool integer(PyObject* value, long long low, long long high, const char* name, long long& out) {
  Ref index;
  if (!PyLong_Check(value)) {
    index = Ref(PyNumber_Index(value));
    if (!index) return false;
    value = index.get();
  }
  int overflow = 0;
  out = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow || out < low || out > high) return out_of_range(name);
  return !(out == -1 && PyErr_Occurred());
}

template <class Put>
void fixed(OutBuffer& out, std::uint32_t size, Put put) {
  char* p = wire::put32(out.reserve(4 + size), size);
  put(p);
  out.commit(p + size);
}

bool put_bytes(OutBuffer& out, const char* data, Py_ssize_t size) {
  if (static_cast<std::uint64_t>(size) > 0x3fffffff) return out_of_range("field length (1 GiB)");
  char* p = wire::put32(out.reserve(4 + static_cast<std::size_t>(size)), static_cast<std::uint32_t>(size));
  std::memcpy(p, data, static_cast<std::size_t>(size));
  out.commit(p + size);
  return true;
}

// ---------------------------------------------------------------- addresses

PyObject* network_address(const Type& type, const char* p, std::int32_t size, bool cidr) {
  // family (2: IPv4, 3: IPv6), prefix length, is_cidr, address length, address
  if (size < 4) return malformed(type);
  auto bytes = reinterpret_cast<const unsigned char*>(p);
  bool v6 = bytes[0] == 3;
  int length = v6 ? 16 : 4, bits = bytes[1];
  if ((bytes[0] != 2 && !v6) || bytes[3] != length || size != 4 + length || bits > length * 8)
    return malformed(type);
  char text[INET6_ADDRSTRLEN + 5];
  if (!inet_ntop(v6 ? AF_INET6 : AF_INET, p + 4, text, INET6_ADDRSTRLEN)) return malformed(type);
  PyObject* make = g_ip_address;
  if (cidr || bits != length * 8) {
    std::string prefix = "/" + std::to_string(bits);
    std::strcat(text, prefix.c_str());
    make = cidr ? g_ip_network : g_ip_interface;
  }
  return PyObject_CallFunction(make, "s", text);
}

/// Appends a value of the address family's packed bytes.
bool put_packed(PyObject* packed, long bits, bool cidr, OutBuffer& out) {
  Py_ssize_t length = PyBytes_GET_SIZE(packed);
  if ((length != 4 && length != 16) || bits < 0 || bits > length * 8) return out_of_range("address");
  char* p = wire::put32(out.reserve(24), static_cast<std::uint32_t>(4 + length));
  *p++ = length == 4 ? 2 : 3;
  *p++ = static_cast<char>(bits);
  *p++ = cidr;
  *p++ = static_cast<char>(length);
  std::memcpy(p, PyBytes_AS_STRING(packed), static_cast<std::size_t>(length));
  out.commit(p + length);
  return true;
}

long prefix_length(PyObject* network) {
  Ref prefix(PyObject_GetAttr(network, s_prefixlen));
  return prefix ? PyLong_AsLong(prefix.get()) : -1;
}

/// Where a __slots__ member of `type` lies inside its instances; 0 when it is not such a member.
Py_ssize_t slot_offset(PyObject* type, const char* name) {
  Ref d(PyObject_GetAttrString(type, name));
  if (!d) {
    PyErr_Clear();
    return 0;
  }
  if (Py_TYPE(d.get()) != &PyMemberDescr_Type) return 0;
  const PyMemberDef* member = reinterpret_cast<PyMemberDescrObject*>(d.get())->d_member;
  return member->type == 16 /* T_OBJECT_EX */ ? member->offset : 0;
}

}  // namespace

PyObject* malformed(const Type& type) {
  PyErr_Format(errors.protocol, "malformed value of type %s from the server", type.name.c_str());
  return nullptr;
}

// ---------------------------------------------------------------- bool and integers

PyObject* decode_bool(const Type& t, const char* p, std::int32_t n) {
  return n == 1 ? PyBool_FromLong(*p) : malformed(t);
}
bool encode_bool(const Type&, PyObject* v, OutBuffer& out) {
  if (!PyBool_Check(v)) {
    PyErr_Format(PyExc_TypeError, "a boolean is required (got type %s)", Py_TYPE(v)->tp_name);
    return false;
  }
  fixed(out, 1, [&](char* p) { *p = v == Py_True; });
  return true;
}

PyObject* decode_int2(const Type& t, const char* p, std::int32_t n) {
  return n == 2 ? PyLong_FromLong(static_cast<std::int16_t>(get16(p))) : malformed(t);
}
bool encode_int2(const Type&, PyObject* v, OutBuffer& out) {
  long long x;
  if (!integer(v, INT16_MIN, INT16_MAX, "int16", x)) return false;
  fixed(out, 2, [&](char* p) { wire::put16(p, static_cast<std::uint16_t>(x)); });
  return true;
}

PyObject* decode_int4(const Type& t, const char* p, std::int32_t n) {
  return n == 4 ? PyLong_FromLong(static_cast<std::int32_t>(get32(p))) : malformed(t);
}
bool encode_int4(const Type&, PyObject* v, OutBuffer& out) {
  long long x;
  if (!integer(v, INT32_MIN, INT32_MAX, "int32", x)) return false;
  fixed(out, 4, [&](char* p) { wire::put32(p, static_cast<std::uint32_t>(x)); });
  return true;
}

PyObject* decode_int8(const Type& t, const char* p, std::int32_t n) {
  return n == 8 ? PyLong_FromLongLong(static_cast<std::int64_t>(get64(p))) : malformed(t);
}
bool encode_int8(const Type&, PyObject* v, OutBuffer& out) {
  long long x;
  if (!integer(v, INT64_MIN, INT64_MAX, "int64", x)) return false;
  fixed(out, 8, [&](char* p) { wire::put64(p, static_cast<std::uint64_t>(x)); });
  return true;
}

PyObject* decode_uint4(const Type& t, const char* p, std::int32_t n) {
  return n == 4 ? PyLong_FromUnsignedLong(get32(p)) : malformed(t);
}
bool encode_uint4(const Type&, PyObject* v, OutBuffer& out) {
  long long x;
  if (!integer(v, 0, UINT32_MAX, "uint32", x)) return false;
  fixed(out, 4, [&](char* p) { wire::put32(p, static_cast<std::uint32_t>(x)); });
  return true;
}

PyObject* decode_uint8(const Type& t, const char* p, std::int32_t n) {
  return n == 8 ? PyLong_FromUnsignedLongLong(get64(p)) : malformed(t);
}
bool encode_uint8(const Type&, PyObject* v, OutBuffer& out) {
  Ref index(PyNumber_Index(v));
  if (!index) return false;
  unsigned long long x = PyLong_AsUnsignedLongLong(index.get());
  if (x == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
    PyErr_Clear();
    return out_of_range("uint64");
  }
  fixed(out, 8, [&](char* p) { wire::put64(p, x); });
  return true;
}

// ---------------------------------------------------------------- floats and numeric

PyObject* decode_float4(const Type& t, const char* p, std::int32_t n) {
  return n == 4 ? PyFloat_FromDouble(wire::get_f32(p)) : malformed(t);
}
bool encode_float4(const Type&, PyObject* v, OutBuffer& out) {
  double d = PyFloat_AsDouble(v);
  if (d == -1.0 && PyErr_Occurred()) return false;
  float f = static_cast<float>(d);
  if (std::isinf(f) && !std::isinf(d)) return out_of_range("float32");
  fixed(out, 4, [&](char* p) { wire::put32(p, std::bit_cast<std::uint32_t>(f)); });
  return true;
}

PyObject* decode_float8(const Type& t, const char* p, std::int32_t n) {
  return n == 8 ? PyFloat_FromDouble(wire::get_f64(p)) : malformed(t);
}
bool encode_float8(const Type&, PyObject* v, OutBuffer& out) {
  double d = PyFloat_AsDouble(v);
  if (d == -1.0 && PyErr_Occurred()) return false;
  fixed(out, 8, [&](char* p) { wire::put64(p, std::bit_cast<std::uint64_t>(d)); });
  return true;
}

PyObject* decode_numeric(const Type& t, const char* p, std::int32_t n) {
  static std::string text;  // GIL
  if (!numeric_to_text({p, static_cast<std::size_t>(n)}, text)) return malformed(t);
  Ref s(PyUnicode_New(static_cast<Py_ssize_t>(text.size()), 127));
  if (!s) return nullptr;
  std::memcpy(PyUnicode_1BYTE_DATA(s.get()), text.data(), text.size());
  PyObject* value = PyObject_CallOneArg(g_decimal, s.get());
  if (text.size() > 65536) text = std::string();
  return value;
}
bool encode_numeric(const Type&, PyObject* v, OutBuffer& out) {
  Ref number = Ref::borrow(v);
  if (!PyObject_TypeCheck(v, reinterpret_cast<PyTypeObject*>(g_decimal)) && !PyLong_CheckExact(v)) {
    number = Ref(PyObject_CallOneArg(g_decimal, v));  // a float gives all the digits it really has
    if (!number) return false;
  }
  Ref text(PyObject_Str(number.get()));
  Py_ssize_t size;
  const char* s = text ? PyUnicode_AsUTF8AndSize(text.get(), &size) : nullptr;
  if (!s) return false;
  std::size_t mark = out.size();
  out.commit(wire::put32(out.reserve(4), 0));
  switch (numeric_from_text({s, static_cast<std::size_t>(size)}, out)) {
    case NumericError::none:
      wire::put32(out.data() + mark, static_cast<std::uint32_t>(out.size() - mark - 4));
      return true;
    case NumericError::too_large: out.truncate(mark); return out_of_range("numeric");
    default:
      out.truncate(mark);
      PyErr_Format(PyExc_ValueError, "not a decimal number: %R", v);
      return false;
  }
}

// ---------------------------------------------------------------- text and bytes

PyObject* decode_text(const Type&, const char* p, std::int32_t n) { return PyUnicode_DecodeUTF8(p, n, nullptr); }
bool encode_text(const Type&, PyObject* v, OutBuffer& out) {
  if (!PyUnicode_Check(v)) {
    PyErr_Format(PyExc_TypeError, "expected str, got %s", Py_TYPE(v)->tp_name);
    return false;
  }
  Py_ssize_t size;
  const char* s = PyUnicode_AsUTF8AndSize(v, &size);
  return s && put_bytes(out, s, size);
}

PyObject* decode_bytea(const Type&, const char* p, std::int32_t n) { return PyBytes_FromStringAndSize(p, n); }
bool encode_bytea(const Type&, PyObject* v, OutBuffer& out) {
  if (PyBytes_CheckExact(v)) return put_bytes(out, PyBytes_AS_STRING(v), PyBytes_GET_SIZE(v));
  Py_buffer view;
  if (PyObject_GetBuffer(v, &view, PyBUF_SIMPLE) != 0) return false;
  bool ok = put_bytes(out, static_cast<const char*>(view.buf), view.len);
  PyBuffer_Release(&view);
  return ok;
}

PyObject* decode_void(const Type&, const char*, std::int32_t) { Py_RETURN_NONE; }

/// Text behind a version byte of 1.
PyObject* decode_versioned(const Type& t, const char* p, std::int32_t n) {
  return n >= 1 && *p == 1 ? PyUnicode_DecodeUTF8(p + 1, n - 1, nullptr) : malformed(t);
}
bool encode_versioned(const Type& t, PyObject* v, OutBuffer& out) {
  std::size_t mark = out.size();
  if (!encode_text(t, v, out)) return false;
  std::uint32_t size = get32(out.data() + mark);
  out.push('\0');
  std::memmove(out.data() + mark + 5, out.data() + mark + 4, size);
  out.data()[mark + 4] = 1;
  wire::put32(out.data() + mark, size + 1);
  return true;
}

PyObject* decode_json(const Type&, const char* p, std::int32_t n) {
  return core_py::api->json_decode(p, static_cast<std::size_t>(n), 0);
}
bool encode_json(const Type&, PyObject* v, OutBuffer& out) {
  std::size_t mark = out.size();
  out.commit(wire::put32(out.reserve(4), 0));
  if (core_py::api->json_encode(v, &out, nullptr, core_py::kJsonNone) != 0) {
    out.truncate(mark);
    return false;
  }
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(out.size() - mark - 4));
  return true;
}
PyObject* decode_jsonb(const Type& t, const char* p, std::int32_t n) {
  return n >= 1 && *p == 1 ? decode_json(t, p + 1, n - 1) : malformed(t);
}
bool encode_jsonb(const Type&, PyObject* v, OutBuffer& out) {
  std::size_t mark = out.size();
  char* p = wire::put32(out.reserve(5), 0);
  *p = 1;
  out.commit(p + 1);
  if (core_py::api->json_encode(v, &out, nullptr, core_py::kJsonNone) != 0) {
    out.truncate(mark);
    return false;
  }
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(out.size() - mark - 4));
  return true;
}

// ---------------------------------------------------------------- uuid

PyObject* decode_uuid(const Type& t, const char* p, std::int32_t n) {
  if (n != 16) return malformed(t);
  if (!g_uuid_int_offset) {
    Ref empty(PyTuple_New(0));
    Ref kwargs(Py_BuildValue("{s:y#}", "bytes", p, Py_ssize_t{16}));
    return empty && kwargs ? PyObject_Call(g_uuid, empty.get(), kwargs.get()) : nullptr;
  }
  auto* type = reinterpret_cast<PyTypeObject*>(g_uuid);
  PyObject* number = _PyLong_FromByteArray(reinterpret_cast<const unsigned char*>(p), 16, 0, 0);
  PyObject* uuid = number ? type->tp_alloc(type, 0) : nullptr;
  if (!uuid) {
    Py_XDECREF(number);
    return nullptr;
  }
  // UUID.__init__ would parse and check; both members are set here as it sets them.
  char* at = reinterpret_cast<char*>(uuid);
  *reinterpret_cast<PyObject**>(at + g_uuid_int_offset) = number;
  *reinterpret_cast<PyObject**>(at + g_uuid_safe_offset) = Py_NewRef(g_safe_unknown);
  return uuid;
}
bool encode_uuid(const Type&, PyObject* v, OutBuffer& out) {
  Ref made;
  if (PyUnicode_Check(v)) {
    made = Ref(PyObject_CallOneArg(g_uuid, v));
    if (!made) return false;
    v = made.get();
  }
  Ref bytes(PyObject_GetAttr(v, s_bytes));
  if (!bytes) return false;
  if (!PyBytes_Check(bytes.get()) || PyBytes_GET_SIZE(bytes.get()) != 16) {
    PyErr_Format(PyExc_TypeError, "expected UUID, got %s", Py_TYPE(v)->tp_name);
    return false;
  }
  return put_bytes(out, PyBytes_AS_STRING(bytes.get()), 16);
}

// ---------------------------------------------------------------- network

PyObject* decode_inet(const Type& t, const char* p, std::int32_t n) { return network_address(t, p, n, false); }
bool encode_inet(const Type&, PyObject* v, OutBuffer& out) {
  Ref value = PyUnicode_Check(v) ? Ref(PyObject_CallOneArg(g_ip_interface, v)) : Ref::borrow(v);
  if (!value) return false;
  if (PyObject_HasAttr(value.get(), s_prefixlen)) {  // a network: its address with its prefix
    value = Ref(PyObject_CallOneArg(g_ip_interface, value.get()));
    if (!value) return false;
  }
  Ref packed(PyObject_GetAttr(value.get(), s_packed));
  if (!packed || !PyBytes_Check(packed.get())) {
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "expected an ipaddress object or str, got %s", Py_TYPE(v)->tp_name);
    return false;
  }
  long bits = PyBytes_GET_SIZE(packed.get()) * 8;
  if (PyObject_HasAttr(value.get(), s_network)) {
    Ref network(PyObject_GetAttr(value.get(), s_network));
    bits = network ? prefix_length(network.get()) : -1;
  }
  return !PyErr_Occurred() && put_packed(packed.get(), bits, false, out);
}
PyObject* decode_cidr(const Type& t, const char* p, std::int32_t n) { return network_address(t, p, n, true); }

bool encode_cidr(const Type&, PyObject* v, OutBuffer& out) {
  Ref network(PyObject_HasAttr(v, s_prefixlen) ? Py_NewRef(v) : PyObject_CallOneArg(g_ip_network, v));
  Ref address(network ? PyObject_GetAttr(network.get(), s_network_address) : nullptr);
  Ref packed(address ? PyObject_GetAttr(address.get(), s_packed) : nullptr);
  if (!packed || !PyBytes_Check(packed.get())) return false;
  long bits = prefix_length(network.get());
  return !PyErr_Occurred() && put_packed(packed.get(), bits, true, out);
}

// ---------------------------------------------------------------- the server's identifiers

PyObject* decode_tid(const Type& t, const char* p, std::int32_t n) {
  return n == 6 ? Py_BuildValue("(II)", get32(p), static_cast<unsigned>(get16(p + 4))) : malformed(t);
}
bool encode_tid(const Type&, PyObject* v, OutBuffer& out) {
  if (!(PyTuple_Check(v) || PyList_Check(v)) || PySequence_Size(v) != 2) {
    PyErr_Format(PyExc_TypeError, "list or tuple of two integers expected (got type %s)", Py_TYPE(v)->tp_name);
    return false;
  }
  Ref block(PySequence_GetItem(v, 0)), offset(PySequence_GetItem(v, 1));
  long long b, o;
  if (!block || !offset || !integer(block.get(), 0, UINT32_MAX, "uint32", b) ||
      !integer(offset.get(), 0, UINT16_MAX, "uint16", o)) {
    return false;
  }
  fixed(out, 6, [&](char* p) {
    wire::put16(wire::put32(p, static_cast<std::uint32_t>(b)), static_cast<std::uint16_t>(o));
  });
  return true;
}

PyObject* decode_snapshot(const Type& t, const char* p, std::int32_t n) {
  wire::Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  std::uint64_t low = in.u64(), high = in.u64();
  if (!in.ok() || in.left() != std::size_t{count} * 8) return malformed(t);
  Ref list(PyTuple_New(count));
  for (std::uint32_t i = 0; list && i < count; ++i) {
    PyObject* x = PyLong_FromUnsignedLongLong(in.u64());
    if (!x) return nullptr;
    PyTuple_SET_ITEM(list.get(), i, x);
  }
  return list ? Py_BuildValue("(KKO)", low, high, list.get()) : nullptr;
}
bool encode_snapshot(const Type& t, PyObject* v, OutBuffer& out) {
  PyObject* ids;
  unsigned long long low, high;
  if (!PyTuple_Check(v) || !PyArg_ParseTuple(v, "KKO", &low, &high, &ids)) {
    PyErr_Format(PyExc_TypeError, "a tuple (xmin, xmax, xids) expected (got type %s)", Py_TYPE(v)->tp_name);
    return false;
  }
  Ref fast(PySequence_Fast(ids, "a sequence of transaction ids expected"));
  if (!fast) return false;
  Py_ssize_t count = PySequence_Fast_GET_SIZE(fast.get());
  std::size_t size = 20 + static_cast<std::size_t>(count) * 8;
  char* p = wire::put32(out.reserve(4 + size), static_cast<std::uint32_t>(size));
  p = wire::put64(wire::put64(wire::put32(p, static_cast<std::uint32_t>(count)), low), high);
  for (Py_ssize_t i = 0; i < count; ++i) {
    unsigned long long x = PyLong_AsUnsignedLongLong(PySequence_Fast_GET_ITEM(fast.get(), i));
    if (PyErr_Occurred()) return false;
    p = wire::put64(p, x);
  }
  out.commit(p);
  return true;
}

PyObject* decode_macaddr(const Type& t, const char* p, std::int32_t n) {
  if (n != 6 && n != 8) return malformed(t);
  char text[24], *at = text;
  for (std::int32_t i = 0; i < n; ++i) {
    unsigned char byte = static_cast<unsigned char>(p[i]);
    if (i) *at++ = ':';
    *at++ = "0123456789abcdef"[byte >> 4];
    *at++ = "0123456789abcdef"[byte & 15];
  }
  return PyUnicode_FromStringAndSize(text, at - text);
}

bool init_scalars() {
  auto import = [](const char* module, const char* name) -> PyObject* {
    Ref m(PyImport_ImportModule(module));
    return m ? PyObject_GetAttrString(m.get(), name) : nullptr;
  };
  g_decimal = import("decimal", "Decimal");
  g_uuid = import("uuid", "UUID");
  Ref safe(import("uuid", "SafeUUID"));
  g_safe_unknown = safe ? PyObject_GetAttrString(safe.get(), "unknown") : nullptr;
  g_ip_address = import("ipaddress", "ip_address");
  g_ip_interface = import("ipaddress", "ip_interface");
  g_ip_network = import("ipaddress", "ip_network");
  s_bytes = PyUnicode_InternFromString("bytes");
  s_packed = PyUnicode_InternFromString("packed");
  s_network = PyUnicode_InternFromString("network");
  s_prefixlen = PyUnicode_InternFromString("prefixlen");
  s_network_address = PyUnicode_InternFromString("network_address");
  if (!g_decimal || !g_uuid || !g_safe_unknown || !g_ip_address || !g_ip_interface || !g_ip_network ||
      !s_network_address) {
    return false;
  }
  g_uuid_int_offset = slot_offset(g_uuid, "int");
  g_uuid_safe_offset = slot_offset(g_uuid, "is_safe");
  if (!g_uuid_safe_offset) g_uuid_int_offset = 0;
  return true;
}

}  // namespace fasterapi::pg::py
