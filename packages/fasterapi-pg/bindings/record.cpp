#include "record.hpp"

#include <cstddef>

namespace fasterapi::pg::py {
namespace {

constexpr Py_ssize_t kFreeSizes = 20;  // records of fewer columns are recycled
constexpr unsigned kFreePerSize = 1024;
struct FreeList {
  Record* head = nullptr;  // linked through `shape`
  unsigned count = 0;
};
#ifndef Py_GIL_DISABLED
FreeList g_free[kFreeSizes];
#endif

Record* as_record(PyObject* o) { return reinterpret_cast<Record*>(o); }
PyObject* object(Record* r) { return reinterpret_cast<PyObject*>(r); }

// ---------------------------------------------------------------- shape

void shape_dealloc(PyObject* self) {
  auto* s = reinterpret_cast<RecordShape*>(self);
  Py_XDECREF(s->names);
  Py_XDECREF(s->indexes);
  PyObject_Free(self);
}

// ---------------------------------------------------------------- life

int traverse(PyObject* self, visitproc visit, void* arg) {
  Record* r = as_record(self);
  for (Py_ssize_t i = 0; i < Py_SIZE(r); ++i) Py_VISIT(r->items[i]);
  if (Py_TYPE(self)->tp_flags & Py_TPFLAGS_HEAPTYPE) Py_VISIT(Py_TYPE(self));
  return 0;
}

void dealloc(PyObject* self) {
  Record* r = as_record(self);
  PyObject_GC_UnTrack(self);
  Py_ssize_t size = Py_SIZE(r);
  for (Py_ssize_t i = 0; i < size; ++i) Py_XDECREF(r->items[i]);
  Py_XDECREF(reinterpret_cast<PyObject*>(r->shape));
#ifndef Py_GIL_DISABLED
  if (Py_TYPE(self) == &record_type && size < kFreeSizes && g_free[size].count < kFreePerSize) {
    FreeList& list = g_free[size];
    r->shape = reinterpret_cast<RecordShape*>(list.head);
    list.head = r;
    ++list.count;
    return;
  }
#endif
  Py_TYPE(self)->tp_free(self);
}

// ---------------------------------------------------------------- sequence and mapping

Py_ssize_t length(PyObject* self) { return Py_SIZE(self); }

PyObject* item(PyObject* self, Py_ssize_t i) {
  if (i < 0 || i >= Py_SIZE(self)) {
    PyErr_SetString(PyExc_IndexError, "record index out of range");
    return nullptr;
  }
  return Py_NewRef(as_record(self)->items[i]);
}

PyObject* as_tuple(PyObject* self) {
  Py_ssize_t n = Py_SIZE(self);
  PyObject* t = PyTuple_New(n);
  if (!t) return nullptr;
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(t, i, Py_NewRef(as_record(self)->items[i]));
  return t;
}

/// Borrowed value by name; nullptr without an exception when there is no such column.
PyObject* by_name(Record* r, PyObject* name) {
  PyObject* index = PyDict_GetItemWithError(r->shape->indexes, name);
  if (!index) return nullptr;
  Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || i >= Py_SIZE(r)) {
    PyErr_SetString(PyExc_RuntimeError, "invalid record shape");
    return nullptr;
  }
  return r->items[i];
}

PyObject* subscript(PyObject* self, PyObject* key) {
  if (PyUnicode_Check(key)) {
    PyObject* value = by_name(as_record(self), key);
    if (value) return Py_NewRef(value);
    if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, key);
    return nullptr;
  }
  if (PyIndex_Check(key)) {
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) return nullptr;
    return item(self, i < 0 ? i + Py_SIZE(self) : i);
  }
  if (PySlice_Check(key)) {
    Ref t(as_tuple(self));
    return t ? PyObject_GetItem(t.get(), key) : nullptr;
  }
  PyErr_SetObject(PyExc_KeyError, key);
  return nullptr;
}

int contains(PyObject* self, PyObject* name) { return PyDict_Contains(as_record(self)->shape->indexes, name); }

Py_hash_t hash(PyObject* self) {
  Record* r = as_record(self);
  if (r->hash != -1) return r->hash;
  Ref t(as_tuple(self));
  return t ? r->hash = PyObject_Hash(t.get()) : -1;
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  auto ok = [](PyObject* o) { return PyObject_TypeCheck(o, &record_type) || PyTuple_Check(o); };
  if (!ok(a) || !ok(b)) Py_RETURN_NOTIMPLEMENTED;
  Ref ta = PyTuple_Check(a) ? Ref::borrow(a) : Ref(as_tuple(a));
  Ref tb = PyTuple_Check(b) ? Ref::borrow(b) : Ref(as_tuple(b));
  return ta && tb ? PyObject_RichCompare(ta.get(), tb.get(), op) : nullptr;
}

PyObject* iterate(PyObject* self) {
  Ref t(as_tuple(self));
  return t ? PyObject_GetIter(t.get()) : nullptr;
}

PyObject* repr(PyObject* self) {
  int nested = Py_ReprEnter(self);
  if (nested != 0) return nested > 0 ? PyUnicode_FromString("<Record ...>") : nullptr;
  Record* r = as_record(self);
  Ref parts(PyList_New(0));
  bool ok = static_cast<bool>(parts);
  for (Py_ssize_t i = 0; ok && i < Py_SIZE(r); ++i) {
    Ref part(PyUnicode_FromFormat("%U=%R", PyTuple_GET_ITEM(r->shape->names, i), r->items[i]));
    ok = part && PyList_Append(parts.get(), part.get()) == 0;
  }
  Ref blank(ok ? PyUnicode_FromString(" ") : nullptr);
  Ref joined(blank ? PyUnicode_Join(blank.get(), parts.get()) : nullptr);
  PyObject* text =
      joined ? PyUnicode_FromFormat(Py_SIZE(r) ? "<Record %U>" : "<Record%U>", joined.get()) : nullptr;
  Py_ReprLeave(self);
  return text;
}

PyObject* get(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (n < 1 || n > 2) return PyErr_Format(PyExc_TypeError, "get expected 1 or 2 arguments, got %zd", n);
  PyObject* value = by_name(as_record(self), args[0]);
  if (value) return Py_NewRef(value);
  if (PyErr_Occurred()) return nullptr;
  return Py_NewRef(n == 2 ? args[1] : Py_None);
}

PyObject* keys(PyObject* self, PyObject*) { return PyObject_GetIter(as_record(self)->shape->names); }
PyObject* values(PyObject* self, PyObject*) { return iterate(self); }
PyObject* items(PyObject* self, PyObject*) {
  Record* r = as_record(self);
  Ref list(PyList_New(Py_SIZE(r)));
  for (Py_ssize_t i = 0; list && i < Py_SIZE(r); ++i) {
    PyObject* pair = PyTuple_Pack(2, PyTuple_GET_ITEM(r->shape->names, i), r->items[i]);
    if (!pair) return nullptr;
    PyList_SET_ITEM(list.get(), i, pair);
  }
  return list ? PyObject_GetIter(list.get()) : nullptr;
}

// Subclasses inherit this too: only the driver makes records (an instance without a shape must not exist).
PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  return PyErr_Format(PyExc_TypeError, "cannot create '%s' instances", type->tp_name);
}

PyMethodDef methods[] = {{"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(get)), METH_FASTCALL,
                          "get(key, default=None, /)\n--\n\nThe value of the column, or the default."},
                         {"keys", keys, METH_NOARGS, "keys()\n--\n\nIterator over the column names."},
                         {"values", values, METH_NOARGS, "values()\n--\n\nIterator over the values."},
                         {"items", items, METH_NOARGS, "items()\n--\n\nIterator over (name, value) pairs."},
                         {nullptr, nullptr, 0, nullptr}};

PySequenceMethods sequence;
PyMappingMethods mapping;

}  // namespace

PyTypeObject record_type = {PyVarObject_HEAD_INIT(nullptr, 0)};
PyTypeObject record_shape_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

RecordShape* new_record_shape(PyObject* names, bool track) {
  auto* s = PyObject_New(RecordShape, &record_shape_type);
  if (!s) return nullptr;
  s->names = Py_NewRef(names);
  s->track = track;
  s->indexes = PyDict_New();
  for (Py_ssize_t i = 0; s->indexes && i < PyTuple_GET_SIZE(names); ++i) {
    Ref index(PyLong_FromSsize_t(i));
    if (!index || PyDict_SetItem(s->indexes, PyTuple_GET_ITEM(names, i), index.get()) != 0) {
      Py_DECREF(reinterpret_cast<PyObject*>(s));
      return nullptr;
    }
  }
  return s;
}

Record* new_record(PyTypeObject* type, RecordShape* shape, Py_ssize_t size) {
  Record* r;
#ifndef Py_GIL_DISABLED
  if (type == &record_type && size < kFreeSizes && g_free[size].head) {
    FreeList& list = g_free[size];
    r = list.head;
    list.head = reinterpret_cast<Record*>(r->shape);
    --list.count;
    Py_SET_REFCNT(object(r), 1);
  } else
#endif
      if (type == &record_type) {
    r = PyObject_GC_NewVar(Record, &record_type, size);
    if (!r) return nullptr;
  } else {
    r = as_record(type->tp_alloc(type, size));  // tracked already: items must be null until filled
    if (!r) return nullptr;
  }
  for (Py_ssize_t i = 0; i < size; ++i) r->items[i] = nullptr;
  r->hash = -1;
  r->shape = reinterpret_cast<RecordShape*>(Py_NewRef(reinterpret_cast<PyObject*>(shape)));
  return r;
}

bool init_record(PyObject* module) {
  record_shape_type.tp_name = "fasterapi_pg._pg._RecordShape";
  record_shape_type.tp_basicsize = sizeof(RecordShape);
  record_shape_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  record_shape_type.tp_dealloc = shape_dealloc;

  sequence.sq_length = length;
  sequence.sq_item = item;
  sequence.sq_contains = contains;
  mapping.mp_length = length;
  mapping.mp_subscript = subscript;
  PyTypeObject& t = record_type;
  t.tp_name = "fasterapi_pg._pg.Record";
  t.tp_basicsize = offsetof(Record, items);
  t.tp_itemsize = sizeof(PyObject*);
  t.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_SEQUENCE;
  t.tp_doc = "A row: a sequence of values that is also a mapping by column name.";
  t.tp_dealloc = dealloc;
  t.tp_traverse = traverse;
  t.tp_as_sequence = &sequence;
  t.tp_as_mapping = &mapping;
  t.tp_hash = hash;
  t.tp_repr = repr;
  t.tp_richcompare = compare;
  t.tp_iter = iterate;
  t.tp_methods = methods;
  t.tp_free = PyObject_GC_Del;
  t.tp_new = refuse_new;
  if (PyType_Ready(&record_shape_type) < 0 || PyType_Ready(&record_type) < 0) return false;
  return PyModule_AddObjectRef(module, "Record", reinterpret_cast<PyObject*>(&record_type)) == 0;
}

}  // namespace fasterapi::pg::py
