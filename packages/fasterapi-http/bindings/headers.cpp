// Headers: case-insensitive multi-mapping, either a lazy view over a request or over a list of (bytes, bytes).
// MutableHeaders: the list kind, with validation of everything that goes in.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <array>
#include <cstring>
#include <string>

#include <fasterapi/http/response_head.hpp>

#include "request.hpp"

namespace fasterapi::http::py {
namespace {

struct HeadersObject {
  PyObject ob_base;  // PyObject_HEAD
  Transaction* tx;   // the view kind: alive because `owner` is
  PyObject* owner;
  PyObject* list;  // the list kind
};

PyTypeObject* headers_type = nullptr;
PyTypeObject* mutable_type = nullptr;
constexpr int kFree = 32;
HeadersObject* free_list[kFree];
int free_count = 0;

HeadersObject* as_headers(PyObject* object) { return reinterpret_cast<HeadersObject*>(object); }

Py_ssize_t field_count(HeadersObject* self) {
  return self->tx ? self->tx->head.field_count : self->list ? PyList_GET_SIZE(self->list) : 0;
}
std::string_view field_name(HeadersObject* self, Py_ssize_t i) {
  if (self->tx) return self->tx->head.name(static_cast<unsigned>(i));
  return bytes_view(PyTuple_GET_ITEM(PyList_GET_ITEM(self->list, i), 0));
}
std::string_view field_value(HeadersObject* self, Py_ssize_t i) {
  if (self->tx) return self->tx->head.value(static_cast<unsigned>(i));
  return bytes_view(PyTuple_GET_ITEM(PyList_GET_ITEM(self->list, i), 1));
}

/// A key as lower-case bytes. `ok` is false with an exception set (not a str), or without one (never matches).
struct Key {
  explicit Key(PyObject* key) {
    if (PyBytes_Check(key)) {
      text.assign(bytes_view(key));
    } else if (PyUnicode_Check(key)) {
      if (!PyUnicode_IS_ASCII(key)) return;
      text.assign(static_cast<const char*>(PyUnicode_DATA(key)),
                  static_cast<std::size_t>(PyUnicode_GET_LENGTH(key)));
    } else {
      return;
    }
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c |= 0x20;
    ok = true;
  }
  std::string text;
  bool ok = false;
};

Py_ssize_t find(HeadersObject* self, const Key& key, Py_ssize_t from = 0) {
  if (!key.ok) return -1;
  if (self->tx) {
    unsigned at = self->tx->head.find_index(key.text, static_cast<unsigned>(from));
    return at < self->tx->head.field_count ? static_cast<Py_ssize_t>(at) : -1;
  }
  for (Py_ssize_t i = from, n = field_count(self); i < n; ++i)
    if (equals_lower(field_name(self, i), key.text)) return i;
  return -1;
}

PyObject* headers_subscript(PyObject* object, PyObject* key) {
  auto* self = as_headers(object);
  Py_ssize_t at = find(self, Key(key));
  if (at >= 0) return latin1(field_value(self, at));
  PyErr_SetObject(PyExc_KeyError, key);
  return nullptr;
}

int headers_contains(PyObject* object, PyObject* key) { return find(as_headers(object), Key(key)) >= 0; }
Py_ssize_t headers_length(PyObject* object) { return field_count(as_headers(object)); }

PyObject* headers_get(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count < 1 || count > 2) {
    PyErr_SetString(PyExc_TypeError, "get() takes a name and an optional default");
    return nullptr;
  }
  auto* self = as_headers(object);
  Py_ssize_t at = find(self, Key(args[0]));
  if (at >= 0) return latin1(field_value(self, at));
  return Py_NewRef(count == 2 ? args[1] : Py_None);
}

enum class What { keys, values, items, raw };

PyObject* listed(HeadersObject* self, What what) {
  Py_ssize_t count = field_count(self);
  Ref list(PyList_New(count));
  if (!list) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = nullptr;
    if (what == What::keys) {
      item = lower_latin1(field_name(self, i));
    } else if (what == What::values) {
      item = latin1(field_value(self, i));
    } else {
      Ref name, value;
      if (what == What::items) {
        name.reset(lower_latin1(field_name(self, i)));
        value.reset(latin1(field_value(self, i)));
      } else {
        Ref text(lower_latin1(field_name(self, i)));
        name.reset(text ? PyUnicode_AsLatin1String(text.get()) : nullptr);
        value.reset(to_bytes(field_value(self, i)));
      }
      item = name && value ? PyTuple_Pack(2, name.get(), value.get()) : nullptr;
    }
    if (!item) return nullptr;
    PyList_SET_ITEM(list.get(), i, item);
  }
  return list.release();
}

PyObject* headers_keys(PyObject* object, PyObject*) { return listed(as_headers(object), What::keys); }
PyObject* headers_values(PyObject* object, PyObject*) { return listed(as_headers(object), What::values); }
PyObject* headers_items(PyObject* object, PyObject*) { return listed(as_headers(object), What::items); }
PyObject* headers_iter(PyObject* object) {
  Ref keys(listed(as_headers(object), What::keys));
  return keys ? PyObject_GetIter(keys.get()) : nullptr;
}
PyObject* headers_raw(PyObject* object, void*) {
  auto* self = as_headers(object);
  return self->list ? Py_NewRef(self->list) : listed(self, What::raw);
}

PyObject* headers_getlist(PyObject* object, PyObject* name) {
  auto* self = as_headers(object);
  Key key(name);
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  for (Py_ssize_t at = find(self, key); at >= 0; at = find(self, key, at + 1)) {
    Ref value(latin1(field_value(self, at)));
    if (!value || PyList_Append(list.get(), value.get()) < 0) return nullptr;
  }
  return list.release();
}

PyObject* headers_repr(PyObject* object) {
  Ref items(listed(as_headers(object), What::items));
  if (!items) return nullptr;
  return PyUnicode_FromFormat("%s(%R)", Py_IS_TYPE(object, mutable_type) ? "MutableHeaders" : "Headers",
                              items.get());
}

PyObject* headers_compare(PyObject* left, PyObject* right, int op) {
  if ((op != Py_EQ && op != Py_NE) || !PyObject_TypeCheck(left, headers_type) ||
      !PyObject_TypeCheck(right, headers_type))
    Py_RETURN_NOTIMPLEMENTED;
  Ref a(listed(as_headers(left), What::items)), b(listed(as_headers(right), What::items));
  if (!a || !b || PyList_Sort(a.get()) < 0 || PyList_Sort(b.get()) < 0) return nullptr;
  return PyObject_RichCompare(a.get(), b.get(), op);
}

PyObject* headers_mutablecopy(PyObject* object, PyObject*) {
  Ref list(listed(as_headers(object), What::raw));
  return list ? make_mutable_headers(list.get()) : nullptr;
}

// ---------------------------------------------------------------- changes

/// bytes of a str (latin-1) or bytes, checked against header injection.
PyObject* checked(PyObject* text, bool name) {
  Ref bytes;
  if (PyBytes_Check(text))
    bytes = Ref::borrow(text);
  else if (PyUnicode_Check(text))
    bytes.reset(PyUnicode_AsLatin1String(text));
  else
    PyErr_Format(PyExc_TypeError, "header %s must be str, not %.80s", name ? "names" : "values",
                 Py_TYPE(text)->tp_name);
  if (!bytes) return nullptr;
  std::string_view view = bytes_view(bytes.get());
  if (name ? !valid_field_name(view) : !valid_field_value(view)) {
    PyErr_SetString(PyExc_ValueError,
                    name ? "a header name must be a token (RFC 9110 section 5.6.2)"
                         : "a header value must not contain CR, LF, NUL or other control characters");
    return nullptr;
  }
  if (!name) return bytes.release();
  Ref lowered(lower_latin1(view));
  return lowered ? PyUnicode_AsLatin1String(lowered.get()) : nullptr;
}

PyObject* checked_pair(PyObject* name, PyObject* value) {
  Ref a(checked(name, true));
  if (!a) return nullptr;
  Ref b(checked(value, false));
  return b ? PyTuple_Pack(2, a.get(), b.get()) : nullptr;
}

int headers_assign(PyObject* object, PyObject* name, PyObject* value) {
  auto* self = as_headers(object);
  Key key(name);
  Ref pair;
  if (value && !(pair = Ref(checked_pair(name, value)))) return -1;
  bool placed = false, found = false;
  for (Py_ssize_t at = find(self, key); at >= 0; at = find(self, key, at)) {
    found = true;
    if (value && !placed) {
      if (PyList_SetItem(self->list, at, Py_NewRef(pair.get())) < 0) return -1;
      placed = true;
      ++at;
      if (at >= PyList_GET_SIZE(self->list)) break;
      continue;
    }
    if (PyList_SetSlice(self->list, at, at + 1, nullptr) < 0) return -1;
  }
  if (value && !placed) return PyList_Append(self->list, pair.get());
  (void)found;  // deleting what is not there is no error, as in Starlette
  return 0;
}

PyObject* headers_append(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "append() takes a name and a value");
    return nullptr;
  }
  Ref pair(checked_pair(args[0], args[1]));
  if (!pair || PyList_Append(as_headers(object)->list, pair.get()) < 0) return nullptr;
  Py_RETURN_NONE;
}

PyObject* headers_setdefault(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "setdefault() takes a name and a value");
    return nullptr;
  }
  auto* self = as_headers(object);
  Py_ssize_t at = find(self, Key(args[0]));
  if (at >= 0) return latin1(field_value(self, at));
  if (headers_assign(object, args[0], args[1]) < 0) return nullptr;
  return Py_NewRef(args[1]);
}

int merge(PyObject* object, PyObject* mapping) {
  Ref items(PyObject_CallMethod(mapping, "items", nullptr));
  if (!items) return -1;
  Ref iterator(PyObject_GetIter(items.get()));
  if (!iterator) return -1;
  while (Ref pair{PyIter_Next(iterator.get())}) {
    Ref name(PySequence_GetItem(pair.get(), 0)), value(PySequence_GetItem(pair.get(), 1));
    if (!name || !value || headers_assign(object, name.get(), value.get()) < 0) return -1;
  }
  return PyErr_Occurred() ? -1 : 0;
}
PyObject* headers_update(PyObject* object, PyObject* mapping) {
  if (merge(object, mapping) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* headers_ior(PyObject* object, PyObject* mapping) {
  if (merge(object, mapping) < 0) return nullptr;
  return Py_NewRef(object);
}

PyObject* headers_add_vary(PyObject* object, PyObject* vary) {
  auto* self = as_headers(object);
  Ref name(PyUnicode_FromString("vary"));
  Py_ssize_t at = find(self, Key(name.get()));
  Ref value;
  if (at >= 0) {
    Ref old(latin1(field_value(self, at)));
    value.reset(old ? PyUnicode_FromFormat("%U, %S", old.get(), vary) : nullptr);
  } else {
    value = Ref::borrow(vary);
  }
  if (!value || headers_assign(object, name.get(), value.get()) < 0) return nullptr;
  Py_RETURN_NONE;
}

// ---------------------------------------------------------------- life

PyObject* headers_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"headers", "raw", "scope", nullptr};
  PyObject *headers = Py_None, *raw = Py_None, *scope = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOO", const_cast<char**>(names), &headers, &raw, &scope))
    return nullptr;
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  Ref source;
  if (headers != Py_None)
    source.reset(PyMapping_Items(headers));
  else if (raw != Py_None)
    source.reset(PySequence_List(raw));
  else if (scope != Py_None) {
    Ref fields(PyMapping_GetItemString(scope, "headers"));
    source.reset(fields ? PySequence_List(fields.get()) : nullptr);
  } else {
    source.reset(PyList_New(0));
  }
  if (!source) return nullptr;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(source.get()); ++i) {
    Ref name(PySequence_GetItem(PyList_GET_ITEM(source.get(), i), 0));
    Ref value(PySequence_GetItem(PyList_GET_ITEM(source.get(), i), 1));
    Ref pair(name && value ? checked_pair(name.get(), value.get()) : nullptr);
    if (!pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
  }
  auto* self = reinterpret_cast<HeadersObject*>(PyType_GenericAlloc(type, 0));
  if (!self) return nullptr;
  self->list = list.release();
  return reinterpret_cast<PyObject*>(self);
}

void headers_dealloc(PyObject* object) {
  auto* self = as_headers(object);
  PyTypeObject* type = Py_TYPE(object);
  self->tx = nullptr;
  Py_CLEAR(self->owner);
  Py_CLEAR(self->list);
  if ((type == headers_type || type == mutable_type) && free_count < kFree)
    free_list[free_count++] = self;
  else
    type->tp_free(object);
  Py_DECREF(type);
}

HeadersObject* make(PyTypeObject* type) {
  HeadersObject* self;
  if (free_count > 0) {
    self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), type);
  } else {
    self = PyObject_New(HeadersObject, type);
    if (!self) return nullptr;
  }
  self->tx = nullptr;
  self->owner = self->list = nullptr;
  return self;
}

PyGetSetDef getset[] = {
    {"raw", headers_raw, nullptr, "List of (name, value) as bytes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef methods[] = {
    {"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(headers_get)), METH_FASTCALL,
     "get(name, default=None, /)\n--\n\nFirst value of that name."},
    {"getlist", headers_getlist, METH_O, "getlist(name, /)\n--\n\nAll values of that name."},
    {"keys", headers_keys, METH_NOARGS, "keys()\n--\n\nNames, lower case, in order."},
    {"values", headers_values, METH_NOARGS, "values()\n--\n\nValues in order."},
    {"items", headers_items, METH_NOARGS, "items()\n--\n\n(name, value) pairs in order."},
    {"mutablecopy", headers_mutablecopy, METH_NOARGS, "mutablecopy()\n--\n\nA MutableHeaders of the same fields."},
    {nullptr, nullptr, 0, nullptr},
};
PyMethodDef mutable_methods[] = {
    {"append", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(headers_append)), METH_FASTCALL,
     "append(name, value, /)\n--\n\nAdds a field beside others of that name. Raises ValueError for control "
     "characters."},
    {"setdefault", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(headers_setdefault)), METH_FASTCALL,
     "setdefault(name, value, /)\n--\n\nThe value of that name, set to `value` when it was absent."},
    {"update", headers_update, METH_O, "update(other, /)\n--\n\nSets every field of a mapping."},
    {"add_vary_header", headers_add_vary, METH_O, "add_vary_header(vary, /)\n--\n\nAdds a name to Vary."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot headers_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(headers_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(headers_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(headers_iter)},
    {Py_tp_repr, reinterpret_cast<void*>(headers_repr)},
    {Py_tp_richcompare, reinterpret_cast<void*>(headers_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(PyObject_HashNotImplemented)},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {Py_mp_subscript, reinterpret_cast<void*>(headers_subscript)},
    {Py_mp_length, reinterpret_cast<void*>(headers_length)},
    {Py_sq_contains, reinterpret_cast<void*>(headers_contains)},
    {Py_tp_doc, const_cast<char*>("Headers(headers=None, raw=None, scope=None)\n--\n\n"
                                  "Header fields: names without case, several values per name.")},
    {0, nullptr},
};
PyType_Slot mutable_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(headers_dealloc)},
    {Py_tp_methods, mutable_methods},
    {Py_mp_ass_subscript, reinterpret_cast<void*>(headers_assign)},
    {Py_nb_inplace_or, reinterpret_cast<void*>(headers_ior)},
    {Py_tp_doc, const_cast<char*>("MutableHeaders(headers=None, raw=None, scope=None)\n--\n\n"
                                  "Headers that can be changed; names and values are checked.")},
    {0, nullptr},
};
PyType_Spec headers_spec = {"fasterapi_http.Headers", sizeof(HeadersObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_MAPPING, headers_slots};
PyType_Spec mutable_spec = {"fasterapi_http.MutableHeaders", sizeof(HeadersObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_MAPPING, mutable_slots};

}  // namespace

PyObject* make_request_headers(Transaction& transaction, PyObject* owner) noexcept {
  HeadersObject* self = make(headers_type);
  if (!self) return nullptr;
  self->tx = &transaction;
  self->owner = Py_NewRef(owner);
  return reinterpret_cast<PyObject*>(self);
}

PyObject* make_mutable_headers(PyObject* list) noexcept {
  HeadersObject* self = make(mutable_type);
  if (!self) return nullptr;
  self->list = Py_NewRef(list);
  return reinterpret_cast<PyObject*>(self);
}

PyObject* checked_header_pair(PyObject* name, PyObject* value) noexcept { return checked_pair(name, value); }

bool init_headers(PyObject* module) noexcept {
  headers_type = add_type(module, headers_spec);
  if (!headers_type) return false;
  mutable_type = add_type(module, mutable_spec, headers_type);
  return mutable_type != nullptr;
}

}  // namespace fasterapi::http::py
