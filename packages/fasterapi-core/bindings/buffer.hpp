#pragma once
// fasterapi_core.Buffer: a slice of native memory as a Python object with the buffer protocol, without a copy.
//   Cost     one object; memoryview(buffer) and buffer[a:b] share the block
//   Threads  the GIL guards the block's count: whoever hands slices to Python touches their pool only with the GIL
//   Ownership  the object and every view of it keep the block alive, beyond connection, pool and reactor
#include <Python.h>

#include <fasterapi/core/slice.hpp>

namespace fasterapi::core::py {

/// New reference, or nullptr with MemoryError. The bytes must not change any more.
PyObject* slice_to_python(const Slice& slice);
bool add_buffer(PyObject* module);

}  // namespace fasterapi::core::py
