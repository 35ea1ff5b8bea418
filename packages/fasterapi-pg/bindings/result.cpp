// BaseResult: rows as they were received; decoded when touched. Also Column, which describes one of them.
#include <cstring>

#include "objects.hpp"
#include "protocol/wire.hpp"

namespace fasterapi::pg::py {

PyTypeObject* result_type = nullptr;

namespace {

PyTypeObject* g_result_class = nullptr;
PyTypeObject* g_column_type = nullptr;

struct ResultBody {
  StatementRef statement;
  RowStore rows;
  std::vector<std::uint64_t> offsets;  // of every row, made at the first random access
  std::string tag;
  Ref record;  // class of the rows
};
struct ResultObject {
  PyObject_HEAD ResultBody* body;
};

ResultBody& body(PyObject* self) { return *reinterpret_cast<ResultObject*>(self)->body; }
const PyStatement& statement(const ResultBody& b) { return *static_cast<PyStatement*>(b.statement.get()); }
PyTypeObject* record_of(const ResultBody& b) {
  return b.record ? reinterpret_cast<PyTypeObject*>(b.record.get()) : &record_type;
}

std::string_view row_at(const ResultBody& b, std::uint64_t offset) {
  const char* p = b.rows.bytes.data() + offset;
  std::uint32_t size;
  std::memcpy(&size, p, 4);
  return {p + 4, size};
}

PyObject* checked(PyObject* value, const RowError& error) {
  if (error == RowError::malformed) PyErr_SetString(errors.protocol, "malformed row from the server");
  return value;
}

template <class Make>
PyObject* collect(ResultBody& b, Make make) {
  Ref list(PyList_New(static_cast<Py_ssize_t>(b.rows.count)));
  if (!list) return nullptr;
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < b.rows.count; ++i) {
    std::string_view row = row_at(b, offset);
    PyObject* item = make(row);
    if (!item) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item);
    offset += row.size() + 4;
  }
  return list.release();
}

PyObject* record_from(ResultBody& b, std::string_view row) {
  RowError error = RowError::none;
  return checked(decode_row(statement(b), record_of(b), row, error), error);
}

PyObject* all(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  return collect(b, [&](std::string_view row) { return record_from(b, row); });
}
PyObject* tuples(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  return collect(b, [&](std::string_view row) {
    RowError error = RowError::none;
    return checked(decode_row_tuple(statement(b), row, error), error);
  });
}
PyObject* dicts(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  PyObject* names = statement(b).shape->names;
  return collect(b, [&](std::string_view row) -> PyObject* {
    RowError error = RowError::none;
    Ref values(checked(decode_row_tuple(statement(b), row, error), error));
    Ref dict(values ? PyDict_New() : nullptr);
    for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(values.get()); ++i) {
      if (PyDict_SetItem(dict.get(), PyTuple_GET_ITEM(names, i), PyTuple_GET_ITEM(values.get(), i)) != 0)
        return nullptr;
    }
    return dict.release();
  });
}
PyObject* scalars(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  return collect(b, [&](std::string_view row) {
    RowError error = RowError::none;
    return checked(decode_column(statement(b), 0, row, error), error);
  });
}

PyObject* first(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  return b.rows.count ? record_from(b, row_at(b, 0)) : Py_NewRef(Py_None);
}
bool single(ResultBody& b) {
  if (b.rows.count <= 1) return true;
  Ref error = make_error(errors.multiple_results, "the query returned " + std::to_string(b.rows.count) +
                                                      " rows where at most one is expected");
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return false;
}
PyObject* one_or_none(PyObject* self, PyObject*) { return single(body(self)) ? first(self, nullptr) : nullptr; }
PyObject* one(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  if (!single(b)) return nullptr;
  if (b.rows.count) return first(self, nullptr);
  Ref error = make_error(errors.no_result, "the query returned no rows where one is expected");
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}
PyObject* scalar(PyObject* self, PyObject*) {
  ResultBody& b = body(self);
  if (!b.rows.count) Py_RETURN_NONE;
  RowError error = RowError::none;
  return checked(decode_column(statement(b), 0, row_at(b, 0), error), error);
}

// ---------------------------------------------------------------- sequence

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(body(self).rows.count); }

PyObject* item(PyObject* self, Py_ssize_t i) {
  ResultBody& b = body(self);
  if (i < 0 || i >= static_cast<Py_ssize_t>(b.rows.count)) {
    PyErr_SetString(PyExc_IndexError, "result index out of range");
    return nullptr;
  }
  if (b.offsets.empty()) {
    std::uint64_t offset = 0;
    b.offsets.reserve(b.rows.count);
    for (std::size_t n = 0; n < b.rows.count; ++n) {
      b.offsets.push_back(offset);
      offset += row_at(b, offset).size() + 4;
    }
  }
  return record_from(b, row_at(b, b.offsets[static_cast<std::size_t>(i)]));
}

PyObject* subscript(PyObject* self, PyObject* key) {
  if (PySlice_Check(key)) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step) != 0) return nullptr;
    Py_ssize_t n = PySlice_AdjustIndices(length(self), &start, &stop, step);
    Ref list(PyList_New(n));
    for (Py_ssize_t i = 0; list && i < n; ++i, start += step) {
      PyObject* row = item(self, start);
      if (!row) return nullptr;
      PyList_SET_ITEM(list.get(), i, row);
    }
    return list.release();
  }
  Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (i == -1 && PyErr_Occurred()) return nullptr;
  return item(self, i < 0 ? i + length(self) : i);
}

PyObject* iterate(PyObject* self) { return PySeqIter_New(self); }

PyObject* repr(PyObject* self) {
  ResultBody& b = body(self);
  return PyUnicode_FromFormat("<Result %s, %zu rows>", b.tag.c_str(), b.rows.count);
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<ResultObject*>(self)->body;
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  return PyErr_Format(PyExc_TypeError, "cannot create '%s' instances", type->tp_name);
}

// ---------------------------------------------------------------- description

PyObject* get_status(PyObject* self, void*) { return to_str(body(self).tag); }
PyObject* get_rowcount(PyObject* self, void*) {
  return PyLong_FromLongLong(backend::affected_rows(body(self).tag));
}
PyObject* get_columns(PyObject* self, void*) { return Py_NewRef(statement(body(self)).shape->names); }
PyObject* get_column_types(PyObject* self, void*) {
  const PyStatement& s = statement(body(self));
  Ref t(PyTuple_New(static_cast<Py_ssize_t>(s.decoders.size())));
  for (std::size_t i = 0; t && i < s.decoders.size(); ++i) {
    PyObject* c = column_object(s.decoders[i].type, s.columns[i].name);
    if (!c) return nullptr;
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), c);
  }
  return t.release();
}

PyMethodDef methods[] = {
    {"all", all, METH_NOARGS, "all()\n--\n\nEvery row, as a list of records."},
    {"first", first, METH_NOARGS, "first()\n--\n\nThe first row, or None."},
    {"one", one, METH_NOARGS, "one()\n--\n\nThe only row; an error when there is none or more than one."},
    {"one_or_none", one_or_none, METH_NOARGS,
     "one_or_none()\n--\n\nThe only row or None; an error when there are more."},
    {"scalar", scalar, METH_NOARGS, "scalar()\n--\n\nFirst column of the first row; None without rows."},
    {"scalars", scalars, METH_NOARGS, "scalars()\n--\n\nFirst column of every row."},
    {"tuples", tuples, METH_NOARGS, "tuples()\n--\n\nEvery row as a plain tuple."},
    {"dicts", dicts, METH_NOARGS, "dicts()\n--\n\nEvery row as a dict."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef getset[] = {
    {"status", get_status, nullptr, "Command tag, such as 'SELECT 3'.", nullptr},
    {"rowcount", get_rowcount, nullptr, "Rows the command touched; -1 when it has no count.", nullptr},
    {"columns", get_columns, nullptr, "Names of the columns.", nullptr},
    {"column_types", get_column_types, nullptr, "Names and types of the columns.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_iter, reinterpret_cast<void*>(iterate)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_sq_length, reinterpret_cast<void*>(length)},
    {Py_sq_item, reinterpret_cast<void*>(item)},
    {Py_mp_length, reinterpret_cast<void*>(length)},
    {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
    {Py_tp_doc, const_cast<char*>("The rows of one query as received; values are decoded when touched.")},
    {0, nullptr}};
PyType_Spec spec = {"fasterapi_pg._pg.BaseResult", sizeof(ResultObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_SEQUENCE, slots};

PyStructSequence_Field column_fields[] = {
    {"name", "column name"},
    {"type_oid", "object identifier of the type"},
    {"type_name", "name of the type"},
    {"type_schema", "schema of the type"},
    {"type_kind", "scalar, array, composite, range, multirange, domain or enum"},
    {nullptr, nullptr}};
PyStructSequence_Desc column_desc = {"fasterapi_pg._pg.Column", "A result column.", column_fields, 5};

}  // namespace

PyObject* make_result(PyStatement& s, PyTypeObject* record, RowStore&& rows, const std::string& tag) {
  PyTypeObject* type = g_result_class ? g_result_class : result_type;
  auto* self = reinterpret_cast<ResultObject*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->body = new ResultBody{StatementRef(&s),
                              std::move(rows),
                              {},
                              tag,
                              record == &record_type ? Ref() : Ref::borrow(reinterpret_cast<PyObject*>(record))};
  return reinterpret_cast<PyObject*>(self);
}

PyObject* set_result_class(PyObject*, PyObject* cls) {
  if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), result_type)) {
    return PyErr_Format(PyExc_TypeError, "%R is not a subclass of BaseResult", cls);
  }
  Py_INCREF(cls);
  Py_XDECREF(reinterpret_cast<PyObject*>(g_result_class));
  g_result_class = reinterpret_cast<PyTypeObject*>(cls);
  Py_RETURN_NONE;
}

PyObject* column_object(const Type* type, const std::string& name) {
  PyObject* c = PyStructSequence_New(g_column_type);
  if (!c) return nullptr;
  PyStructSequence_SetItem(c, 0, to_str(name));
  PyStructSequence_SetItem(c, 1, PyLong_FromUnsignedLong(type->oid));
  PyStructSequence_SetItem(c, 2, to_str(type->name));
  PyStructSequence_SetItem(c, 3, to_str(type->schema));
  PyStructSequence_SetItem(c, 4, PyUnicode_FromString(kind_name(type->kind)));
  return c;
}

bool init_result(PyObject* module) {
  result_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  g_column_type = PyStructSequence_NewType(&column_desc);
  return result_type && g_column_type &&
         PyModule_AddObjectRef(module, "BaseResult", reinterpret_cast<PyObject*>(result_type)) == 0 &&
         PyModule_AddObjectRef(module, "Column", reinterpret_cast<PyObject*>(g_column_type)) == 0;
}

}  // namespace fasterapi::pg::py
