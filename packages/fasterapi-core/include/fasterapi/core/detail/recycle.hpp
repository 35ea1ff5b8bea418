#pragma once
// Small blocks of memory that each thread keeps for its next request of about the same size.
//   Cost     take and give back: a stack's pop and push in thread-local memory; nothing is locked, and the blocks
//            themselves are not touched
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
  static constexpr std::size_t kKept = 0;
#else
  static constexpr std::size_t kKept = 256;
#endif
  // For each class a stack of blocks over a null pointer: the entry on its top, and the last one there may be.
  void** top[kClasses];
  void** last[kClasses];
};

inline constinit void* no_block = nullptr;  // the whole stack of a thread that has not begun, or has ended

// Without constructor and destructor, so that its use costs no check; RecyclerEnd cleans up.
inline constinit thread_local Recycler recycler{
    {&no_block, &no_block, &no_block, &no_block, &no_block, &no_block, &no_block, &no_block},
    {&no_block, &no_block, &no_block, &no_block, &no_block, &no_block, &no_block, &no_block}};

class RecyclerEnd {
 public:
  RecyclerEnd() : stacks_(new void*[kEntries * Recycler::kClasses]()) {
    for (std::size_t list = 0; list < Recycler::kClasses; ++list) {
      recycler.top[list] = stacks_ + list * kEntries;
      recycler.last[list] = recycler.top[list] + Recycler::kKept;
    }
  }
  ~RecyclerEnd() {
    for (std::size_t list = 0; list < Recycler::kClasses; ++list) {
      while (void* block = *recycler.top[list]) {
        --recycler.top[list];
        ::operator delete(block);
      }
      recycler.top[list] = recycler.last[list] = &no_block;
    }
    delete[] stacks_;
  }
  RecyclerEnd(const RecyclerEnd&) = delete;
  RecyclerEnd& operator=(const RecyclerEnd&) = delete;

 private:
  static constexpr std::size_t kEntries = Recycler::kKept + 1;
  void** stacks_;
};

/// Once per thread; a thread that lacks the memory for it goes on without.
inline void start_recycling() noexcept {
  static thread_local bool started = false;
  if (started) return;
  started = true;
  try {
    static thread_local RecyclerEnd end;
  } catch (const std::bad_alloc&) {
  }
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
  void**& top = recycler.top[list];
  if (void* block = *top; FASTERAPI_LIKELY(block != nullptr)) {
    --top;
    return block;
  }
  return allocate_slowly((list + std::size_t{1}) * Recycler::kStep);
}

inline void recycle_to(void* memory, std::uint8_t list) noexcept {
  if (FASTERAPI_UNLIKELY(list == Recycler::kClasses)) return ::operator delete(memory);
  void**& top = recycler.top[list];
  if (FASTERAPI_UNLIKELY(top == recycler.last[list])) return recycle_slowly(memory);
  *++top = memory;
}
inline void recycle(void* memory, std::size_t bytes) noexcept { recycle_to(memory, recycler_list(bytes)); }

}  // namespace fasterapi::core::detail
