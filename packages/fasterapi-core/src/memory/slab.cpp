#include <fasterapi/core/slab.hpp>

#include <cstdlib>
#include <iterator>
#include <limits>
#include <new>

namespace fasterapi::core {

namespace {
constexpr std::uint32_t kCount = std::size(SlabPool::kClasses);
constexpr std::uint32_t kUnpooled = kCount;
}  // namespace

namespace detail {

// Outlives its pool while blocks are referenced: they have to give themselves back somewhere.
struct SlabCore {
  Block* idle[kCount] = {};
  std::size_t idle_bytes = 0;
  std::size_t max_idle_bytes = 0;
  SlabStatistics statistics;
  bool closed = false;
};

void give_back(Block* block) noexcept {
  SlabCore& core = *block->core;
  --core.statistics.live;
  if (block->size_class != kUnpooled && !core.closed && core.idle_bytes + block->capacity <= core.max_idle_bytes) {
    block->next = std::exchange(core.idle[block->size_class], block);
    core.idle_bytes += block->capacity;
    return;
  }
  std::free(block);
  if (core.closed && core.statistics.live == 0) delete &core;
}

}  // namespace detail

SlabPool::SlabPool(std::size_t max_idle_bytes) : core_(new detail::SlabCore) {
  core_->max_idle_bytes = max_idle_bytes;
}

SlabPool::~SlabPool() {
  trim();
  core_->closed = true;
  if (core_->statistics.live == 0) delete core_;
}

BlockRef SlabPool::acquire(std::size_t size) {
  std::uint32_t size_class = 0;
  while (size_class < kCount && kClasses[size_class] < size) ++size_class;
  detail::Block* block = nullptr;
  if (size_class < kCount && core_->idle[size_class]) {
    block = core_->idle[size_class];
    core_->idle[size_class] = block->next;
    core_->idle_bytes -= block->capacity;
    ++core_->statistics.reused;
  } else {
    const std::size_t capacity = size_class < kCount ? kClasses[size_class] : size;
    constexpr std::size_t kExtra = sizeof(detail::Block) + kPadding;
    if (capacity > std::numeric_limits<std::size_t>::max() - kExtra) throw std::bad_alloc();
    block = static_cast<detail::Block*>(std::malloc(kExtra + capacity));
    if (!block) throw std::bad_alloc();
    *block = {0, size_class, capacity, core_, nullptr};
    ++core_->statistics.allocated;
  }
  block->references = 1;
  ++core_->statistics.live;
  return BlockRef(block);
}

void SlabPool::trim(std::size_t keep_bytes) noexcept {
  for (std::uint32_t size_class = kCount; size_class-- > 0;) {
    detail::Block*& idle = core_->idle[size_class];
    while (idle && core_->idle_bytes > keep_bytes) {
      core_->idle_bytes -= idle->capacity;
      std::free(std::exchange(idle, idle->next));
    }
  }
}

SlabStatistics SlabPool::statistics() const noexcept {
  SlabStatistics statistics = core_->statistics;
  statistics.idle_bytes = core_->idle_bytes;
  return statistics;
}

}  // namespace fasterapi::core
