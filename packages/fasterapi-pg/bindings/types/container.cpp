// Arrays, ranges, multiranges, composites and domains: types made of other types.
#include <cstring>

#include "protocol/wire.hpp"
#include "types/scalar.hpp"

namespace fasterapi::pg::py {
namespace {

using wire::Reader;

constexpr int kMaxDimensions = 6;                  // MAXDIM of the server
constexpr std::uint64_t kMaxElements = 0x7ffffff;  // MaxArraySize of the server
constexpr int kMaxDepth = 32;                      // of values inside values; the stack is finite

thread_local int g_depth = 0;
struct Depth {
  Depth() { ++g_depth; }
  ~Depth() { --g_depth; }
  bool ok() const {
    if (g_depth <= kMaxDepth) return true;
    PyErr_SetString(errors.data, "values are nested too deeply");
    return false;
  }
};

PyObject* field_value(const Type& type, std::string_view value, bool null) {
  if (null) return Py_NewRef(Py_None);
  return type.decode(type, value.data(), static_cast<std::int32_t>(value.size()));
}

/// One level of an array: a list of `dims[0]` things.
PyObject* array_level(const Type& element, const std::uint32_t* dims, int left, Reader& in) {
  Ref list(PyList_New(dims[0]));
  if (!list) return nullptr;
  for (std::uint32_t i = 0; i < dims[0]; ++i) {
    PyObject* item;
    if (left > 1) {
      item = array_level(element, dims + 1, left - 1, in);
    } else {
      std::string_view value;
      bool null;
      if (!in.field(value, null)) return malformed(element);
      item = field_value(element, value, null);
    }
    if (!item) return nullptr;
    PyList_SET_ITEM(list.get(), i, item);
  }
  return list.release();
}

bool is_container(PyObject* v) {
  if (PyList_Check(v) || PyTuple_Check(v)) return true;
  if (PyUnicode_Check(v) || PyBytes_Check(v) || PyByteArray_Check(v) || PyMemoryView_Check(v) || PyDict_Check(v)) {
    return false;
  }
  if (PyObject_TypeCheck(v, &record_type)) return false;  // a composite value
  if (!Py_TYPE(v)->tp_iter && !PySequence_Check(v)) return false;
  Py_ssize_t n = PyObject_Size(v);
  if (n < 0) PyErr_Clear();
  return n >= 0;
}

struct ArrayWriter {
  const Type& element;
  OutBuffer& out;
  std::uint32_t dims[kMaxDimensions];
  int depth = 0;
  bool has_null = false;
  std::uint64_t index = 0;

  /// Values of some types are tuples or have a length themselves: those are elements, not dimensions.
  bool nests(PyObject* v) const {
    bool tuple_like = element.kind == Kind::composite || element.kind == Kind::range || element.oid == 2249 ||
                      element.oid == 27 || (element.oid >= 600 && element.oid <= 604) || element.oid == 628 ||
                      element.oid == 718 || element.oid == 1560 || element.oid == 1562 || element.oid == 5038 ||
                      element.oid == 2970;
    if (tuple_like) return PyList_Check(v);
    return is_container(v);
  }

  bool measure(PyObject* value) {
    Ref level = Ref::borrow(value);
    for (;;) {
      Py_ssize_t n = PyObject_Size(level.get());
      if (n < 0) return false;
      if (depth == kMaxDimensions) {
        PyErr_SetString(PyExc_ValueError, "number of array dimensions exceeds the maximum of 6");
        return false;
      }
      if (static_cast<std::uint64_t>(n) > kMaxElements) {
        PyErr_SetString(PyExc_ValueError, "too many elements in array value");
        return false;
      }
      dims[depth++] = static_cast<std::uint32_t>(n);
      if (n == 0) return true;
      Ref it(PyObject_GetIter(level.get()));
      Ref first(it ? PyIter_Next(it.get()) : nullptr);
      if (!first) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "container without elements");
        return false;
      }
      if (!nests(first.get())) return true;
      level = std::move(first);
    }
  }

  bool write(PyObject* value, int level) {
    Ref fast(PySequence_Fast(value, "a sized iterable container expected"));
    if (!fast) return false;
    if (PySequence_Fast_GET_SIZE(fast.get()) != static_cast<Py_ssize_t>(dims[level])) return ragged();
    for (std::uint32_t i = 0; i < dims[level]; ++i) {
      if (static_cast<Py_ssize_t>(i) >= PySequence_Fast_GET_SIZE(fast.get()))
        return ragged();  // changed meanwhile
      Ref item = Ref::borrow(PySequence_Fast_GET_ITEM(fast.get(), i));
      if (level + 1 < depth) {
        if (!nests(item.get())) return ragged();
        if (!write(item.get(), level + 1)) return false;
      } else {
        if (item.get() != Py_None && nests(item.get())) return ragged();
        has_null |= item.get() == Py_None;
        if (!encode_value(element, item.get(), out)) return wrap(i);
        ++index;
      }
    }
    return true;
  }

  static bool ragged() {
    PyErr_SetString(PyExc_ValueError, "non-homogeneous array");
    return false;
  }
  static bool wrap(std::uint32_t i) {
    Ref cause = take_error();
    Ref text(PyObject_Str(cause.get()));
    PyErr_Clear();
    PyErr_Format(
        reinterpret_cast<PyObject*>(Py_TYPE(cause.get())) == errors.interface ? errors.interface : PyExc_ValueError,
        "invalid array element at index %u: %S", i, text ? text.get() : Py_None);
    return false;
  }
};

bool need_container(PyObject* v) {
  if (is_container(v)) return true;
  PyErr_Format(PyExc_TypeError, "a sized iterable container expected (got type '%s')", Py_TYPE(v)->tp_name);
  return false;
}

/// Writes a length word of the bytes that follow `mark`.
bool close_length(OutBuffer& out, std::size_t mark) {
  std::uint64_t size = out.size() - mark - 4;
  if (size > 0x3fffffff) {
    PyErr_SetString(PyExc_OverflowError, "value out of field length (1 GiB) range");
    return false;
  }
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(size));
  return true;
}
std::size_t open_length(OutBuffer& out) {
  std::size_t mark = out.size();
  out.commit(wire::put32(out.reserve(4), 0));
  return mark;
}

}  // namespace

bool encode_value(const Type& type, PyObject* value, OutBuffer& out) {
  if (value == Py_None) {
    out.commit(wire::put32(out.reserve(4), 0xffffffff));
    return true;
  }
  Depth depth;
  return depth.ok() && type.encode(type, value, out);
}

// ---------------------------------------------------------------- arrays

PyObject* decode_array(const Type& t, const char* p, std::int32_t n) {
  Depth depth;
  if (!depth.ok()) return nullptr;
  Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  std::uint32_t flags = in.u32();
  in.u32();  // element type, which we know
  if (!in.ok() || count > kMaxDimensions || flags > 1) return malformed(t);
  if (count == 0) return in.left() == 0 ? PyList_New(0) : malformed(t);
  std::uint32_t dims[kMaxDimensions];
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    dims[i] = in.u32();
    in.u32();  // lower bound
    if (!in.ok() || dims[i] > kMaxElements) return malformed(t);
    elements *= dims[i];
    // CVE-2020-17446: nothing is allocated for elements that the message cannot hold (4 bytes each at least).
    if (elements > kMaxElements || (dims[i] == 0 && count > 0)) return malformed(t);
  }
  if (elements * 4 > in.left()) return malformed(t);
  PyObject* list = array_level(*t.element, dims, static_cast<int>(count), in);
  if (list && !in.done()) {
    Py_DECREF(list);
    return malformed(t);
  }
  return list;
}

bool encode_array(const Type& t, PyObject* v, OutBuffer& out) {
  if (!need_container(v)) return false;
  ArrayWriter writer{*t.element, out, {}};
  if (!writer.measure(v)) return false;
  bool empty = writer.dims[writer.depth - 1] == 0;
  std::uint32_t lower = t.oid == 22 || t.oid == 30 ? 0 : 1;  // int2vector and oidvector count from 0
  std::size_t mark = open_length(out);
  char* p = out.reserve(12 + 8 * kMaxDimensions);
  p = wire::put32(p, empty ? 0 : static_cast<std::uint32_t>(writer.depth));
  p = wire::put32(p, 0);
  p = wire::put32(p, t.element->oid);
  for (int i = 0; !empty && i < writer.depth; ++i) p = wire::put32(wire::put32(p, writer.dims[i]), lower);
  out.commit(p);
  if (!empty && !writer.write(v, 0)) return false;
  if (writer.has_null) wire::put32(out.data() + mark + 8, 1);
  return close_length(out, mark);
}

// Arrays of types that have only a text form: {a,"b \" c",NULL,{...}}.
namespace {

PyObject* text_level(const Type& t, Reader& in, int depth, char& next) {
  if (depth > kMaxDimensions) return malformed(t);
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  next = static_cast<char>(in.u8());
  if (next == '}') {
    next = static_cast<char>(in.u8());
    return list.release();
  }
  for (;;) {
    Ref item;
    if (next == '{') {
      item = Ref(text_level(t, in, depth + 1, next));
    } else {
      std::string text;
      bool quoted = next == '"';
      if (quoted) {
        for (;;) {
          char c = static_cast<char>(in.u8());
          if (!in.ok()) return malformed(t);
          if (c == '"') break;
          if (c == '\\') c = static_cast<char>(in.u8());
          text.push_back(c);
        }
        next = static_cast<char>(in.u8());
      } else {
        while (in.ok() && next != t.element->delimiter && next != '}') {
          if (next == '\\') next = static_cast<char>(in.u8());
          text.push_back(next);
          next = static_cast<char>(in.u8());
        }
      }
      if (!in.ok() && next != '}') return malformed(t);
      item = Ref(!quoted && text == "NULL" ? Py_NewRef(Py_None)
                                           : decode_value(*t.element, text.data(), static_cast<int>(text.size())));
    }
    if (!item || PyList_Append(list.get(), item.get()) != 0) return nullptr;
    if (next == '}') {
      next = in.left() ? static_cast<char>(in.u8()) : '\0';
      return list.release();
    }
    if (next != t.element->delimiter) return malformed(t);
    next = static_cast<char>(in.u8());
    if (!in.ok()) return malformed(t);
  }
}

bool write_text_level(const Type& element, PyObject* v, OutBuffer& out, int depth) {
  if (depth > kMaxDimensions) {
    PyErr_SetString(PyExc_ValueError, "number of array dimensions exceeds the maximum of 6");
    return false;
  }
  Ref fast(PySequence_Fast(v, "a sized iterable container expected"));
  if (!fast) return false;
  out.push('{');
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) {
    Ref item = Ref::borrow(PySequence_Fast_GET_ITEM(fast.get(), i));
    if (i) out.push(element.delimiter);
    if (item.get() == Py_None) {
      out.append("NULL");
    } else if (is_container(item.get())) {
      if (!write_text_level(element, item.get(), out, depth + 1)) return false;
    } else {
      OutBuffer text;
      if (!element.encode(element, item.get(), text)) return ArrayWriter::wrap(static_cast<std::uint32_t>(i));
      out.push('"');
      for (char c : text.view().substr(4)) {
        if (c == '"' || c == '\\') out.push('\\');
        out.push(c);
      }
      out.push('"');
    }
  }
  out.push('}');
  return true;
}

}  // namespace

PyObject* decode_array_text(const Type& t, const char* p, std::int32_t n) {
  Reader in({p, static_cast<std::size_t>(n)});
  if (n > 0 && *p == '[') {  // explicit bounds: "[2:3]={...}"
    while (in.ok() && static_cast<char>(in.u8()) != '=') {
    }
  }
  if (static_cast<char>(in.u8()) != '{') return malformed(t);
  char next;
  PyObject* list = text_level(t, in, 1, next);
  return list;
}

bool encode_array_text(const Type& t, PyObject* v, OutBuffer& out) {
  if (!need_container(v)) return false;
  std::size_t mark = open_length(out);
  return write_text_level(*t.element, v, out, 1) && close_length(out, mark);
}

// ---------------------------------------------------------------- ranges

namespace {
enum RangeFlag : unsigned char {
  kEmpty = 1,
  kLowerInclusive = 2,
  kUpperInclusive = 4,
  kLowerInfinite = 8,
  kUpperInfinite = 16
};
}

PyObject* decode_range(const Type& t, const char* p, std::int32_t n) {
  Depth depth;
  if (!depth.ok()) return nullptr;
  Reader in({p, static_cast<std::size_t>(n)});
  unsigned flags = in.u8();
  Ref lower = Ref::borrow(Py_None), upper = Ref::borrow(Py_None);
  for (int side = 0; side < 2 && !(flags & kEmpty); ++side) {
    if (flags & (side ? kUpperInfinite : kLowerInfinite)) continue;
    std::string_view value;
    bool null;
    if (!in.field(value, null)) return malformed(t);
    Ref bound(field_value(*t.element, value, null));
    if (!bound) return nullptr;
    (side ? upper : lower) = std::move(bound);
  }
  if (!in.done()) return malformed(t);
  bool empty = flags & kEmpty, lower_inc = flags & kLowerInclusive, upper_inc = flags & kUpperInclusive;
  if (!value_types.range) {
    if (empty) Py_RETURN_NONE;
    return Py_BuildValue("(OONN)", lower.get(), upper.get(), PyBool_FromLong(lower_inc),
                         PyBool_FromLong(upper_inc));
  }
  static PyObject* names = Py_BuildValue("(sss)", "lower_inc", "upper_inc", "empty");
  if (!names) return nullptr;
  PyObject* args[] = {lower.get(), upper.get(), lower_inc ? Py_True : Py_False, upper_inc ? Py_True : Py_False,
                      empty ? Py_True : Py_False};
  return PyObject_Vectorcall(value_types.range, args, 2, names);
}

bool encode_range(const Type& t, PyObject* v, OutBuffer& out) {
  Ref lower = Ref::borrow(Py_None), upper = Ref::borrow(Py_None);
  bool lower_inc = true, upper_inc = false, empty = false;
  auto truth = [](PyObject* o, const char* name, bool& value) {
    Ref a(PyObject_GetAttrString(o, name));
    int x = a ? PyObject_IsTrue(a.get()) : -1;
    value = x > 0;
    return x >= 0;
  };
  if (PyTuple_Check(v) || PyList_Check(v)) {
    Py_ssize_t n = PySequence_Size(v);
    if (n > 2) {
      PyErr_Format(PyExc_ValueError, "expected 0, 1 or 2 elements in range (got %zd)", n);
      return false;
    }
    empty = n == 0;
    if (n > 0) lower = Ref(PySequence_GetItem(v, 0));
    if (n > 1) upper = Ref(PySequence_GetItem(v, 1));
    upper_inc = true;  // as asyncpg: a plain pair means both bounds
  } else if (PyObject_HasAttrString(v, "isempty") && PyObject_HasAttrString(v, "lower_inc")) {
    lower = Ref(PyObject_GetAttrString(v, "lower"));
    upper = Ref(PyObject_GetAttrString(v, "upper"));
    if (!lower || !upper || !truth(v, "lower_inc", lower_inc) || !truth(v, "upper_inc", upper_inc) ||
        !truth(v, "isempty", empty)) {
      return false;
    }
  } else {
    PyErr_Format(PyExc_TypeError, "list, tuple or Range object expected (got type %R)",
                 reinterpret_cast<PyObject*>(Py_TYPE(v)));
    return false;
  }
  std::size_t mark = open_length(out);
  unsigned flags = 0;
  if (empty) {
    flags = kEmpty;
  } else {
    if (lower.get() == Py_None)
      flags |= kLowerInfinite;
    else if (lower_inc)
      flags |= kLowerInclusive;
    if (upper.get() == Py_None)
      flags |= kUpperInfinite;
    else if (upper_inc)
      flags |= kUpperInclusive;
  }
  out.push(static_cast<char>(flags));
  if (!empty && lower.get() != Py_None && !encode_value(*t.element, lower.get(), out)) return false;
  if (!empty && upper.get() != Py_None && !encode_value(*t.element, upper.get(), out)) return false;
  return close_length(out, mark);
}

PyObject* decode_multirange(const Type& t, const char* p, std::int32_t n) {
  Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  if (!in.ok() || std::uint64_t{count} * 5 > in.left()) return malformed(t);
  Ref list(PyList_New(count));
  for (std::uint32_t i = 0; list && i < count; ++i) {
    std::string_view value;
    bool null;
    if (!in.field(value, null)) return malformed(t);
    PyObject* item = field_value(*t.element, value, null);
    if (!item) return nullptr;
    PyList_SET_ITEM(list.get(), i, item);
  }
  if (list && !in.done()) return malformed(t);
  return list.release();
}

bool encode_multirange(const Type& t, PyObject* v, OutBuffer& out) {
  if (!need_container(v)) return false;
  Ref fast(PySequence_Fast(v, "a sized iterable container expected"));
  if (!fast) return false;
  std::size_t mark = open_length(out);
  out.commit(wire::put32(out.reserve(4), static_cast<std::uint32_t>(PySequence_Fast_GET_SIZE(fast.get()))));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) {
    if (!encode_value(*t.element, PySequence_Fast_GET_ITEM(fast.get(), i), out)) {
      return ArrayWriter::wrap(static_cast<std::uint32_t>(i));
    }
  }
  return close_length(out, mark);
}

// ---------------------------------------------------------------- composites

PyObject* decode_composite(const Type& t, const char* p, std::int32_t n) {
  Depth depth;
  if (!depth.ok()) return nullptr;
  Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  if (!in.ok() || count != t.attributes.size()) {
    PyErr_Format(errors.data,
                 "unexpected number of attributes of composite type %s: %u, expected %zu (its "
                 "definition has changed: reload the schema state)",
                 t.name.c_str(), count, t.attributes.size());
    return nullptr;
  }
  Record* r = new_record(&record_type, t.shape, static_cast<Py_ssize_t>(count));
  if (!r) return nullptr;
  Ref owner(reinterpret_cast<PyObject*>(r));
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t oid = in.u32();
    std::string_view value;
    bool null;
    const Type& type = *t.attributes[i].type;
    if (!in.field(value, null)) return malformed(t);
    if (oid != type.oid) {
      PyErr_Format(errors.data,
                   "unexpected type of attribute %u of composite type %s (its definition has changed)", i,
                   t.name.c_str());
      return nullptr;
    }
    r->items[i] = field_value(type, value, null);
    if (!r->items[i]) return nullptr;
  }
  if (!in.done()) return malformed(t);
  finish_record(r);
  return owner.release();
}

bool encode_composite(const Type& t, PyObject* v, OutBuffer& out) {
  std::size_t count = t.attributes.size();
  Ref values;
  if (PyDict_Check(v)) {
    values = Ref(PyTuple_New(static_cast<Py_ssize_t>(count)));
    for (std::size_t i = 0; values && i < count; ++i) {
      PyObject* item = PyDict_GetItem(v, PyTuple_GET_ITEM(t.shape->names, static_cast<Py_ssize_t>(i)));
      PyTuple_SET_ITEM(values.get(), static_cast<Py_ssize_t>(i), Py_NewRef(item ? item : Py_None));
    }
  } else if (PyTuple_Check(v) || PyList_Check(v) || PyObject_TypeCheck(v, &record_type)) {
    values = Ref(PySequence_Tuple(v));
  } else {
    PyErr_Format(PyExc_TypeError, "list, tuple, Record or dict expected for composite type %s (got type %s)",
                 t.name.c_str(), Py_TYPE(v)->tp_name);
  }
  if (!values) return false;
  if (static_cast<std::size_t>(PyTuple_GET_SIZE(values.get())) != count) {
    PyErr_Format(PyExc_ValueError, "composite type %s has %zu attributes, got %zd values", t.name.c_str(), count,
                 PyTuple_GET_SIZE(values.get()));
    return false;
  }
  std::size_t mark = open_length(out);
  out.commit(wire::put32(out.reserve(4), static_cast<std::uint32_t>(count)));
  for (std::size_t i = 0; i < count; ++i) {
    out.commit(wire::put32(out.reserve(4), t.attributes[i].type->oid));
    if (!encode_value(*t.attributes[i].type, PyTuple_GET_ITEM(values.get(), static_cast<Py_ssize_t>(i)), out)) {
      return false;
    }
  }
  return close_length(out, mark);
}

/// A row without a declared type: the attributes say their types themselves.
PyObject* decode_anonymous(const Type& t, const char* p, std::int32_t n) {
  Depth depth;
  if (!depth.ok()) return nullptr;
  Reader in({p, static_cast<std::size_t>(n)});
  std::uint32_t count = in.u32();
  if (!in.ok() || std::uint64_t{count} * 8 > in.left()) return malformed(t);
  Ref tuple(PyTuple_New(count));
  for (std::uint32_t i = 0; tuple && i < count; ++i) {
    std::uint32_t oid = in.u32();
    std::string_view value;
    bool null;
    if (!in.field(value, null)) return malformed(t);
    const Type* type = builtin_type(oid);
    if (!null && (!type || type->format == 0)) {
      PyErr_Format(errors.data,
                   "attribute %u of an anonymous record has type %u, which has no decoder here; "
                   "cast the record or the attribute to a named type",
                   i, oid);
      return nullptr;
    }
    PyObject* item = null ? Py_NewRef(Py_None) : field_value(*type, value, false);
    if (!item) return nullptr;
    PyTuple_SET_ITEM(tuple.get(), i, item);
  }
  if (tuple && !in.done()) return malformed(t);
  return tuple.release();
}

PyObject* decode_domain(const Type& t, const char* p, std::int32_t n) {
  return t.element->decode(*t.element, p, n);
}
bool encode_domain(const Type& t, PyObject* v, OutBuffer& out) { return t.element->encode(*t.element, v, out); }

}  // namespace fasterapi::pg::py
