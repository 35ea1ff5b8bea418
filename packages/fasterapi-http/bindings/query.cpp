// QueryParams: decoded query parameters. Mapping of the last value per name, as Starlette; all values by
// getlist().
#include <fasterapi/http/uri.hpp>

#include "request.hpp"

namespace fasterapi::http::py {
namespace {

struct QueryObject {
  PyObject ob_base;  // PyObject_HEAD
  PyObject* pairs;   // list of (name, value) in order
  PyObject* last;    // dict name -> last value
};

PyTypeObject* query_type = nullptr;
QueryObject* as_query(PyObject* object) { return reinterpret_cast<QueryObject*>(object); }

void query_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  Py_CLEAR(as_query(object)->pairs);
  Py_CLEAR(as_query(object)->last);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* make(PyTypeObject* type, PyObject* pairs) {
  Ref last(PyDict_New());
  if (!last) return nullptr;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); ++i) {
    PyObject* pair = PyList_GET_ITEM(pairs, i);
    if (PyDict_SetItem(last.get(), PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) < 0) return nullptr;
  }
  auto* self = reinterpret_cast<QueryObject*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->pairs = Py_NewRef(pairs);
  self->last = last.release();
  return reinterpret_cast<PyObject*>(self);
}

PyObject* parse(std::string_view query) {
  Ref pairs(PyList_New(0));
  if (!pairs) return nullptr;
  QueryPair pair;
  for (QueryReader reader(query); reader.next(pair);) {
    Ref name(decoded_form_text(pair.name)), value(decoded_form_text(pair.value));
    Ref item(name && value ? PyTuple_Pack(2, name.get(), value.get()) : nullptr);
    if (!item || PyList_Append(pairs.get(), item.get()) < 0) return nullptr;
  }
  return pairs.release();
}

PyObject* query_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* source = nullptr;
  if (!PyArg_ParseTuple(args, "|O", &source)) return nullptr;
  Ref pairs;
  if (!source || source == Py_None) {
    pairs.reset(PyList_New(0));
  } else if (PyUnicode_Check(source)) {
    std::string_view text = as_utf8(source);
    pairs.reset(text.data() ? parse(text) : nullptr);
  } else if (PyBytes_Check(source)) {
    pairs.reset(parse(bytes_view(source)));
  } else {
    Ref items(PyObject_HasAttrString(source, "items") ? PyMapping_Items(source) : PySequence_List(source));
    if (!items) return nullptr;
    pairs.reset(PyList_New(0));
    for (Py_ssize_t i = 0; pairs && i < PyList_GET_SIZE(items.get()); ++i) {
      Ref pair(PySequence_Tuple(PyList_GET_ITEM(items.get(), i)));
      if (!pair || PyTuple_GET_SIZE(pair.get()) != 2 || PyList_Append(pairs.get(), pair.get()) < 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "QueryParams takes (name, value) pairs");
        return nullptr;
      }
    }
  }
  return pairs ? make(type, pairs.get()) : nullptr;
}

PyObject* query_subscript(PyObject* object, PyObject* key) {
  return PyObject_GetItem(as_query(object)->last, key);
}
int query_contains(PyObject* object, PyObject* key) { return PyDict_Contains(as_query(object)->last, key); }
Py_ssize_t query_length(PyObject* object) { return PyDict_GET_SIZE(as_query(object)->last); }
PyObject* query_iter(PyObject* object) { return PyObject_GetIter(as_query(object)->last); }
PyObject* query_keys(PyObject* object, PyObject*) {
  return PyObject_CallMethod(as_query(object)->last, "keys", nullptr);
}
PyObject* query_values(PyObject* object, PyObject*) {
  return PyObject_CallMethod(as_query(object)->last, "values", nullptr);
}
PyObject* query_items(PyObject* object, PyObject*) {
  return PyObject_CallMethod(as_query(object)->last, "items", nullptr);
}
PyObject* query_multi(PyObject* object, PyObject*) { return PySequence_List(as_query(object)->pairs); }

PyObject* query_get(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count < 1 || count > 2) {
    PyErr_SetString(PyExc_TypeError, "get() takes a name and an optional default");
    return nullptr;
  }
  PyObject* value = PyDict_GetItemWithError(as_query(object)->last, args[0]);
  if (!value && PyErr_Occurred()) return nullptr;
  return Py_NewRef(value ? value : count == 2 ? args[1] : Py_None);
}

PyObject* query_getlist(PyObject* object, PyObject* name) {
  Ref list(PyList_New(0));
  PyObject* pairs = as_query(object)->pairs;
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(pairs); ++i) {
    PyObject* pair = PyList_GET_ITEM(pairs, i);
    int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), name, Py_EQ);
    if (same < 0 || (same && PyList_Append(list.get(), PyTuple_GET_ITEM(pair, 1)) < 0)) return nullptr;
  }
  return list.release();
}

PyObject* query_str(PyObject* object) {
  Ref parse_module(PyImport_ImportModule("urllib.parse"));
  return parse_module ? PyObject_CallMethod(parse_module.get(), "urlencode", "O", as_query(object)->pairs)
                      : nullptr;
}
PyObject* query_repr(PyObject* object) {
  Ref text(query_str(object));
  return text ? PyUnicode_FromFormat("QueryParams(%R)", text.get()) : nullptr;
}
PyObject* query_compare(PyObject* left, PyObject* right, int op) {
  if ((op != Py_EQ && op != Py_NE) || !PyObject_TypeCheck(left, query_type) ||
      !PyObject_TypeCheck(right, query_type))
    Py_RETURN_NOTIMPLEMENTED;
  Ref a(PySequence_List(as_query(left)->pairs)), b(PySequence_List(as_query(right)->pairs));
  if (!a || !b || PyList_Sort(a.get()) < 0 || PyList_Sort(b.get()) < 0) return nullptr;
  return PyObject_RichCompare(a.get(), b.get(), op);
}

PyMethodDef methods[] = {
    {"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(query_get)), METH_FASTCALL,
     "get(name, default=None, /)\n--\n\nLast value of that name."},
    {"getlist", query_getlist, METH_O, "getlist(name, /)\n--\n\nAll values of that name."},
    {"multi_items", query_multi, METH_NOARGS, "multi_items()\n--\n\nAll (name, value) pairs in order."},
    {"keys", query_keys, METH_NOARGS, "keys()\n--\n\nNames."},
    {"values", query_values, METH_NOARGS, "values()\n--\n\nLast value of each name."},
    {"items", query_items, METH_NOARGS, "items()\n--\n\n(name, last value) of each name."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(query_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(query_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(query_iter)},
    {Py_tp_str, reinterpret_cast<void*>(query_str)},
    {Py_tp_repr, reinterpret_cast<void*>(query_repr)},
    {Py_tp_richcompare, reinterpret_cast<void*>(query_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(PyObject_HashNotImplemented)},
    {Py_tp_methods, methods},
    {Py_mp_subscript, reinterpret_cast<void*>(query_subscript)},
    {Py_mp_length, reinterpret_cast<void*>(query_length)},
    {Py_sq_contains, reinterpret_cast<void*>(query_contains)},
    {Py_tp_doc,
     const_cast<char*>("QueryParams(source=None, /)\n--\n\nDecoded query parameters: a mapping of the last "
                       "value of each name.")},
    {0, nullptr},
};
PyType_Spec spec = {"fasterapi_http.QueryParams", sizeof(QueryObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_MAPPING, slots};

}  // namespace

PyObject* make_query_params(std::string_view query) noexcept {
  Ref pairs(parse(query));
  return pairs ? make(query_type, pairs.get()) : nullptr;
}

bool init_query(PyObject* module) noexcept {
  query_type = add_type(module, spec);
  return query_type != nullptr;
}

}  // namespace fasterapi::http::py
