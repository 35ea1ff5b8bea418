#pragma once
// ObjectPool<T>: memory of short-lived objects of one type, reused by the thread that owns the pool.
//   Cost     acquire and release on the owner: a handful of instructions; release on another thread: one
//            compare-and-swap, and the owner takes all that came back with one exchange when it runs dry
//   Threads  acquire() by the owner (the thread that made the pool); release() by any. No list is popped by two
//            threads, so there is neither a hot shared stack nor an ABA problem
//   Bounds   at most `max_idle` free objects are kept (what other threads give back counts once collected); the
//            stack of them is allocated with the pool
//   Tests    the atomic type and who a thread is are parameters, so that a test can drive interleavings
//   Ownership  every object goes back before the pool is destroyed: debug builds abort otherwise
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include <fasterapi/core/detail/thread_mark.hpp>
#include <fasterapi/core/platform.hpp>

namespace fasterapi::core {

struct ObjectPoolStatistics {
  std::uint64_t allocated = 0;  // taken from the heap
  std::uint64_t reused = 0;
  std::uint64_t freed = 0;  // given back to the heap because enough were idle
  std::size_t in_use = 0;   // what other threads gave back counts until it is collected
  std::size_t idle = 0;
};

template <class T, template <class> class Atomic = std::atomic,
          std::uintptr_t (*ThreadMark)() noexcept = &detail::thread_mark>
class ObjectPool {
  union Block {
    Block() noexcept {}
    ~Block() {}
    Block* next;
    T object;
  };

 public:
  struct Give {
    ObjectPool* pool;
    void operator()(T* object) const noexcept { pool->release(object); }
  };
  using Ptr = std::unique_ptr<T, Give>;

  explicit ObjectPool(std::size_t max_idle = 256)
      : free_(new Block*[max_idle + 1]), owner_(ThreadMark()), max_idle_(max_idle) {}
  ~ObjectPool() {
    collect();
    assert(acquired_ == released_ && "an object outlives its pool");
    trim(0);
  }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;

  /// Owner only. Throws std::bad_alloc and what T's constructor throws.
  template <class... Args>
  T* acquire(Args&&... args) {
    assert(owned() && "acquire() on a thread that does not own the pool");
    if (FASTERAPI_UNLIKELY(idle_ == 0)) refill();
    Block* block = free_[--idle_];
    try {
      T* object = ::new (static_cast<void*>(&block->object)) T(std::forward<Args>(args)...);
      ++acquired_;
      return object;
    } catch (...) {
      free_[idle_++] = block;
      throw;
    }
  }
  template <class... Args>
  Ptr make(Args&&... args) {
    return Ptr(acquire(std::forward<Args>(args)...), Give{this});
  }

  /// Any thread; destroys the object there.
  void release(T* object) noexcept {
    object->~T();
    Block* block = reinterpret_cast<Block*>(object);
    if (FASTERAPI_LIKELY(owned())) {
      ++released_;
      return keep(block);
    }
    // Release: what the destructor wrote is visible to the owner, who acquires in collect().
    Block* first = returned_.load(std::memory_order_relaxed);
    do {
      block->next = first;
    } while (!returned_.compare_exchange_weak(first, block, std::memory_order_release, std::memory_order_relaxed));
  }

  /// Owner only: frees idle memory down to `keep` objects.
  void trim(std::size_t keep) noexcept {
    collect();
    for (; idle_ > keep; ++freed_) delete free_[--idle_];
  }
  /// Owner only.
  ObjectPoolStatistics statistics() const noexcept {
    return {allocated_, acquired_ > allocated_ ? acquired_ - allocated_ : 0, freed_, acquired_ - released_, idle_};
  }

 private:
  bool owned() const noexcept { return ThreadMark() == owner_; }
  void keep(Block* block) noexcept {
    if (FASTERAPI_LIKELY(idle_ < max_idle_)) {
      free_[idle_++] = block;
    } else {
      delete block;
      ++freed_;
    }
  }
  void collect() noexcept {
    Block* block = returned_.exchange(nullptr, std::memory_order_acquire);
    while (block) {
      keep(std::exchange(block, block->next));
      ++released_;
    }
  }
  void refill() {
    if (returned_.load(std::memory_order_relaxed)) collect();
    if (idle_ == 0) {
      free_[idle_++] = new Block;
      ++allocated_;
    }
  }

  const std::unique_ptr<Block*[]> free_;  // a stack: a list within the blocks would touch their memory
  std::size_t idle_ = 0;
  std::uintptr_t owner_;
  std::size_t max_idle_;
  std::uint64_t acquired_ = 0, released_ = 0, allocated_ = 0, freed_ = 0;
  alignas(64) Atomic<Block*> returned_{nullptr};  // by other threads; its own cache line
};

}  // namespace fasterapi::core
