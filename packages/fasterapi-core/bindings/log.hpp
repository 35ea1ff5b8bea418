#pragma once
// Native log lines on their way to Python's logging: a ring that the running loop drains before it sleeps.
//   Threads  add_log_home(), remove_log_home() and deliver_logs() with the GIL; lines come from any thread
#include <Python.h>

#include <fasterapi/core/log.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core::py {

extern log::RingSink* log_ring;  // set by add_log(), never destroyed

/// Whether deliver_logs() has something to do: two loads, once per turn.
inline bool log_pending() noexcept { return log_ring->pending(); }

/// A reactor that is being driven: it is woken for lines of other threads, and whoever drives it calls
/// deliver_logs() when log_pending() before it sleeps again.
void add_log_home(Reactor* reactor) noexcept;
void remove_log_home(Reactor* reactor) noexcept;

/// Hands what is in the ring to `logging`. -1 with KeyboardInterrupt or SystemExit set when a handler raised that;
/// other exceptions of handlers are written unraisable.
int deliver_logs() noexcept;

bool add_log(PyObject* module);

}  // namespace fasterapi::core::py
