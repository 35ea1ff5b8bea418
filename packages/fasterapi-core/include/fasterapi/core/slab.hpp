#pragma once
// SlabPool: blocks of memory for network data, in five size classes, shared by reference count.
//   Cost     acquire and release of a pooled size: a free-list pop and push; other sizes: malloc and free
//   Threads  one reactor: counts are not atomic. Data for another thread is copied
//   Bounds   idle blocks are kept up to `max_idle_bytes` in all; trim() gives memory back
//   Ownership  a block lives as long as its last BlockRef, also beyond the pool
//   Padding  kPadding bytes after a block's capacity are readable, for scanners that read whole vectors
#include <cstddef>
#include <cstdint>
#include <utility>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

class SlabPool;

namespace detail {
struct SlabCore;
struct Block {
  std::uint32_t references;
  std::uint32_t size_class;
  std::size_t capacity;
  SlabCore* core;
  Block* next;
  char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
};
FASTERAPI_CORE_API void give_back(Block* block) noexcept;
}  // namespace detail

/// One reference to a block; copying is an increment.
class BlockRef {
 public:
  BlockRef() noexcept = default;
  BlockRef(const BlockRef& other) noexcept : block_(other.block_) {
    if (block_) ++block_->references;
  }
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef() {
    if (block_ && --block_->references == 0) detail::give_back(block_);
  }
  explicit operator bool() const noexcept { return block_ != nullptr; }
  char* data() const noexcept { return block_->data(); }
  std::size_t capacity() const noexcept { return block_->capacity; }
  /// Nobody else holds it, so it may be written.
  bool unique() const noexcept { return block_->references == 1; }
  std::uint32_t references() const noexcept { return block_ ? block_->references : 0; }

 private:
  friend class SlabPool;
  explicit BlockRef(detail::Block* block) noexcept : block_(block) {}
  detail::Block* block_ = nullptr;
};

struct SlabStatistics {
  std::uint64_t allocated = 0;  // blocks taken from the heap
  std::uint64_t reused = 0;
  std::size_t live = 0;         // blocks that are referenced
  std::size_t idle_bytes = 0;
};

class FASTERAPI_CORE_API SlabPool {
 public:
  static constexpr std::size_t kClasses[] = {1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024};
  static constexpr std::size_t kPadding = 64;

  explicit SlabPool(std::size_t max_idle_bytes = 8 * 1024 * 1024);
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  /// A block of at least `size` bytes, not cleared. Throws std::bad_alloc.
  BlockRef acquire(std::size_t size);
  /// Frees idle blocks, the largest first, until at most `keep_bytes` are idle.
  void trim(std::size_t keep_bytes = 0) noexcept;
  SlabStatistics statistics() const noexcept;

 private:
  detail::SlabCore* core_;
};

}  // namespace fasterapi::core
