#pragma once
// MpmcQueue: many producers, many consumers, bounded (Vyukov's ring of numbered cells).
//   Cost     push and pop: one compare-and-swap on their own index, one store to the cell
//   Order    FIFO by the order of the compare-and-swaps, which are the linearization points
//   Memory   a cell's number is stored with release by who filled or emptied it and loaded with acquire by who
//            uses it next; the indices themselves carry no data and are relaxed
//   Progress not lock-free in the strict sense: a producer stopped between its two steps delays the consumers
//            of that cell (try_pop() then says empty)
//   Tests    the atomic type is a parameter, so that a test can drive interleavings
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace fasterapi::core {

template <class T, template <class> class Atomic = std::atomic>
class MpmcQueue {
 public:
  /// Holds at least `capacity` values (rounded up to a power of two, at least 2).
  explicit MpmcQueue(std::size_t capacity)
      : mask_(std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity) - 1), cells_(new Cell[mask_ + 1]) {
    for (std::size_t i = 0; i <= mask_; ++i) cells_[i].number.store(i, std::memory_order_relaxed);
  }
  MpmcQueue(const MpmcQueue&) = delete;
  MpmcQueue& operator=(const MpmcQueue&) = delete;

  std::size_t capacity() const noexcept { return mask_ + 1; }

  /// Any thread. False when full; `value` is then untouched.
  bool try_push(T&& value) {
    std::size_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const auto lead = static_cast<std::ptrdiff_t>(cell.number.load(std::memory_order_acquire) - at);
      if (lead == 0) {
        if (!tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) continue;
        cell.value = std::move(value);
        cell.number.store(at + 1, std::memory_order_release);
        return true;
      }
      if (lead < 0) return false;  // still holds the value of the last round
      at = tail_.load(std::memory_order_relaxed);
    }
  }
  /// Any thread. False when empty.
  bool try_pop(T& value) {
    std::size_t at = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const auto lead = static_cast<std::ptrdiff_t>(cell.number.load(std::memory_order_acquire) - (at + 1));
      if (lead == 0) {
        if (!head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) continue;
        value = std::move(cell.value);
        cell.number.store(at + mask_ + 1, std::memory_order_release);
        return true;
      }
      if (lead < 0) return false;
      at = head_.load(std::memory_order_relaxed);
    }
  }
  /// Exact only when nobody is pushing or popping.
  std::size_t size() const noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    const auto size = static_cast<std::ptrdiff_t>(tail_.load(std::memory_order_relaxed) - head);
    return size > 0 ? static_cast<std::size_t>(size) : 0;
  }

 private:
  struct Cell {
    Atomic<std::size_t> number{0};
    T value{};
  };
  const std::size_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) Atomic<std::size_t> tail_{0};
  alignas(64) Atomic<std::size_t> head_{0};
};

}  // namespace fasterapi::core
