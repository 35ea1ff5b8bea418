#pragma once
// SpscQueue: one producer, one consumer, bounded, wait-free ring.
//   Cost     push and pop: one store each; the other side's index is read only when the known one is used up
//   Order    FIFO. Linearization: push at the store of tail_, pop at the store of head_
//   Memory   each index is stored with release by its owner and loaded with acquire by the other side: the
//            consumer sees the value before it sees tail_, the producer sees the slot emptied before it sees head_
//   Tests    the atomic type is a parameter, so that a test can drive interleavings
#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

namespace fasterapi::core {

template <class T, template <class> class Atomic = std::atomic>
class SpscQueue {
 public:
  /// Holds at least `capacity` values (rounded up to a power of two).
  explicit SpscQueue(std::size_t capacity)
      : mask_(std::bit_ceil(capacity < 1 ? std::size_t{1} : capacity) - 1), slots_(new T[mask_ + 1]) {}
  SpscQueue(const SpscQueue&) = delete;
  SpscQueue& operator=(const SpscQueue&) = delete;

  std::size_t capacity() const noexcept { return mask_ + 1; }

  /// Producer only. False when full; `value` is then untouched.
  bool try_push(T&& value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - known_head_ > mask_) {
      known_head_ = head_.load(std::memory_order_acquire);
      if (tail - known_head_ > mask_) return false;
    }
    slots_[tail & mask_] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  /// Consumer only. False when empty.
  bool try_pop(T& value) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == known_tail_) {
      known_tail_ = tail_.load(std::memory_order_acquire);
      if (head == known_tail_) return false;
    }
    value = std::move(slots_[head & mask_]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }
  /// Any thread; exact only when nobody is pushing or popping.
  std::size_t size() const noexcept {
    const std::size_t head = head_.load(std::memory_order_acquire);
    return tail_.load(std::memory_order_acquire) - head;
  }

 private:
  const std::size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(64) Atomic<std::size_t> tail_{0};  // the producer's line
  std::size_t known_head_ = 0;
  alignas(64) Atomic<std::size_t> head_{0};  // the consumer's line
  std::size_t known_tail_ = 0;
};

}  // namespace fasterapi::core
