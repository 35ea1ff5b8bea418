#include <fasterapi/core/log.hpp>
#include <fasterapi/core/mpmc_queue.hpp>

namespace fasterapi::core::log {

struct RingSink::Ring {
  explicit Ring(std::size_t capacity) : queue(capacity) {}
  MpmcQueue<Record> queue;
};

RingSink::RingSink(std::size_t capacity, Wake wake, void* arg)
    : ring_(std::make_unique<Ring>(capacity)), wake_(wake), arg_(arg) {}
RingSink::~RingSink() = default;

void RingSink::write(const Record& record) noexcept {
  if (!ring_->queue.try_push(Record(record))) count_dropped();
  left_out();
}

void RingSink::left_out() noexcept {
  // Release: who sees the flag and pops sees the record, or the one who pushed before it is not done yet and will
  // set the flag after.
  pending_.store(true, std::memory_order_release);
  if (wake_) wake_(arg_);
}

bool RingSink::pop(Record& record) noexcept {
  if (ring_->queue.try_pop(record)) return true;
  // Lower the flag first and look again: a record pushed between the two looks raises it after.
  pending_.exchange(false, std::memory_order_acq_rel);
  return ring_->queue.try_pop(record);
}

void RingSink::clear() noexcept {
  Record record;
  while (pop(record)) {
  }
}

}  // namespace fasterapi::core::log
