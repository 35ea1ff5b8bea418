#pragma once
// Small blocks of memory that each thread keeps for its next request of about the same size.
//   Cost     take and give back: a free-list pop and push in thread-local memory; nothing is locked
//   Threads  a block may be given back by another thread than the one that took it
//   Bounds   64-byte size classes up to 512 bytes, kKept blocks of each; larger ones pass through. A thread that
//            ends frees what it kept. Under AddressSanitizer everything passes through, so that it sees errors
#include <cstddef>
#include <new>
#include <utility>

#include <fasterapi/core/platform.hpp>

namespace fasterapi::core::detail {

struct Recycler {
  static constexpr std::size_t kStep = 64, kClasses = 8;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr unsigned kKept = 0;
#else
  static constexpr unsigned kKept = 256;
#endif
  struct Block {
    Block* next;
  };
  Block* lists[kClasses];
  unsigned counts[kClasses];
  unsigned limit;  // 0 before the thread's first block and after its end
  bool ended;
};

// Without constructor and destructor, so that its use costs no check; RecyclerEnd cleans up.
inline constinit thread_local Recycler recycler{};

struct RecyclerEnd {
  RecyclerEnd() noexcept { recycler.limit = Recycler::kKept; }
  ~RecyclerEnd() {
    recycler.limit = 0;
    recycler.ended = true;
    for (auto*& list : recycler.lists) {
      while (list) ::operator delete(std::exchange(list, list->next));
    }
  }
};

inline void start_recycling() noexcept {
  if (recycler.ended) return;
  static thread_local RecyclerEnd end;
  (void)end;
}

[[gnu::noinline]] inline void* allocate_slowly(std::size_t bytes) {
  start_recycling();
  return ::operator new(bytes);
}

[[gnu::noinline]] inline void recycle_slowly(void* memory) noexcept {
  start_recycling();
  ::operator delete(memory);
}

inline void* allocate_recycled(std::size_t bytes) {
  const std::size_t list = (bytes - 1) / Recycler::kStep;
  if (FASTERAPI_UNLIKELY(list >= Recycler::kClasses)) return ::operator new(bytes);
  if (Recycler::Block* block = recycler.lists[list]; FASTERAPI_LIKELY(block != nullptr)) {
    recycler.lists[list] = block->next;
    --recycler.counts[list];
    return block;
  }
  return allocate_slowly((list + 1) * Recycler::kStep);
}

inline void recycle(void* memory, std::size_t bytes) noexcept {
  const std::size_t list = (bytes - 1) / Recycler::kStep;
  if (FASTERAPI_UNLIKELY(list >= Recycler::kClasses)) return ::operator delete(memory);
  if (FASTERAPI_UNLIKELY(recycler.counts[list] >= recycler.limit)) return recycle_slowly(memory);
  auto* block = static_cast<Recycler::Block*>(memory);
  block->next = recycler.lists[list];
  recycler.lists[list] = block;
  ++recycler.counts[list];
}

}  // namespace fasterapi::core::detail
