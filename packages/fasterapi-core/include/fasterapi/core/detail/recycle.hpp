#pragma once
// Small blocks of memory that each thread keeps for its next request of about the same size.
//   Cost     take and give back: a free-list pop and push in thread-local memory; nothing is locked
//   Threads  a block may be given back by another thread than the one that took it
//   Bounds   64-byte size classes up to 512 bytes, kKept blocks of each; larger ones pass through. A thread that
//            ends frees what it kept. Under AddressSanitizer everything passes through, so that it sees errors
#include <cstddef>
#include <cstdint>
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
  unsigned room[kClasses];  // how many more are kept; 0 before the thread's first block and after its end
  bool started, ended;
};

// Without constructor and destructor, so that its use costs no check; RecyclerEnd cleans up.
inline constinit thread_local Recycler recycler{};

struct RecyclerEnd {
  RecyclerEnd() noexcept {
    recycler.started = true;
    for (unsigned& room : recycler.room) room = Recycler::kKept;
  }
  ~RecyclerEnd() {
    recycler.ended = true;
    for (unsigned& room : recycler.room) room = 0;
    for (auto*& list : recycler.lists) {
      while (list) ::operator delete(std::exchange(list, list->next));
    }
  }
};

inline void start_recycling() noexcept {
  if (recycler.started) return;
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

/// Which list keeps blocks of `bytes`; kClasses for none.
constexpr std::uint8_t recycler_list(std::size_t bytes) noexcept {
  return static_cast<std::uint8_t>(bytes > Recycler::kStep * Recycler::kClasses ? Recycler::kClasses
                                                                                : (bytes - 1) / Recycler::kStep);
}

inline void* allocate_recycled(std::size_t bytes) {
  const std::uint8_t list = recycler_list(bytes);
  if (FASTERAPI_UNLIKELY(list == Recycler::kClasses)) return ::operator new(bytes);
  if (Recycler::Block* block = recycler.lists[list]; FASTERAPI_LIKELY(block != nullptr)) {
    recycler.lists[list] = block->next;
    ++recycler.room[list];
    return block;
  }
  return allocate_slowly((list + std::size_t{1}) * Recycler::kStep);
}

inline void recycle_to(void* memory, std::uint8_t list) noexcept {
  if (FASTERAPI_UNLIKELY(list == Recycler::kClasses)) return ::operator delete(memory);
  if (FASTERAPI_UNLIKELY(recycler.room[list] == 0)) return recycle_slowly(memory);
  auto* block = static_cast<Recycler::Block*>(memory);
  block->next = recycler.lists[list];
  recycler.lists[list] = block;
  --recycler.room[list];
}
inline void recycle(void* memory, std::size_t bytes) noexcept { recycle_to(memory, recycler_list(bytes)); }

}  // namespace fasterapi::core::detail
