#pragma once
// Record: one row, a sequence of values that is also a mapping by column name; RecordShape: the names, shared by
// all rows of a statement.
//   Cost     a record comes from a free list; it is tracked by the garbage collector only when a value of its
//            statement can refer back to it (lists, composites, results of custom codecs)
#include "python.hpp"

namespace fasterapi::pg::py {

struct RecordShape {
  PyObject_HEAD PyObject* names;  // tuple of str
  PyObject* indexes;              // dict: name -> position; the last of equal names wins
  bool track;
};

struct Record {
  PyObject_VAR_HEAD Py_hash_t hash;
  RecordShape* shape;
  PyObject* items[1];
};

extern PyTypeObject record_type;
extern PyTypeObject record_shape_type;

/// Takes `names` (a tuple of str) by reference.
RecordShape* new_record_shape(PyObject* names, bool track);

/// A record with all items null: fill every one, then finish_record(). `type`: record_type or a subclass.
Record* new_record(PyTypeObject* type, RecordShape* shape, Py_ssize_t size);
inline void finish_record(Record* r) {
  if (r->shape->track && Py_TYPE(r) == &record_type) PyObject_GC_Track(r);
}

bool init_record(PyObject* module);

}  // namespace fasterapi::pg::py
