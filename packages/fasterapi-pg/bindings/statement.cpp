#include "statement.hpp"

#include "protocol/wire.hpp"

namespace fasterapi::pg::py {
namespace {

constexpr Py_ssize_t kMaxStatements = 5000;  // SQL texts remembered per database

struct Handle {
  PyObject_HEAD PyStatement* statement;
};

void handle_dealloc(PyObject* self) {
  reinterpret_cast<Handle*>(self)->statement->unref();
  PyObject_Free(self);
}

PyTypeObject handle_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

bool store(PyStatement& s) {
  PyObject* dict = s.catalog.statements();
  // A program that builds SQL texts without end must not keep them all.
  if (PyDict_GET_SIZE(dict) >= kMaxStatements) PyDict_Clear(dict);
  auto* handle = PyObject_New(Handle, &handle_type);
  if (!handle) return false;
  handle->statement = &s;
  s.ref();
  Ref owner(reinterpret_cast<PyObject*>(handle));
  return PyDict_SetItem(dict, s.sql_object.get(), owner.get()) == 0;
}

}  // namespace

PyStatement::PyStatement(Catalog& c, PyObject* text_object, std::string text)
    : Statement(std::move(text)), catalog(c), sql_object(Ref::borrow(text_object)) {
  catalog.ref();
  dirty = kind == StatementClass::exclusive;
}

PyStatement::~PyStatement() {
  Py_XDECREF(reinterpret_cast<PyObject*>(shape));
  catalog.unref();
}

std::vector<std::uint32_t> PyStatement::unknown_types() const {
  std::vector<std::uint32_t> unknown;
  for (std::uint32_t oid : parameters) {
    if (!catalog.find(oid)) unknown.push_back(oid);
  }
  for (const backend::Column& c : columns) {
    if (!catalog.find(c.type_oid)) unknown.push_back(c.type_oid);
  }
  return unknown;
}

bool PyStatement::finish() {
  encoders.clear();
  decoders.clear();
  parameter_formats.clear();
  result_formats.clear();
  bool track = false;
  for (std::uint32_t oid : parameters) {
    const Type* type = catalog.find(oid);
    if (!type) type = builtin_type(25);
    encoders.push_back(type);
    parameter_formats.push_back(type->format);
  }
  Ref names(PyTuple_New(static_cast<Py_ssize_t>(columns.size())));
  if (!names) return false;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const Type* type = catalog.find(columns[i].type_oid);
    if (!type) type = builtin_type(25);
    decoders.push_back({type->decode, type});
    result_formats.push_back(type->format);
    track |= type->track;
    PyObject* name = to_str(columns[i].name);
    if (!name) return false;
    PyUnicode_InternInPlace(&name);
    PyTuple_SET_ITEM(names.get(), static_cast<Py_ssize_t>(i), name);
  }
  auto collapse = [](std::vector<std::uint16_t>& formats) {  // one code for all when they agree
    bool binary = true;
    for (std::uint16_t f : formats) binary &= f == 1;
    if (binary) formats.assign(1, 1);
  };
  collapse(parameter_formats);
  collapse(result_formats);
  RecordShape* made = new_record_shape(names.get(), track);
  if (!made) return false;
  Py_XDECREF(reinterpret_cast<PyObject*>(shape));
  shape = made;
  ready = true;
  return true;
}

bool PyStatement::same_result(const std::vector<backend::Column>& described) const noexcept {
  if (described.size() != columns.size()) return false;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (described[i].type_oid != columns[i].type_oid || described[i].name != columns[i].name) return false;
  }
  return true;
}

PyStatement* lookup_statement(Catalog& catalog, PyObject* sql, std::size_t max_cacheable) {
  if (!PyUnicode_Check(sql)) {
    PyErr_Format(PyExc_TypeError, "the query must be a str, not %s", Py_TYPE(sql)->tp_name);
    return nullptr;
  }
  PyObject* handle = PyDict_GetItemWithError(catalog.statements(), sql);
  if (handle) return reinterpret_cast<Handle*>(handle)->statement;
  if (PyErr_Occurred()) return nullptr;
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(sql, &size);
  if (!text) return nullptr;
  if (std::string_view(text, static_cast<std::size_t>(size)).find('\0') != std::string_view::npos) {
    PyErr_SetString(errors.interface, "the query contains a NUL character");
    return nullptr;
  }
  auto* s = new PyStatement(catalog, sql, std::string(text, static_cast<std::size_t>(size)));
  StatementRef guard(s);
  if (max_cacheable && static_cast<std::size_t>(size) > max_cacheable) s->cacheable = false;
  return store(*s) ? s : nullptr;  // the handle keeps it
}

void retire_statement(PyStatement& s) {
  s.stale = true;
  PyObject* dict = s.catalog.statements();
  PyObject* handle = PyDict_GetItemWithError(dict, s.sql_object.get());
  if (handle && reinterpret_cast<Handle*>(handle)->statement == &s) PyDict_DelItem(dict, s.sql_object.get());
  PyErr_Clear();
}

bool replace_statement(PyStatement& s) { return store(s); }

PyObject* decode_row(const PyStatement& s, PyTypeObject* type, std::string_view body, RowError& error) {
  const char* p = body.data();
  const char* end = p + body.size();
  std::size_t count = s.decoders.size();
  error = RowError::malformed;
  if (body.size() < 2 || wire::get16(p) != count) return nullptr;
  p += 2;
  Record* r = new_record(type, s.shape, static_cast<Py_ssize_t>(count));
  if (!r) {
    error = RowError::python;
    return nullptr;
  }
  const PyStatement::Decoder* decoder = s.decoders.data();
  for (std::size_t i = 0; i < count; ++i, ++decoder) {
    if (end - p < 4) goto bad;
    {
      auto n = static_cast<std::int32_t>(wire::get32(p));
      p += 4;
      PyObject* value;
      if (n >= 0) {
        if (end - p < n) goto bad;
        value = decoder->decode(*decoder->type, p, n);
        if (!value) {
          error = RowError::python;
          goto bad;
        }
        p += n;
      } else {
        if (n != -1) goto bad;
        value = Py_NewRef(Py_None);
      }
      r->items[i] = value;
    }
  }
  if (p != end) goto bad;
  finish_record(r);
  error = RowError::none;
  return reinterpret_cast<PyObject*>(r);
bad:
  Py_DECREF(reinterpret_cast<PyObject*>(r));
  return nullptr;
}

PyObject* decode_row_tuple(const PyStatement& s, std::string_view body, RowError& error) {
  wire::Reader in(body);
  std::size_t count = in.u16();
  error = RowError::malformed;
  if (count != s.decoders.size()) return nullptr;
  Ref tuple(PyTuple_New(static_cast<Py_ssize_t>(count)));
  if (!tuple) {
    error = RowError::python;
    return nullptr;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view value;
    bool null;
    if (!in.field(value, null)) return nullptr;
    PyObject* item = null
                         ? Py_NewRef(Py_None)
                         : s.decoders[i].decode(*s.decoders[i].type, value.data(), static_cast<int>(value.size()));
    if (!item) {
      error = RowError::python;
      return nullptr;
    }
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), item);
  }
  if (!in.done()) return nullptr;
  error = RowError::none;
  return tuple.release();
}

PyObject* decode_column(const PyStatement& s, std::size_t column, std::string_view body, RowError& error) {
  wire::Reader in(body);
  error = RowError::malformed;
  if (in.u16() != s.decoders.size() || column >= s.decoders.size()) return nullptr;
  PyObject* result = nullptr;
  for (std::size_t i = 0; i < s.decoders.size(); ++i) {
    std::string_view value;
    bool null;
    if (!in.field(value, null)) break;
    if (i != column) continue;
    result = null ? Py_NewRef(Py_None)
                  : s.decoders[i].decode(*s.decoders[i].type, value.data(), static_cast<int>(value.size()));
    if (!result) {
      error = RowError::python;
      return nullptr;
    }
  }
  if (!in.done()) {
    Py_XDECREF(result);
    return nullptr;
  }
  error = RowError::none;
  return result;
}

bool init_statement() {
  handle_type.tp_name = "fasterapi_pg._pg._StatementHandle";
  handle_type.tp_basicsize = sizeof(Handle);
  handle_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  handle_type.tp_dealloc = handle_dealloc;
  return PyType_Ready(&handle_type) == 0;
}

}  // namespace fasterapi::pg::py
