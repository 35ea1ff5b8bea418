#include "buffer.hpp"

#include <cstring>
#include <new>

namespace fasterapi::core::py {
namespace {

struct BufferObject {
  PyObject_HEAD Slice slice;
};

PyTypeObject* BufferType = nullptr;

// Of the buffers that Python makes itself; blocks outlive it, so it is never destroyed.
SlabPool& python_pool() {
  static auto* pool = new SlabPool;
  return *pool;
}

const Slice& slice_of(PyObject* self) { return reinterpret_cast<BufferObject*>(self)->slice; }

PyObject* tp_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"", nullptr};
  PyObject* data;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Buffer", const_cast<char**>(names), &data)) return nullptr;
  Py_buffer view;
  if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return nullptr;
  PyObject* made = nullptr;
  try {
    made = slice_to_python(
        Slice::copied(python_pool(), {static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len)}));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  PyBuffer_Release(&view);
  return made;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<BufferObject*>(self)->slice.~Slice();
  type->tp_free(self);
  Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Slice& slice = slice_of(self);
  return PyBuffer_FillInfo(view, self, const_cast<char*>(slice.data() ? slice.data() : ""),
                           static_cast<Py_ssize_t>(slice.size()), 1, flags);
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(slice_of(self).size()); }

PyObject* subscript(PyObject* self, PyObject* key) {
  const Slice& slice = slice_of(self);
  const auto size = static_cast<Py_ssize_t>(slice.size());
  if (PyIndex_Check(key)) {
    Py_ssize_t at = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (at == -1 && PyErr_Occurred()) return nullptr;
    if (at < 0) at += size;
    if (at < 0 || at >= size) {
      PyErr_SetString(PyExc_IndexError, "Buffer index out of range");
      return nullptr;
    }
    return PyLong_FromLong(static_cast<unsigned char>(slice.data()[at]));
  }
  if (!PySlice_Check(key)) {
    PyErr_Format(PyExc_TypeError, "Buffer indices are integers or slices, not %.100s", Py_TYPE(key)->tp_name);
    return nullptr;
  }
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) return nullptr;
  const Py_ssize_t count = PySlice_AdjustIndices(size, &start, &stop, step);
  if (step != 1) {
    PyErr_SetString(PyExc_ValueError, "Buffer slices have no step; take one of memoryview(buffer)");
    return nullptr;
  }
  return slice_to_python(slice.part(static_cast<std::size_t>(start), static_cast<std::size_t>(count)));
}

PyObject* compare(PyObject* self, PyObject* other, int op) {
  if ((op != Py_EQ && op != Py_NE) || !PyObject_CheckBuffer(other)) Py_RETURN_NOTIMPLEMENTED;
  Py_buffer view;
  if (PyObject_GetBuffer(other, &view, PyBUF_SIMPLE) < 0) {
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
  }
  const bool equal = slice_of(self).view() ==
                     std::string_view(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len));
  PyBuffer_Release(&view);
  return PyBool_FromLong(equal == (op == Py_EQ));
}

PyObject* to_bytes(PyObject* self, PyObject*) {
  return PyBytes_FromStringAndSize(slice_of(self).data(), length(self));
}

Py_hash_t hash(PyObject* self) {
  PyObject* bytes = to_bytes(self, nullptr);
  if (!bytes) return -1;
  const Py_hash_t value = PyObject_Hash(bytes);  // equal to equal bytes
  Py_DECREF(bytes);
  return value;
}

PyObject* repr(PyObject* self) {
  return PyUnicode_FromFormat("<fasterapi_core.Buffer of %zd bytes>", length(self));
}

PyMethodDef methods[] = {
    {"tobytes", to_bytes, METH_NOARGS, PyDoc_STR("tobytes($self, /)\n--\n\nA copy as bytes.")},
    {"__bytes__", to_bytes, METH_NOARGS, nullptr},
    {}};
PyType_Slot slots[] = {
    {Py_tp_doc,
     const_cast<char*>("Buffer(data, /)\n--\n\nRead-only bytes in native memory. memoryview(buffer) and "
                       "buffer[a:b] share them,\nand keep them alive. Made from bytes-like data, it is a "
                       "copy of them.")},
    {Py_tp_new, reinterpret_cast<void*>(tp_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_hash, reinterpret_cast<void*>(hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
    {Py_tp_methods, methods},
    {Py_mp_length, reinterpret_cast<void*>(length)},
    {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {0, nullptr}};
PyType_Spec spec = {"fasterapi_core.Buffer", sizeof(BufferObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};

}  // namespace

PyObject* slice_to_python(const Slice& slice) {
  PyObject* object = BufferType->tp_alloc(BufferType, 0);
  if (object) ::new (&reinterpret_cast<BufferObject*>(object)->slice) Slice(slice);
  return object;
}

bool add_buffer(PyObject* module) {
  BufferType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return BufferType && PyModule_AddType(module, BufferType) == 0;
}

}  // namespace fasterapi::core::py
