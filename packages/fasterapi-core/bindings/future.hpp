#pragma once
// fasterapi_core.Future: one awaitable object for results that native code delivers, in any asyncio loop.
//   Cost     pooled; one awaiting native task or one callback is kept inline
//   Threads  the loop's thread (GIL held); other threads use get() or call_soon_threadsafe
#include "runtime.hpp"

namespace fasterapi::core::py {

enum class Outcome : std::uint8_t { pending, cancelled, finished };

struct FutureObject {
  PyObject_HEAD
  PyObject* weakrefs;
  PyObject* loop;
  PyObject* value;         // result
  PyObject* exception;
  PyObject* callback;      // first callback and its context
  PyObject* callback_context;
  PyObject* more;          // list of (callback, context), or nullptr
  PyObject* cancel_message;
  void (*on_cancel)(void*) noexcept;
  void* on_cancel_arg;
  Outcome state;
  bool blocking;           // _asyncio_future_blocking
  bool log_exception;      // nobody has looked at the exception yet
};

PyObject* future_new(PyObject* loop);
/// The same as a Call: asyncio.create_task() and TaskGroup accept it, asyncio.wait() refuses it, as coroutines.
PyObject* call_new(PyObject* loop);
int future_set_result(PyObject* self, PyObject* value);
int future_set_exception(PyObject* self, PyObject* exception);
int future_done(PyObject* self);
void future_on_cancel(PyObject* self, void (*fn)(void*) noexcept, void* arg);
/// add_done_callback without a method call; 0 or -1.
int future_add_callback(FutureObject* future, PyObject* callback, PyObject* context);

}  // namespace fasterapi::core::py
