#pragma once
// The C table through which the http, pg and mcp extensions use core's Python objects without a nanobind
// call. Fetched once per module from the capsule fasterapi_core._core._C_API by import_core().
// All functions need the GIL. Returned PyObject* are new references unless said otherwise; nullptr or -1
// means that a Python exception is set.
#include <Python.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/slice.hpp>
#include <fasterapi/core/stream.hpp>
#include <fasterapi/core/version.hpp>

namespace fasterapi::core::py {

/// The outcome of a coroutine: exactly one of `result` and `exception` is set; both are borrowed.
/// A cancelled task reports its CancelledError as `exception`.
using TaskDone = void (*)(void* arg, PyObject* result, PyObject* exception) noexcept;

enum JsonOption : std::uint32_t {
  kJsonNone = 0,
  kJsonAllowNan = 1,       // NaN and infinities as null when unset they raise ValueError
  kJsonNonStringKeys = 2,  // int, float, bool, None, UUID, date keys become strings
  kJsonSortKeys = 4,
  kJsonEnsureAscii = 8,
};

/// Stamp of the object layouts that siblings compile into themselves. Between two builds of one version it
/// differs when a header was edited and a sibling not rebuilt.
inline constexpr std::uint32_t kLayout =
    sizeof(Reactor) * 1'000'003u + sizeof(Stream) * 10'007u + sizeof(Timer) * 101u + sizeof(OutBuffer);

struct Api {
  std::uint32_t size;  // sizeof(Api) of the provider; the table only grows at its end
  const char* abi;     // FASTERAPI_CORE_ABI of the provider

  // ---- loop and reactor
  /// Reactor of this thread's running loop, borrowed: our EventLoop's own, or one bridged into a foreign
  /// asyncio loop. RuntimeError when no loop runs.
  Reactor* (*current_reactor)();
  /// Running loop of this thread, borrowed; RuntimeError when there is none.
  PyObject* (*current_loop)();

  // ---- futures (fasterapi_core.Future, awaitable in any asyncio loop)
  PyTypeObject* future_type;
  PyObject* (*future_new)(PyObject* loop);                      // borrows loop; nullptr takes the running one
  int (*future_set_result)(PyObject* future, PyObject* value);  // no-op (0) when done or cancelled
  int (*future_set_exception)(PyObject* future, PyObject* exception);
  int (*future_done)(PyObject* future);
  /// Called when somebody cancels the future while it is pending (once). nullptr forgets it.
  void (*future_on_cancel)(PyObject* future, void (*fn)(void* arg) noexcept, void* arg);

  // ---- coroutines without a Task up front
  /// Calls `callable(*args)` in a fresh copy of the current context with a pooled native task as
  /// asyncio.current_task(), and drives the coroutine that it returns. `done` is called exactly once,
  /// before return when nothing suspended. Returns the task (pending or done), or nullptr when the call
  /// itself could not be made; an exception raised by the callable goes to `done`.
  PyObject* (*task_call)(PyObject* callable, PyObject* const* args, std::size_t nargsf, PyObject* kwnames,
                         TaskDone done, void* arg);
  int (*task_cancel)(PyObject* task, PyObject* message);

  // ---- JSON
  /// Appends the JSON text of `object`. `fallback` is called with what is not known (may be nullptr).
  int (*json_encode)(PyObject* object, OutBuffer* out, PyObject* fallback, std::uint32_t options);
  /// Strict RFC 8259; ValueError (fasterapi_core.JSONDecodeError) with position. Depth limit 128 when 0.
  PyObject* (*json_decode)(const char* data, std::size_t size, unsigned max_depth);

  std::uint32_t layout;  // kLayout of the provider

  /// future_new() as fasterapi_core._core.Call: what an awaitable function of a driver returns. Besides being
  /// a Future, asyncio.create_task() takes it for the coroutine that such a function would have returned.
  PyObject* (*call_new)(PyObject* loop);

  // ---- native memory
  /// fasterapi_core.Buffer over the slice's block, without a copy; object and memoryviews keep the block alive.
  /// Touch the slice's pool only with the GIL from then on: it guards the block's count.
  PyObject* (*slice_to_python)(const Slice& slice);
  /// json_encode() into blocks of `pool`, at the end of `chain`, about 64 KiB each: no contiguous text.
  int (*json_encode_chain)(PyObject* object, Chain* chain, SlabPool* pool, PyObject* fallback,
                           std::uint32_t options);
};

inline const Api* api = nullptr;

inline bool import_core() {
  auto* table = static_cast<const Api*>(PyCapsule_Import("fasterapi_core._core._C_API", 0));
  if (!table) return false;
  if (table->size < sizeof(Api) || std::strcmp(table->abi, FASTERAPI_CORE_ABI) != 0) {
    PyErr_Format(PyExc_ImportError, "built against fasterapi-core ABI %s, found %s", FASTERAPI_CORE_ABI,
                 table->abi);
    return false;
  }
  if (table->layout != kLayout) {
    PyErr_SetString(PyExc_ImportError, "built against other headers of fasterapi-core " FASTERAPI_CORE_VERSION
                                       " than the one installed: rebuild this package");
    return false;
  }
  api = table;
  return true;
}

/// Ends an iterator with a value (the private _PyGen_SetStopIterationValue left the headers in 3.13).
inline PyObject* stop_iteration(PyObject* value) {
  if (value == Py_None) return nullptr;  // no exception at all means StopIteration(None)
  if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
    PyErr_SetObject(PyExc_StopIteration, value);
    return nullptr;
  }
  if (PyObject* e = PyObject_CallOneArg(PyExc_StopIteration, value)) {
    PyErr_SetObject(PyExc_StopIteration, e);
    Py_DECREF(e);
  }
  return nullptr;
}

/// Takes the exception that is set, normalized, as a new reference.
inline PyObject* take_exception() {
#if PY_VERSION_HEX >= 0x030c0000
  return PyErr_GetRaisedException();
#else
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return value;
#endif
}

}  // namespace fasterapi::core::py
