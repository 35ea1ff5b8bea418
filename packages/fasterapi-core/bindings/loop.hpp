#pragma once
// The native half of EventLoop: ready queue, timer heap, descriptor callbacks, and the run loop that drives
// the reactor. Python's EventLoop derives from this type and from asyncio's selector loop.
//   Cost     call_soon: one pooled handle and one context reference; running it: one vectorcall
//   Threads  one thread runs it; call_soon_threadsafe and stop may come from others (GIL held)
#include <vector>

#include "runtime.hpp"

namespace fasterapi::core::py {

/// asyncio.Handle / TimerHandle, pooled. One argument is kept inline, more in a tuple.
struct Handle {
  PyObject_HEAD
  PyObject* weakrefs;
  PyObject* loop;
  PyObject* callback;  // nullptr once cancelled
  PyObject* arg;       // the single argument, or nullptr
  PyObject* args;      // tuple of several arguments, or nullptr
  PyObject* context;
  PyObject* source_traceback;
  double when;         // timer handles: loop time in seconds
  std::uint64_t sequence;
  std::size_t heap_index;  // kNotInHeap when not scheduled
  bool cancelled;
  bool timer;
};
inline constexpr std::size_t kNotInHeap = ~std::size_t{0};

extern PyTypeObject* HandleType;
extern PyTypeObject* TimerHandleType;

/// New handle; `context` nullptr copies the current one. Borrows everything.
Handle* handle_new(PyTypeObject* type, PyObject* loop, PyObject* callback, PyObject* const* args, Py_ssize_t nargs,
                   PyObject* context);
/// Runs the callback in its context; -1 when KeyboardInterrupt or SystemExit must end the loop.
int handle_run(Handle* handle);
void handle_cancel(Handle* handle);

/// FIFO of owned handles: a power-of-two ring.
class ReadyQueue {
 public:
  ReadyQueue() : ring_(256) {}
  void push(Handle* handle) {  // steals
    if (tail_ - head_ == ring_.size()) grow();
    ring_[tail_++ & (ring_.size() - 1)] = handle;
  }
  Handle* pop() { return ring_[head_++ & (ring_.size() - 1)]; }
  std::size_t size() const noexcept { return tail_ - head_; }
  Handle* at(std::size_t i) const noexcept { return ring_[(head_ + i) & (ring_.size() - 1)]; }

 private:
  void grow() {
    std::vector<Handle*> bigger(ring_.size() * 2);
    std::size_t n = size();
    for (std::size_t i = 0; i < n; ++i) bigger[i] = at(i);
    ring_.swap(bigger);
    head_ = 0;
    tail_ = n;
  }
  std::vector<Handle*> ring_;
  std::size_t head_ = 0, tail_ = 0;
};

/// Binary heap of owned timer handles, ordered by (when, sequence); handles know their index.
class TimerHeap {
 public:
  bool empty() const noexcept { return heap_.empty(); }
  Handle* top() const noexcept { return heap_.front(); }
  void push(Handle* handle);            // steals
  Handle* pop() { return remove(heap_.front()); }
  Handle* remove(Handle* handle);       // gives the reference back
  std::size_t size() const noexcept { return heap_.size(); }
  Handle* at(std::size_t i) const noexcept { return heap_[i]; }

 private:
  static bool before(const Handle* a, const Handle* b) noexcept {
    return a->when < b->when || (a->when == b->when && a->sequence < b->sequence);
  }
  void sift_up(std::size_t i);
  void sift_down(std::size_t i);
  void place(std::size_t i, Handle* handle) noexcept {
    heap_[i] = handle;
    handle->heap_index = i;
  }
  std::vector<Handle*> heap_;
};

/// Native code that waits for one direction of a descriptor beside add_reader() and add_writer().
class IoWaiter {
 public:
  explicit IoWaiter(PyObject* owner) noexcept : owner_(owner) {}
  virtual void on_ready() noexcept = 0;
  virtual void on_dropped() noexcept {}  // its place went to another or with the loop: nothing comes any more
  PyObject* owner() const noexcept { return owner_; }  // kept alive while it waits

 protected:
  ~IoWaiter() = default;

 private:
  PyObject* owner_;
};

class DescriptorWatch;
class TransportTable;

struct LoopCore {
  PyObject_HEAD
  Reactor* reactor;
  ReadyQueue* ready;
  TimerHeap* timers;
  std::vector<std::unique_ptr<DescriptorWatch>>* watches;  // by descriptor
  TransportTable* transports;
  PyObject* task_factory;   // nullptr: asyncio.Task
  PyObject* loop_keywords;  // {"loop": self}, for the constructors of futures and tasks
  std::uint64_t sequence;
  class LoopMetrics* metrics;  // nullptr: not kept
  Nanos shared_until;  // other threads call in: they want the GIL
  unsigned long thread;
  bool stopping, closed, debug, running;
};

extern PyTypeObject* LoopCoreType;

inline LoopCore* as_loop_core(PyObject* loop) {
  return PyObject_TypeCheck(loop, LoopCoreType) ? reinterpret_cast<LoopCore*>(loop) : nullptr;
}

/// Waits in the place of add_reader() or add_writer(); what was there before is cancelled. 0 or an errno.
int watch_set_waiter(LoopCore* loop, int fd, unsigned direction, IoWaiter* waiter) noexcept;
void watch_unset_waiter(LoopCore* loop, int fd, unsigned direction, IoWaiter* waiter) noexcept;
unsigned watch_interest(LoopCore* loop, int fd) noexcept;  // what both kinds wait for

/// loop.call_soon(callback, arg, context=context) for any asyncio loop; native when it is ours. 0 or -1.
int loop_call_soon(PyObject* loop, PyObject* callback, PyObject* arg, PyObject* context);

}  // namespace fasterapi::core::py
