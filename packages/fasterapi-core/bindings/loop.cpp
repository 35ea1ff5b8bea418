#include "loop.hpp"

#include "log.hpp"
#include "loop_metrics.hpp"
#include "loop_objects.hpp"
#include "transport.hpp"

#include <cmath>
#include <new>

namespace fasterapi::core::py {

PyTypeObject* LoopCoreType = nullptr;
thread_local LoopCore* tl_loop = nullptr;

namespace {
std::vector<LoopCore*>& live_loops() {  // every loop that exists, for fork
  static std::vector<LoopCore*> loops;
  return loops;
}
}  // namespace

// ---------------------------------------------------------------- timer heap

void TimerHeap::push(Handle* handle) {
  heap_.push_back(handle);
  handle->heap_index = heap_.size() - 1;
  sift_up(heap_.size() - 1);
}

Handle* TimerHeap::remove(Handle* handle) {
  std::size_t i = handle->heap_index;
  Handle* last = heap_.back();
  heap_.pop_back();
  handle->heap_index = kNotInHeap;
  if (last != handle) {
    place(i, last);
    sift_up(i);
    sift_down(last->heap_index);
  }
  return handle;
}

void TimerHeap::sift_up(std::size_t i) {
  Handle* moving = heap_[i];
  while (i > 0) {
    std::size_t parent = (i - 1) / 2;
    if (!before(moving, heap_[parent])) break;
    place(i, heap_[parent]);
    i = parent;
  }
  place(i, moving);
}

void TimerHeap::sift_down(std::size_t i) {
  Handle* moving = heap_[i];
  for (std::size_t child; (child = 2 * i + 1) < heap_.size(); i = child) {
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], moving)) break;
    place(i, heap_[child]);
  }
  place(i, moving);
}

// ---------------------------------------------------------------- descriptors with Python callbacks

/// add_reader / add_writer of one descriptor: readiness puts the handles on the ready queue.
class DescriptorWatch final : public IoHandler {
 public:
  explicit DescriptorWatch(LoopCore* loop, int fd) noexcept : loop_(loop), fd_(fd) {}
  ~DescriptorWatch() {
    unregister();
    drop(reader_);
    drop(writer_);
    drop(read_waiter_);
    drop(write_waiter_);
  }

  /// Replaces the callback of one direction (steals); 0 or an errno.
  int set(unsigned direction, Handle* handle) noexcept {
    Handle*& slot = direction == kReadable ? reader_ : writer_;
    drop(slot);
    drop(direction == kReadable ? read_waiter_ : write_waiter_);
    slot = handle;
    return update();
  }
  /// The same for native code; the owner of the waiter is kept.
  int set(unsigned direction, IoWaiter* waiter) noexcept {
    drop(direction == kReadable ? reader_ : writer_);
    IoWaiter*& slot = direction == kReadable ? read_waiter_ : write_waiter_;
    Py_INCREF(waiter->owner());
    IoWaiter* old = std::exchange(slot, waiter);
    drop(old);
    return update();
  }
  void unset(unsigned direction, IoWaiter* waiter) noexcept {
    IoWaiter*& slot = direction == kReadable ? read_waiter_ : write_waiter_;
    if (slot != waiter) return;
    slot = nullptr;
    update();
    Py_DECREF(waiter->owner());
  }
  bool unset(unsigned direction) noexcept {
    Handle*& slot = direction == kReadable ? reader_ : writer_;
    if (!slot) return false;
    drop(slot);
    update();
    return true;
  }

  unsigned wanted() const noexcept {
    return (reader_ || read_waiter_ ? kReadable : 0u) | (writer_ || write_waiter_ ? kWritable : 0u);
  }

  void on_io(unsigned events) noexcept override {
    // Hangups and errors wake both sides: the callback finds out by its own system call.
    if (reader_ && (events & (kReadable | kHangup))) loop_->ready->push(Py_NewRef_handle(reader_));
    if (writer_ && (events & (kWritable | kHangup))) loop_->ready->push(Py_NewRef_handle(writer_));
    if (read_waiter_ && (events & (kReadable | kHangup))) read_waiter_->on_ready();
    if (write_waiter_ && (events & (kWritable | kHangup))) write_waiter_->on_ready();
  }

 private:
  static Handle* Py_NewRef_handle(Handle* handle) noexcept {
    Py_INCREF(handle);
    return handle;
  }
  static void drop(Handle*& slot) noexcept {
    if (Handle* old = std::exchange(slot, nullptr)) {
      handle_cancel(old);
      Py_DECREF(old);
    }
  }
  static void drop(IoWaiter*& slot) noexcept {
    if (IoWaiter* old = std::exchange(slot, nullptr)) {
      old->on_dropped();
      Py_DECREF(old->owner());
    }
  }
  bool registered() const noexcept { return loop_->reactor->handler_of(fd_) == this; }
  void unregister() noexcept {
    if (registered()) loop_->reactor->remove(fd_);
  }
  int update() noexcept {
    unsigned interest = wanted();
    if (!interest) {
      unregister();
      return 0;
    }
    if (registered()) {
      int error = loop_->reactor->modify(fd_, interest);
      if (error != ENOENT) return error;
      loop_->reactor->remove(fd_);  // it was closed behind our back and the number is in use again
    }
    return loop_->reactor->add(fd_, interest, this);
  }
  LoopCore* loop_;
  int fd_;
  Handle* reader_ = nullptr;
  Handle* writer_ = nullptr;
  IoWaiter* read_waiter_ = nullptr;
  IoWaiter* write_waiter_ = nullptr;
};

namespace {

LoopCore* cast(PyObject* self) { return reinterpret_cast<LoopCore*>(self); }

constexpr Nanos kSharedFor = 10'000'000;   // a call from another thread makes more of them likely for so long

double now_seconds() { return static_cast<double>(monotonic_now()) * 1e-9; }

bool check_open(LoopCore* loop) {
  if (!loop->closed) return true;
  PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
  return false;
}

/// Splits vectorcall arguments: leading positionals, and the keyword-only `context`.
bool parse_context(PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, const char* name, PyObject** context) {
  *context = nullptr;
  if (!kwnames) return true;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); ++i) {
    PyObject* key = PyTuple_GET_ITEM(kwnames, i);
    if (key != rt.context && PyUnicode_Compare(key, rt.context) != 0) {
      if (!PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", name, key);
      return false;
    }
    if (args[nargs + i] != Py_None) *context = args[nargs + i];
  }
  return true;
}

/// Debug mode: asyncio's checks of thread and callback type, and the source traceback for the handle.
PyObject* debug_check(LoopCore* loop, PyObject* callback, const char* method, bool threadsafe) {
  PyObject* text = PyUnicode_FromString(method);
  if (!text) return nullptr;
  PyObject* stack[4] = {reinterpret_cast<PyObject*>(loop), callback, text, threadsafe ? Py_True : Py_False};
  PyObject* traceback = PyObject_VectorcallMethod(rt.check_call, stack, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  Py_DECREF(text);
  return traceback;
}

Handle* schedule_soon(LoopCore* loop, PyObject* callback, PyObject* const* args, Py_ssize_t nargs, PyObject* context,
                      const char* method, bool threadsafe) {
  if (!check_open(loop)) return nullptr;
  PyObject* traceback = nullptr;
  if (FASTERAPI_UNLIKELY(loop->debug) && !(traceback = debug_check(loop, callback, method, threadsafe))) return nullptr;
  Handle* handle = handle_new(HandleType, reinterpret_cast<PyObject*>(loop), callback, args, nargs, context);
  if (!handle) {
    Py_XDECREF(traceback);
    return nullptr;
  }
  handle->source_traceback = traceback;
  Py_INCREF(handle);
  loop->ready->push(handle);
  return handle;
}

PyObject* call_soon(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  PyObject* context;
  if (nargs < 1) {
    PyErr_SetString(PyExc_TypeError, "call_soon() missing 1 required positional argument: 'callback'");
    return nullptr;
  }
  if (!parse_context(args, nargs, kwnames, "call_soon", &context)) return nullptr;
  return reinterpret_cast<PyObject*>(
      schedule_soon(cast(self), args[0], args + 1, nargs - 1, context, "call_soon", false));
}

PyObject* call_soon_threadsafe(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  PyObject* context;
  if (nargs < 1) {
    PyErr_SetString(PyExc_TypeError, "call_soon_threadsafe() missing 1 required positional argument: 'callback'");
    return nullptr;
  }
  if (!parse_context(args, nargs, kwnames, "call_soon_threadsafe", &context)) return nullptr;
  Handle* handle =
      schedule_soon(cast(self), args[0], args + 1, nargs - 1, context, "call_soon_threadsafe", true);
  if (handle && tl_loop != cast(self)) {
    cast(self)->shared_until = monotonic_now() + kSharedFor;
    cast(self)->reactor->wake();
  }
  return reinterpret_cast<PyObject*>(handle);
}

Handle* schedule_at(LoopCore* loop, double when, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
                    const char* method) {
  PyObject *context, *traceback = nullptr;
  if (!check_open(loop) || !parse_context(args, nargs, kwnames, method, &context)) return nullptr;
  if (FASTERAPI_UNLIKELY(loop->debug) && !(traceback = debug_check(loop, args[1], method, false))) return nullptr;
  Handle* handle =
      handle_new(TimerHandleType, reinterpret_cast<PyObject*>(loop), args[1], args + 2, nargs - 2, context);
  if (!handle) {
    Py_XDECREF(traceback);
    return nullptr;
  }
  handle->source_traceback = traceback;
  handle->when = when;
  handle->sequence = loop->sequence++;
  Py_INCREF(handle);
  loop->timers->push(handle);
  return handle;
}

bool parse_time(PyObject* value, const char* what, double* seconds) {
  if (value == Py_None) {
    PyErr_Format(PyExc_TypeError, "%s must not be None", what);
    return false;
  }
  *seconds = PyFloat_AsDouble(value);
  if (*seconds == -1.0 && PyErr_Occurred()) return false;
  if (std::isnan(*seconds)) {
    PyErr_Format(PyExc_ValueError, "Invalid %s: NaN (not a number)", what);
    return false;
  }
  return true;
}

PyObject* call_later(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  double delay;
  if (nargs < 2) {
    PyErr_SetString(PyExc_TypeError, "call_later() needs a delay and a callback");
    return nullptr;
  }
  if (!parse_time(args[0], "delay", &delay)) return nullptr;
  return reinterpret_cast<PyObject*>(schedule_at(cast(self), now_seconds() + delay, args, nargs, kwnames, "call_later"));
}

PyObject* call_at(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  double when;
  if (nargs < 2) {
    PyErr_SetString(PyExc_TypeError, "call_at() needs a time and a callback");
    return nullptr;
  }
  if (!parse_time(args[0], "when", &when)) return nullptr;
  return reinterpret_cast<PyObject*>(schedule_at(cast(self), when, args, nargs, kwnames, "call_at"));
}

PyObject* time_(PyObject*, PyObject*) { return PyFloat_FromDouble(now_seconds()); }

// ---- descriptors

int descriptor_of(PyObject* object) {
  if (PyLong_Check(object)) {
    int fd = static_cast<int>(PyLong_AsLong(object));
    if (fd < 0 && !PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %d", fd);
    return fd;
  }
  return PyObject_AsFileDescriptor(object);
}

DescriptorWatch* watch_of(LoopCore* loop, int fd, bool create) {
  auto& watches = *loop->watches;
  if (static_cast<std::size_t>(fd) >= watches.size()) {
    if (!create) return nullptr;
    watches.resize(static_cast<std::size_t>(fd) + 32);
  }
  auto& watch = watches[static_cast<std::size_t>(fd)];
  if (!watch && create) watch = std::make_unique<DescriptorWatch>(loop, fd);
  return watch.get();
}

PyObject* add_direction(PyObject* self, PyObject* const* args, Py_ssize_t nargs, unsigned direction) {
  LoopCore* loop = cast(self);
  if (nargs < 2) {
    PyErr_SetString(PyExc_TypeError, "a file descriptor and a callback are required");
    return nullptr;
  }
  if (!check_open(loop)) return nullptr;
  int fd = descriptor_of(args[0]);
  if (fd < 0) return nullptr;
  Handle* handle = handle_new(HandleType, self, args[1], args + 2, nargs - 2, nullptr);
  if (!handle) return nullptr;
  Py_INCREF(handle);
  DescriptorWatch* watch = watch_of(loop, fd, true);
  if (int error = watch->set(direction, handle)) {
    watch->unset(direction);
    Py_DECREF(handle);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  return reinterpret_cast<PyObject*>(handle);
}
PyObject* remove_direction(PyObject* self, PyObject* object, unsigned direction) {
  LoopCore* loop = cast(self);
  if (loop->closed) Py_RETURN_FALSE;
  int fd = descriptor_of(object);
  if (fd < 0) return nullptr;
  DescriptorWatch* watch = watch_of(loop, fd, false);
  return PyBool_FromLong(watch && watch->unset(direction));
}
PyObject* add_reader(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  return add_direction(self, args, nargs, kReadable);
}
PyObject* add_writer(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  return add_direction(self, args, nargs, kWritable);
}
PyObject* remove_reader(PyObject* self, PyObject* fd) { return remove_direction(self, fd, kReadable); }
PyObject* remove_writer(PyObject* self, PyObject* fd) { return remove_direction(self, fd, kWritable); }

// ---- running

constexpr Nanos kLongestSleep = 24ll * 3600 * 1'000'000'000;
constexpr Nanos kGilGiveAway = 5'000'000;  // a loop that never sleeps lets other threads in this often
constexpr Nanos kLongLoss = 1'000'000;     // a thread that keeps the GIL longer computes: see after_block

struct Blocked {
  PyThreadState* saved = nullptr;
  Nanos last_release = 0;
  Nanos keep_until = 0;  // no GIL in polls that do not sleep
};

void before_block(void* arg) { static_cast<Blocked*>(arg)->saved = PyEval_SaveThread(); }
void after_block(void* arg) {
  auto* blocked = static_cast<Blocked*>(arg);
  Nanos wanted = monotonic_now();
  PyEval_RestoreThread(blocked->saved);
  Nanos now = blocked->last_release = monotonic_now();
  // Who takes the GIL for long would get it again at the next poll, and the loop would do one iteration per
  // switch interval. It has had its share; now the loop takes as much.
  if (now - wanted > kLongLoss) blocked->keep_until = now + (now - wanted);
}

/// Other threads work for this loop and will ask for the GIL: give it away in every poll, as asyncio does.
/// Without them a poll is a system call and nothing more.
bool shared_with_threads(LoopCore* loop, const Blocked& blocked) {
  Nanos now = loop->reactor->now();
  return (loop->reactor->foreign_work() > 0 || now < loop->shared_until) && now >= blocked.keep_until;
}

int run_ready(LoopCore* loop) {
  for (std::size_t n = loop->ready->size(); n > 0; --n) {
    Handle* handle = loop->ready->pop();
    int rc;
    if (FASTERAPI_UNLIKELY(loop->debug)) {
      PyObject* stack[2] = {reinterpret_cast<PyObject*>(loop), reinterpret_cast<PyObject*>(handle)};
      PyObject* done = PyObject_VectorcallMethod(rt.debug_run, stack, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
      rc = done ? 0 : -1;
      Py_XDECREF(done);
    } else {
      rc = handle_run(handle);
    }
    if (FASTERAPI_UNLIKELY(loop->metrics != nullptr) && rc == 0) loop->metrics->after_callback(handle);
    Py_DECREF(handle);
    if (FASTERAPI_UNLIKELY(rc < 0)) return -1;
  }
  return 0;
}

void collect_due(LoopCore* loop) {
  if (loop->timers->empty()) return;
  double limit = static_cast<double>(loop->reactor->now()) * 1e-9 + 1e-9;
  while (!loop->timers->empty() && loop->timers->top()->when < limit) loop->ready->push(loop->timers->pop());
}

Nanos sleep_time(LoopCore* loop) {
  if (loop->stopping || loop->ready->size()) return 0;
  if (loop->timers->empty()) return -1;
  double wait = (loop->timers->top()->when - now_seconds()) * 1e9;
  if (wait <= 0) return 0;
  return wait > static_cast<double>(kLongestSleep) ? kLongestSleep : static_cast<Nanos>(wait) + 1;
}

/// Iterations that poll although callbacks are ready and polls found nothing; after so many, the loop polls
/// only once per kPollEvery while it stays busy: a system call per callback would be most of the cost of
/// `await sleep(0)`. A loop that has just slept or seen an event polls on every iteration, as asyncio does.
constexpr int kEagerPolls = 4;
constexpr Nanos kPollEvery = 20'000;

int run_until_stopped(LoopCore* loop, Blocked& blocked) {
  int idle_polls = 0;
  Nanos polled = 0;
  for (;;) {
    if (FASTERAPI_UNLIKELY(log_pending()) && deliver_logs() < 0) return -1;
    Reactor& reactor = *loop->reactor;
    const bool shared = shared_with_threads(loop, blocked);
    if (!shared && idle_polls >= kEagerPolls && loop->ready->size() && !loop->stopping &&
        (reactor.refresh_now(), reactor.now() - polled < kPollEvery)) {
      reactor.run_end_of_turn();
    } else {
      bool busy = loop->ready->size() != 0;
      reactor.give_way_in_polls(shared);
      bool found = reactor.turn(sleep_time(loop)) != 0;
      idle_polls = busy && !found ? idle_polls + 1 : 0;
      polled = reactor.now();
      if (polled - blocked.last_release > kGilGiveAway) {
        before_block(&blocked);
        after_block(&blocked);
      }
    }
    if (FASTERAPI_UNLIKELY(loop->metrics != nullptr)) loop->metrics->before_callbacks();
    collect_due(loop);
    if (PyErr_CheckSignals() < 0 || run_ready(loop) < 0) return -1;
    if (loop->stopping) return 0;
  }
}

/// asyncio calls this once per iteration; ours returns when the loop was stopped.
PyObject* run_once(PyObject* self, PyObject*) {
  LoopCore* loop = cast(self);
  if (!check_open(loop)) return nullptr;
  LoopCore* outer = std::exchange(tl_loop, loop);
  Blocked blocked;
  blocked.last_release = monotonic_now();
  loop->reactor->set_block_hooks(before_block, after_block, &blocked);
  loop->running = true;
  add_log_home(loop->reactor);
  int rc = run_until_stopped(loop, blocked);
  loop->running = false;
  loop->stopping = false;
  loop->reactor->set_block_hooks(nullptr, nullptr, nullptr);
  tl_loop = outer;
  remove_log_home(loop->reactor);
  if (log_pending() && deliver_logs() < 0) return nullptr;
  if (rc < 0) return nullptr;
  Py_RETURN_NONE;
}

PyObject* core_stop(PyObject* self, PyObject*) {
  cast(self)->stopping = true;
  Py_RETURN_NONE;
}
PyObject* core_set_debug(PyObject* self, PyObject* value) {
  cast(self)->debug = PyObject_IsTrue(value) == 1;
  Py_RETURN_NONE;
}
PyObject* core_foreign_work(PyObject* self, PyObject* delta) {
  int change = static_cast<int>(PyLong_AsLong(delta));
  if (change == -1 && PyErr_Occurred()) return nullptr;
  cast(self)->reactor->foreign_work(change);
  Py_RETURN_NONE;
}
PyObject* core_enqueue(PyObject* self, PyObject* handle) {
  if (Py_TYPE(handle) != HandleType && Py_TYPE(handle) != TimerHandleType) {
    // an asyncio.Handle made by asyncio itself (signal handlers): wrap its _run
    PyObject* run = PyObject_GetAttrString(handle, "_run");
    if (!run) return nullptr;
    Handle* wrapper = handle_new(HandleType, self, run, nullptr, 0, nullptr);
    Py_DECREF(run);
    if (!wrapper) return nullptr;
    cast(self)->ready->push(wrapper);
  } else {
    Py_INCREF(handle);
    cast(self)->ready->push(reinterpret_cast<Handle*>(handle));
  }
  if (tl_loop != cast(self)) cast(self)->reactor->wake();
  Py_RETURN_NONE;
}

void drop_everything(LoopCore* loop) {
  if (loop->transports) loop->transports->drop_all();
  if (loop->watches) {
    auto gone = std::move(*loop->watches);  // what they drop may look for its watch
    loop->watches->clear();
  }
  while (loop->ready && loop->ready->size()) Py_DECREF(loop->ready->pop());
  while (loop->timers && !loop->timers->empty()) Py_DECREF(loop->timers->pop());
  Py_CLEAR(loop->task_factory);
  Py_CLEAR(loop->loop_keywords);
}

PyObject* core_close(PyObject* self, PyObject*) {
  cast(self)->closed = true;
  delete std::exchange(cast(self)->metrics, nullptr);
  drop_everything(cast(self));
  Py_RETURN_NONE;
}

PyObject* core_info(PyObject* self, PyObject*) {
  LoopCore* loop = cast(self);
  return Py_BuildValue("{s:s,s:n,s:n,s:n,s:i}", "backend", loop->reactor->backend_name(), "ready",
                       static_cast<Py_ssize_t>(loop->ready->size()), "timers",
                       static_cast<Py_ssize_t>(loop->timers->size()), "descriptors",
                       static_cast<Py_ssize_t>(loop->reactor->descriptors()), "foreign_work",
                       loop->reactor->foreign_work());
}

// ---- life

PyObject* tp_new(PyTypeObject* type, PyObject*, PyObject* kwargs) {
  const char* backend = nullptr;  // other arguments are for the __init__ of whatever derives from this
  PyObject* named = kwargs ? PyDict_GetItemString(kwargs, "backend") : nullptr;
  if (named && named != Py_None && !(backend = PyUnicode_AsUTF8(named))) return nullptr;
  std::unique_ptr<Reactor> reactor;  // first: asyncio's __del__ must not meet half a loop
  try {
    reactor = std::make_unique<Reactor>(make_backend(backend));
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
  auto* self = reinterpret_cast<LoopCore*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  try {
    self->ready = new ReadyQueue();
    self->timers = new TimerHeap();
    self->watches = new std::vector<std::unique_ptr<DescriptorWatch>>();
    self->transports = new TransportTable();
    self->reactor = reactor.release();
    if (loop_metrics_wanted()) self->metrics = new LoopMetrics(self);
    live_loops().push_back(self);
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    Py_DECREF(self);
    return nullptr;
  }
  return reinterpret_cast<PyObject*>(self);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  LoopCore* loop = cast(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(loop->task_factory);
  Py_VISIT(loop->loop_keywords);
  if (loop->ready)
    for (std::size_t i = 0; i < loop->ready->size(); ++i) Py_VISIT(loop->ready->at(i));
  if (loop->timers)
    for (std::size_t i = 0; i < loop->timers->size(); ++i) Py_VISIT(loop->timers->at(i));
  return loop->transports ? loop->transports->visit(visit, arg) : 0;
}

int tp_clear(PyObject* self) {
  drop_everything(cast(self));
  return 0;
}

void tp_dealloc(PyObject* self) {
  LoopCore* loop = cast(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  std::erase(live_loops(), loop);
  delete loop->metrics;
  tp_clear(self);
  delete loop->watches;
  delete loop->ready;
  delete loop->timers;
  delete loop->transports;
  if (loop->reactor) loop->reactor->release();  // connections that outlive the loop keep it
  type->tp_free(self);
  Py_DECREF(type);
}

constexpr int kFast = METH_FASTCALL;
constexpr int kFastKeywords = METH_FASTCALL | METH_KEYWORDS;
PyMethodDef methods[] = {
    {"call_soon", as_function(call_soon), kFastKeywords, "Run callback(*args) in the next iteration."},
    {"call_soon_threadsafe", as_function(call_soon_threadsafe), kFastKeywords,
     "call_soon() that may come from another thread."},
    {"call_later", as_function(call_later), kFastKeywords, "Run callback(*args) after delay seconds."},
    {"call_at", as_function(call_at), kFastKeywords, "Run callback(*args) at loop time when, in seconds."},
    {"time", time_, METH_NOARGS, "The loop's clock, in seconds; monotonic."},
    {"create_future", loop_create_future, METH_NOARGS, "New asyncio.Future of this loop."},
    {"create_task", as_function(loop_create_task), kFastKeywords, "Run the coroutine as a task; returns the task."},
    {"set_task_factory", loop_set_task_factory, METH_O, "Make tasks by factory(loop, coro, ...); None: asyncio.Task."},
    {"get_debug", loop_get_debug, METH_NOARGS, "Whether asyncio's debug mode is on."},
    {"_add_reader", as_function(add_reader), kFast, nullptr},
    {"_add_writer", as_function(add_writer), kFast, nullptr},
    {"_remove_reader", remove_reader, METH_O, nullptr},
    {"_remove_writer", remove_writer, METH_O, nullptr},
    {"_run_once", run_once, METH_NOARGS, nullptr},
    {"_core_stop", core_stop, METH_NOARGS, nullptr},
    {"_core_set_debug", core_set_debug, METH_O, nullptr},
    {"_core_foreign_work", core_foreign_work, METH_O, nullptr},
    {"_core_enqueue", core_enqueue, METH_O, nullptr},
    {"_core_close", core_close, METH_NOARGS, nullptr},
    {"_core_info", core_info, METH_NOARGS, nullptr},
    {"enable_metrics", loop_enable_metrics, METH_NOARGS, "Keep loop metrics from now on, as FASTERAPI_METRICS=1 does."},
    {"metrics", loop_metrics, METH_NOARGS,
     "Loop metrics of this process as a dict: counts, and times in seconds. RuntimeError when none are kept."},
    {}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(tp_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(tp_dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(tp_clear)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.LoopCore", sizeof(LoopCore), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

int watch_set_waiter(LoopCore* loop, int fd, unsigned direction, IoWaiter* waiter) noexcept {
  try {
    return watch_of(loop, fd, true)->set(direction, waiter);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}
void watch_unset_waiter(LoopCore* loop, int fd, unsigned direction, IoWaiter* waiter) noexcept {
  if (DescriptorWatch* watch = fd >= 0 ? watch_of(loop, fd, false) : nullptr) watch->unset(direction, waiter);
}

unsigned watch_interest(LoopCore* loop, int fd) noexcept {
  DescriptorWatch* watch = fd >= 0 ? watch_of(loop, fd, false) : nullptr;
  return watch ? watch->wanted() : 0;
}

int loop_call_soon(PyObject* loop, PyObject* callback, PyObject* arg, PyObject* context) {
  LoopCore* core = as_loop_core(loop);
  PyObject* stack[3] = {callback, arg, context};
  if (FASTERAPI_LIKELY(core && !core->debug)) {
    if (!check_open(core)) return -1;
    Handle* handle = handle_new(HandleType, loop, callback, stack + 1, arg ? 1 : 0, context);
    if (!handle) return -1;
    core->ready->push(handle);
    if (FASTERAPI_UNLIKELY(tl_loop != core)) core->reactor->wake();
    return 0;
  }
  PyObject* call[5] = {loop, callback, arg ? arg : context, context};
  PyObject* done = PyObject_VectorcallMethod(rt.call_soon, call, (arg ? 3u : 2u) | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                             rt.kw_context);
  if (!done) return -1;
  Py_DECREF(done);
  return 0;
}

PyObject* loops_after_fork(PyObject*, PyObject*) {
  tl_loop = nullptr;  // asyncio forgets the running loop too
  for (LoopCore* loop : live_loops()) {
    try {
      loop->reactor->reopen_after_fork();
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_OSError, error.what());
      return nullptr;
    }
  }
  Py_RETURN_NONE;
}

bool add_loop(PyObject* module) {
  LoopCoreType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return LoopCoreType && PyModule_AddType(module, LoopCoreType) == 0;
}

}  // namespace fasterapi::core::py
