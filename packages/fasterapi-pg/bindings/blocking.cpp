// Blocking callers. Two cases:
//   - The hub has a reactor of its own: one of the waiting threads drives it, the others sleep until they are done
//     or it is their turn to drive. Everything but the sleeping happens with the GIL.
//   - The hub belongs to a loop that runs in another thread: the work is posted there, this thread only waits.
#include <chrono>

#include "hub.hpp"
#include "objects.hpp"

namespace fasterapi::pg::py {
namespace {

constexpr std::chrono::milliseconds kSlice{500};  // how often a sleeping thread looks at signals

}  // namespace

void finish_wait(Wait& w, PyObject* value, PyObject* error) noexcept {
  w.value = value;
  w.error = error;
  w.request = nullptr;
  w.done = true;
  std::lock_guard lock(w.mutex);
  w.signalled = true;
  w.ready.notify_all();
}

bool Hub::sleep_for_loop(Wait& wait) {
  while (!wait.done) {
    PyThreadState* thread = PyEval_SaveThread();
    {
      std::unique_lock lock(wait.mutex);
      wait.ready.wait_for(lock, kSlice, [&wait] { return wait.signalled; });
    }
    PyEval_RestoreThread(thread);
    if (wait.done) break;
    if (PyErr_CheckSignals() != 0) return false;
    Ref running(PyObject_CallMethod(loop_.get(), "is_running", nullptr));
    if (!running) return false;
    if (running.get() == Py_False) {
      PyErr_SetString(errors.interface, "the event loop that the pool belongs to does not run");
      return false;
    }
  }
  return true;
}

bool Hub::drive(Wait& wait) {
  while (!wait.done) {
    if (!driving) {
      driving = true;
      driver_ = PyThread_get_thread_ident();
      bool ok = true;
      while (!wait.done && ok) {
        reactor_->turn(kSecond / 2, false);  // the answer takes a while: sleeping at once saves a poll
        if (sleepers_) {  // somebody else may be done now
          std::lock_guard lock(drive_mutex_);
          ++drive_epoch_;
          drive_ready_.notify_all();
        }
        if (!wait.done) ok = PyErr_CheckSignals() == 0;
      }
      driving = false;
      if (sleepers_) {  // and one of the others must drive
        std::lock_guard lock(drive_mutex_);
        ++drive_epoch_;
        drive_ready_.notify_all();
      }
      if (!ok) return false;
      continue;
    }
    if (driver_ == PyThread_get_thread_ident()) {  // a decoder or callback that our own turn has called
      PyErr_SetString(errors.interface, "a blocking call from within a callback of the same pool");
      return false;
    }
    reactor_->wake();
    ++sleepers_;
    std::uint64_t seen = drive_epoch_;  // changed with the GIL held, which we still have
    PyThreadState* thread = PyEval_SaveThread();
    {
      std::unique_lock lock(drive_mutex_);
      drive_ready_.wait_for(lock, kSlice, [&] { return drive_epoch_ != seen; });
    }
    PyEval_RestoreThread(thread);
    --sleepers_;
    if (PyErr_CheckSignals() != 0) return false;
  }
  return true;
}

bool Hub::block(Wait& wait) {
  ref();
  bool ok = own_reactor_ ? drive(wait) : sleep_for_loop(wait);
  if (!ok) {
    // Interrupted. With the GIL held nobody completes the request at this moment: it goes on without us.
    if (wait.request) {
      wait.request->wait = nullptr;
      if (own_reactor_ && wait.request->link) wait.request->link->cancel(*wait.request);
    }
    if (wait.lease) {
      wait.lease->wait = nullptr;
      wait.lease->gone = true;
    }
    for (auto* list : {&open_waits, &close_waits}) std::erase(*list, &wait);
  }
  unref();
  return ok;
}

bool Hub::prepare_blocking(bool& posted) {
  Ref loop(running_loop());
  if (!loop) return false;
  if (loop.get() != Py_None) {
    PyErr_SetString(
        errors.interface,
        "a blocking call on an event loop's thread would stop the loop; use "
        "`await pg.exec_async(...)` (or fetch, fetchrow, fetchval, execute), or make the handler a plain "
        "`def` function so that it runs in a thread");
    return false;
  }
  posted = reactor_ && !own_reactor_;
  if (posted) {
    Ref closed_loop(PyObject_CallMethod(loop_.get(), "is_closed", nullptr));
    if (!closed_loop) return false;
    posted = closed_loop.get() != Py_True;
  }
  if (posted) return true;
  if (!attach_private()) return false;
  // Nobody reads while no call is under way: see whether the server has said good-bye meanwhile.
  reactor_->refresh_now();
  if (!driving && !links.empty() && reactor_->now() - last_blocking_ > kSecond) reactor_->turn(0);
  last_blocking_ = reactor_->now();
  return true;
}

PyObject* Wait::result() {
  if (error) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
    Py_CLEAR(error);
    return nullptr;
  }
  return value;
}

PyObject* start_blocking(Request* r, Hub& hub, ConnectionObject* connection) {
  r->hub = &hub;
  bool posted;
  if (!hub.prepare_blocking(posted)) {
    r->drop();
    return nullptr;
  }
  Wait wait;
  r->wait = &wait;
  wait.request = r;
  auto begin = [r, &hub, connection] {
    if (connection && !connection->link) {
      r->fail(make_error(connection->released ? errors.interface : errors.connection_missing,
                         connection->released ? "the connection has been released back to the pool"
                                              : "the connection is closed"));
      return;
    }
    r->arm(*hub.reactor());
    if (connection) {
      connection->link->submit(r);
    } else {
      hub.submit(r);
    }
  };
  hub.ref();
  if (posted) {
    hub.reactor()->post([r, begin, &wait] {
      (void)wait;
      begin();
    });
  } else {
    begin();
    if (hub.driving) hub.reactor()->wake();
  }
  bool ok = wait.done || hub.block(wait);
  hub.unref();
  return ok ? wait.result() : nullptr;
}

PyObject* acquire_blocking(Hub& hub, PyObject* owner, Nanos timeout) {
  bool posted;
  if (!hub.prepare_blocking(posted)) return nullptr;
  if (hub.closing) {
    Ref error = hub.closed_error();
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return nullptr;
  }
  Wait wait;
  auto* a = new Acquisition(&hub);
  a->wait = &wait;
  a->owner = Py_NewRef(owner);
  wait.lease = a;
  auto begin = [a, &hub, timeout] {
    if (timeout > 0) {
      hub.reactor()->refresh_now();
      hub.reactor()->arm_after(a->timer, timeout);
    }
    hub.wait_for_lease(a);
    hub.pump();
  };
  hub.ref();
  if (posted) {
    hub.reactor()->post(begin);
  } else {
    begin();
    if (hub.driving) hub.reactor()->wake();
  }
  bool ok = wait.done || hub.block(wait);
  hub.unref();
  return ok ? wait.result() : nullptr;
}

PyObject* close_blocking(Hub& hub, Nanos timeout) {
  if (!hub.reactor() || hub.closed) {
    hub.closing = hub.closed = true;
    Py_RETURN_NONE;
  }
  bool posted;
  if (!hub.prepare_blocking(posted)) return nullptr;
  Wait wait;
  Hub* h = &hub;
  core::Timer give_up([](void* self) noexcept { static_cast<Hub*>(self)->terminate(); }, h);
  auto begin = [h, &wait] {
    h->close_waits.push_back(&wait);
    h->close();
    h->check_closed();
  };
  hub.ref();
  if (posted) {
    hub.reactor()->post(begin);
  } else {
    begin();
    if (timeout > 0) hub.reactor()->arm_after(give_up, timeout);
  }
  bool ok = wait.done || hub.block(wait);
  hub.unref();
  return ok ? wait.result() : nullptr;
}

PyObject* open_blocking(Hub& hub) {
  bool posted;
  if (!hub.prepare_blocking(posted)) return nullptr;
  Wait wait;
  Hub* h = &hub;
  auto begin = [h, &wait] {
    h->open_waits.push_back(&wait);
    h->grow(static_cast<std::size_t>(h->min_size));
    h->check_open();
  };
  hub.ref();
  if (posted) {
    hub.reactor()->post(begin);
  } else {
    begin();
  }
  bool ok = wait.done || hub.block(wait);
  hub.unref();
  return ok ? wait.result() : nullptr;
}

}  // namespace fasterapi::pg::py
