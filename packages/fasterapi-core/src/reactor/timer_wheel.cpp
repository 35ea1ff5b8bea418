// Placement: the highest bit in which a timer's tick differs from the current tick chooses the level. So
// every timer of level L lies in the current block of level L + 1 and in a later slot than the current one,
// all timers of a lower level come before those of a higher one, and the lowest set bit of the lowest
// non-empty level is the next event. Slots of level > 0 are emptied into lower ones as their first tick comes.
#include <fasterapi/core/timer_wheel.hpp>

#include <bit>
#include <limits>
#include <utility>

namespace fasterapi::core {

namespace {

// First tick at or after the deadline; written so that INT64_MAX does not overflow.
std::int64_t tick_of(std::int64_t deadline) noexcept {
  return deadline / TimerWheel::kTick + (deadline % TimerWheel::kTick > 0);
}

}  // namespace

void Timer::disarm() noexcept { wheel_->cancel(*this); }

TimerWheel::TimerWheel(std::int64_t now) noexcept : tick_(now / kTick) {}

TimerWheel::~TimerWheel() {
  for (Timer*& first : lists_) {
    while (first) unlink(*first);
  }
}

void TimerWheel::append(Timer& timer, unsigned slot) noexcept {
  timer.slot_ = static_cast<std::uint16_t>(slot);
  Timer*& first = lists_[slot];
  if (!first) {
    first = timer.next_ = timer.prev_ = &timer;
    if (slot < kFar) occupied_[slot / kSlots] |= std::uint64_t{1} << slot % kSlots;
    return;
  }
  timer.next_ = first;
  timer.prev_ = first->prev_;
  first->prev_->next_ = &timer;
  first->prev_ = &timer;
}

void TimerWheel::unlink(Timer& timer) noexcept {
  const unsigned slot = timer.slot_;
  Timer* next = std::exchange(timer.next_, nullptr);
  if (next == &timer) {
    lists_[slot] = nullptr;
    if (slot < kFar) occupied_[slot / kSlots] &= ~(std::uint64_t{1} << slot % kSlots);
    return;
  }
  next->prev_ = timer.prev_;
  timer.prev_->next_ = next;
  if (lists_[slot] == &timer) lists_[slot] = next;
}

void TimerWheel::link(Timer& timer) noexcept {
  timer.placed_ = timer.deadline_;
  std::int64_t tick = tick_of(timer.deadline_);
  if (tick <= tick_) tick = tick_ + 1;
  const auto differing = static_cast<std::uint64_t>(tick ^ tick_);
  const unsigned level = (static_cast<unsigned>(std::bit_width(differing)) - 1) / kBits;
  append(timer, level < kLevels ? level * kSlots + (tick >> level * kBits & (kSlots - 1)) : kFar);
}

void TimerWheel::place(Timer& timer, std::int64_t deadline) noexcept {
  if (timer.armed()) timer.wheel_->cancel(timer);
  timer.wheel_ = this;
  timer.deadline_ = deadline;
  ++count_;
  link(timer);
}

void TimerWheel::cancel(Timer& timer) noexcept {
  if (!timer.armed()) return;
  unlink(timer);
  --count_;
}

TimerWheel::Next TimerWheel::next() const noexcept {
  for (unsigned level = 0; level < kLevels; ++level) {
    if (!occupied_[level]) continue;
    const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
    const std::int64_t block = tick_ >> (level + 1) * kBits << kBits | slot;
    return {block << level * kBits, level * kSlots + slot};
  }
  if (lists_[kFar]) return {((tick_ >> kLevels * kBits) + 1) << kLevels * kBits, kFar};
  return {std::numeric_limits<std::int64_t>::max(), kFar};
}

std::int64_t TimerWheel::next_deadline() const noexcept {
  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  const std::int64_t tick = next().tick;
  return tick > kNever / kTick ? kNever : tick * kTick;
}

int TimerWheel::advance(std::int64_t now) noexcept {
  const std::int64_t target = now / kTick;
  if (target <= tick_) return 0;
  int fired = 0;
  while (count_) {
    const Next event = next();
    if (event.tick > target) break;
    tick_ = event.tick;
    fired += run(event.slot);
  }
  tick_ = target;  // sound: no slot that starts by then is left occupied
  return fired;
}

// Fires the slot's timers that are due; the others, of a longer slot or moved back since, get a new place.
int TimerWheel::run(unsigned slot) noexcept {
  // The list is taken first: timers that are still too far away go back to the very list they come from.
  Timer* timer = std::exchange(lists_[slot], nullptr);
  if (slot < kFar) occupied_[slot / kSlots] &= ~(std::uint64_t{1} << slot % kSlots);
  timer->prev_->next_ = nullptr;
  while (timer) {
    Timer& moved = *std::exchange(timer, timer->next_);
    if (tick_of(moved.deadline_) <= tick_) {
      append(moved, kDue);
    } else {
      link(moved);
    }
  }
  sort_due();
  int fired = 0;
  while (Timer* due = lists_[kDue]) {
    unlink(*due);
    if (tick_of(due->deadline_) > tick_) {  // moved back by a callback of this very tick
      link(*due);
      continue;
    }
    --count_;
    ++fired;
    due->fn_(due->arg_);  // the timer may be gone after this
  }
  return fired;
}

// Stable bottom-up merge sort by deadline; most often there is one timer, or they are in order already.
void TimerWheel::sort_due() noexcept {
  Timer* first = lists_[kDue];
  if (!first) return;
  Timer* timer = first;
  while (timer->next_ != first && timer->deadline_ <= timer->next_->deadline_) timer = timer->next_;
  if (timer->next_ == first) return;

  first->prev_->next_ = nullptr;
  Timer* bins[32] = {};  // bins[i]: a sorted chain of 2^i timers; the last takes what overflows
  auto merge = [](Timer* older, Timer* newer) noexcept {
    Timer* head = nullptr;
    Timer** end = &head;
    while (older && newer) {
      Timer*& smaller = newer->deadline_ < older->deadline_ ? newer : older;
      *end = smaller;
      end = &smaller->next_;
      smaller = smaller->next_;
    }
    *end = older ? older : newer;
    return head;
  };
  while (first) {
    Timer* chain = std::exchange(first, first->next_);
    chain->next_ = nullptr;
    unsigned bin = 0;
    for (; bin < 31 && bins[bin]; ++bin) chain = merge(std::exchange(bins[bin], nullptr), chain);
    bins[bin] = bins[bin] ? merge(bins[bin], chain) : chain;
  }
  Timer* sorted = nullptr;
  for (Timer* chain : bins) {
    if (chain) sorted = sorted ? merge(chain, sorted) : chain;
  }
  lists_[kDue] = nullptr;
  while (sorted) append(*std::exchange(sorted, sorted->next_), kDue);
}

}  // namespace fasterapi::core
