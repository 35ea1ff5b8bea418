// The Python end of fasterapi/core/log.hpp. Cold parts are in fasterapi_core.log.
#include "log.hpp"

#include <cstdio>
#include <new>
#include <string>

#include "loop.hpp"

namespace fasterapi::core::py {

log::RingSink* log_ring = nullptr;

namespace {

constexpr std::size_t kRingRecords = 512;
constexpr std::size_t kMaxHomes = 64;

// Reactors that can be woken. A thread that wakes announces itself in `wakers` first, so that a home does not go
// away under it; both sides are sequentially consistent.
constinit std::atomic<Reactor*> homes[kMaxHomes];
constinit std::atomic<int> wakers{0};
constinit std::atomic<bool> call_queued{false};
constinit std::atomic<bool> finished{false};  // the interpreter is going down
PyObject* deliver_function = nullptr;         // fasterapi_core.log._deliver
PyObject* arm_function = nullptr;             // fasterapi_core.log._arm
Nanos armed_until = 0;                        // GIL
std::uint64_t dropped_told = 0;               // GIL
Nanos dropped_told_at = 0;

int deliver_as_pending_call(void*) {
  call_queued.store(false, std::memory_order_relaxed);
  return deliver_logs();
}

/// In the thread that wrote a line, perhaps without the GIL.
void wake_somebody(void*) noexcept {
  if (tl_loop) return;  // this thread's loop looks before it sleeps
  bool woken = false;
  wakers.fetch_add(1, std::memory_order_seq_cst);
  for (auto& home : homes) {
    if (Reactor* reactor = home.load(std::memory_order_seq_cst)) {
      reactor->wake();
      woken = true;
      break;
    }
  }
  wakers.fetch_sub(1, std::memory_order_seq_cst);
  // No loop runs: the main thread does it between two of its bytecodes.
  if (!woken && !finished.load(std::memory_order_relaxed) &&
      !call_queued.exchange(true, std::memory_order_relaxed) &&
      Py_AddPendingCall(deliver_as_pending_call, nullptr) < 0)
    call_queued.store(false, std::memory_order_relaxed);  // the queue is full: the next line tries again
}

bool resolve() {
  if (deliver_function) return true;
  PyObject* module = PyImport_ImportModule("fasterapi_core.log");
  if (!module) return false;
  arm_function = PyObject_GetAttrString(module, "_arm");
  deliver_function = arm_function ? PyObject_GetAttrString(module, "_deliver") : nullptr;
  Py_DECREF(module);
  return deliver_function != nullptr;
}

PyObject* fields_of(const log::Record& record) {  // a dict, or None
  std::string_view packed = record.fields();
  if (packed.empty()) return none();
  PyObject* fields = PyDict_New();
  while (fields && !packed.empty()) {
    const std::string_view key = packed.substr(0, packed.find('\0'));
    packed.remove_prefix(key.size() + 1);
    const std::string_view value = packed.substr(0, packed.find('\0'));
    packed.remove_prefix(value.size() + 1);
    PyObject* text = PyUnicode_DecodeUTF8(value.data(), static_cast<Py_ssize_t>(value.size()), "backslashreplace");
    if (!text || PyDict_SetItemString(fields, std::string(key).c_str(), text) < 0) Py_CLEAR(fields);
    Py_XDECREF(text);
  }
  return fields;
}

bool deliver_one(const log::Record& record) {
  PyObject* fields = fields_of(record);
  if (!fields) return false;
  PyObject* done = PyObject_CallFunction(
      deliver_function, "siNNLO", record.logger->name(), static_cast<int>(record.level),
      PyUnicode_DecodeUTF8(record.buffer, record.text_size, "backslashreplace"), fields,
      static_cast<long long>(record.wall_ns), record.logger->explicit_level() ? Py_True : Py_False);
  Py_XDECREF(done);
  return done != nullptr;
}

/// False when the exception that is set has to end the loop.
bool settle() {
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit)) return false;
  PyErr_WriteUnraisable(deliver_function);
  return true;
}

/// Lines that the ring could not take, at most once a second.
bool tell_dropped() {
  const std::uint64_t dropped = log::dropped();
  const Nanos now = monotonic_now();
  if (dropped == dropped_told || now - dropped_told_at < 1'000'000'000) return true;
  log::Record record;
  record.logger = &log::logger("fasterapi.core");
  record.level = log::Level::kWarning;
  record.wall_ns = 0;
  record.text_size = static_cast<std::uint16_t>(
      std::snprintf(record.buffer, sizeof record.buffer, "%llu log lines were dropped: the ring of %zu was full",
                    static_cast<unsigned long long>(dropped - dropped_told), kRingRecords));
  dropped_told = dropped;
  dropped_told_at = now;
  return deliver_one(record);
}

bool arm_summaries() {
  const Nanos now = monotonic_now();
  if (now < armed_until) return true;
  PyObject* armed = PyObject_CallNoArgs(arm_function);
  if (!armed) return false;
  if (armed == Py_True) armed_until = now + 1'200'000'000;  // a loop that is closed before does not fire
  Py_DECREF(armed);
  return true;
}

bool deliver() {
  if (!resolve()) {
    PyErr_WriteUnraisable(nullptr);
    log_ring->clear();
    return true;
  }
  bool go_on = true;
  log::Record record;
  // Bounded: handlers may write lines themselves.
  for (std::size_t budget = kRingRecords; budget && go_on && log_ring->pop(record); --budget)
    if (!deliver_one(record)) go_on = settle();
  if (go_on && !tell_dropped()) go_on = settle();
  if (go_on && log::left_out_waiting() && !arm_summaries()) go_on = settle();
  if (log_ring->pending() && tl_loop) tl_loop->reactor->wake();
  return go_on;
}

// ---- functions of the module

PyObject* log_summaries(PyObject*, PyObject* everything) {
  armed_until = 0;
  log::write_summaries(monotonic_now() + (PyObject_IsTrue(everything) ? 1'000'000'000 : 0));
  if (deliver_logs() < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* log_finish(PyObject* self, PyObject*) {
  PyObject* done = log_summaries(self, Py_True);
  finished.store(true, std::memory_order_relaxed);
  // From here on to stderr, and as logging without a handler would: warnings, unless a level was asked for.
  log::set_level({}, log::Level::kWarning);
  log::set_sink(nullptr);
  return done;
}
PyObject* log_write(PyObject*, PyObject* args) {
  const char *name, *kind, *text;
  int level;
  PyObject* fields = nullptr;
  if (!PyArg_ParseTuple(args, "isss|O!:log_write", &level, &name, &kind, &text, &PyDict_Type, &fields))
    return nullptr;
  log::Logger& logger = log::logger(name);
  const auto native = static_cast<log::Level>(level);
  if (!logger.enabled(native)) Py_RETURN_FALSE;
  std::vector<log::Field> list;
  PyObject *key, *value;
  Py_ssize_t at = 0;
  while (fields && PyDict_Next(fields, &at, &key, &value)) {
    const char* key_text = PyUnicode_AsUTF8(key);
    Py_ssize_t size;
    const char* data = key_text ? PyUnicode_AsUTF8AndSize(value, &size) : nullptr;
    if (!data) return nullptr;
    list.emplace_back(key_text, std::string_view(data, static_cast<std::size_t>(size)));
  }
  log::write_fields(logger, native, log::kind(kind), list, "%s", text);
  Py_RETURN_TRUE;
}
PyObject* log_configure(PyObject*, PyObject* text) {
  const char* data = PyUnicode_AsUTF8(text);
  if (!data) return nullptr;
  const std::string wrong = log::configure(data);
  if (wrong.empty()) Py_RETURN_NONE;
  PyErr_SetString(PyExc_ValueError, wrong.c_str());
  return nullptr;
}
PyObject* log_level(PyObject*, PyObject* name) {
  const char* data = PyUnicode_AsUTF8(name);
  if (!data) return nullptr;
  const log::Logger& logger = log::logger(data);
  return Py_BuildValue("iO", static_cast<int>(logger.level()), logger.explicit_level() ? Py_True : Py_False);
}
PyObject* log_dropped(PyObject*, PyObject*) { return PyLong_FromUnsignedLongLong(log::dropped()); }
PyObject* log_after_fork(PyObject*, PyObject*) {
  log::after_fork();
  wakers.store(0, std::memory_order_seq_cst);
  for (auto& home : homes) home.store(nullptr, std::memory_order_seq_cst);  // their loops belong to the parent
  call_queued.store(false, std::memory_order_relaxed);
  // What is in the ring the parent delivers; a thread of the parent may have been in the middle of a push: a new
  // one.
  auto* ring = new (std::nothrow) log::RingSink(kRingRecords, wake_somebody, nullptr);
  if (!ring) return PyErr_NoMemory();
  log_ring = ring;
  log::set_sink(ring);
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {{"log_summaries", log_summaries, METH_O, nullptr},
                           {"log_finish", log_finish, METH_NOARGS, nullptr},
                           {"log_write", log_write, METH_VARARGS, nullptr},
                           {"log_configure", log_configure, METH_O, nullptr},
                           {"log_level", log_level, METH_O, nullptr},
                           {"log_dropped", log_dropped, METH_NOARGS, nullptr},
                           {"log_after_fork", log_after_fork, METH_NOARGS, nullptr},
                           {}};

}  // namespace

void add_log_home(Reactor* reactor) noexcept {
  for (auto& home : homes) {
    Reactor* empty = nullptr;
    if (home.compare_exchange_strong(empty, reactor, std::memory_order_seq_cst)) return;
  }  // a 65th loop is not woken for others' lines; the ones before it are
}

void remove_log_home(Reactor* reactor) noexcept {
  for (auto& home : homes) {
    Reactor* mine = reactor;
    if (home.compare_exchange_strong(mine, nullptr, std::memory_order_seq_cst)) break;
  }
  while (wakers.load(std::memory_order_seq_cst) != 0) {  // inside wake(): one write to an eventfd
  }
}

int deliver_logs() noexcept {
  PyObject *type, *value, *traceback;  // one that is on its way already stays set
  PyErr_Fetch(&type, &value, &traceback);
  const bool go_on = deliver();
  if (go_on) {
    PyErr_Restore(type, value, traceback);
    return 0;
  }
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return -1;
}

bool add_log(PyObject* module) {
  log_ring = new (std::nothrow) log::RingSink(kRingRecords, wake_somebody, nullptr);
  if (!log_ring) return PyErr_NoMemory(), false;
  log::set_sink(log_ring);
  return PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace fasterapi::core::py
