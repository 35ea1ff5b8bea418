#pragma once
// MpscQueue: many producers, one consumer, unbounded, lock-free (Vyukov's intrusive list, with nodes).
//   Cost     push: one allocation, one exchange; pop: one load
//   Order    FIFO per producer. Linearization: push at the exchange of tail_, pop at the load of next
//   Memory   push publishes with release on next, pop reads with acquire
//   Tests    the atomic type is a parameter, so that a test can drive interleavings
#include <atomic>
#include <utility>

namespace fasterapi::core {

template <class T, template <class> class Atomic = std::atomic>
class MpscQueue {
  struct Node {
    Atomic<Node*> next{nullptr};
    T value{};
  };

 public:
  MpscQueue() : head_(new Node), tail_(head_) {}
  ~MpscQueue() {
    T dropped;
    while (pop(dropped)) {
    }
    delete head_;
  }
  MpscQueue(const MpscQueue&) = delete;
  MpscQueue& operator=(const MpscQueue&) = delete;

  /// Any thread. Throws std::bad_alloc.
  void push(T value) {
    Node* node = new Node;
    node->value = std::move(value);
    Node* before = tail_.exchange(node, std::memory_order_acq_rel);
    before->next.store(node, std::memory_order_release);
  }
  /// Consumer only. False when empty (or when the next push is not published yet).
  bool pop(T& value) {
    Node* next = head_->next.load(std::memory_order_acquire);
    if (!next) return false;
    value = std::move(next->value);
    next->value = T{};
    delete std::exchange(head_, next);
    return true;
  }
  /// Consumer only.
  bool empty() const { return head_->next.load(std::memory_order_acquire) == nullptr; }

 private:
  Node* head_;          // consumer's; its value is spent
  Atomic<Node*> tail_;  // producers'
};

}  // namespace fasterapi::core
