#pragma once
// Memory that the worker processes of one service share: a slot of 64-bit cells per worker for counters and
// histograms, a directory that says what the cells mean, and token buckets that all workers draw from.
//   Cost     a cell: one load and one store in a line that no other process writes; a token: one compare-and-swap
//   Threads  cells of a slot have one writer at a time (a thread, or whoever holds the GIL); reading, the
//   directory
//            and the token buckets are for any thread of any process
//   Crashes  a worker may be killed at any instruction. Its counters stay where they are, the next holder of the
//            slot adds to them, so that totals never go backwards; its gauges end with it
//   Memory   pages are taken when they are first touched; nothing grows after create()
// A supervisor create()s it and hands the descriptor to its workers (inherited by fork, or by number through
// exec); they attach() and claim() a slot.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

struct SharedLayout;  // src/shared/layout.hpp

/// One value of one worker. Plain load and store: its slot has one writer.
using Cell = std::atomic<std::uint64_t>;
static_assert(Cell::is_always_lock_free && sizeof(Cell) == 8);

/// `rate` tokens per second up to `burst` of them; both above 0, rate at most 1e9.
struct RateLimit {
  double rate;
  double burst;
};
struct RateDecision {
  bool allowed;
  std::int64_t retry_after_ns;  // 0 when allowed; INT64_MAX when it asks for more than the burst
  double remaining;             // whole and partial tokens left
};

class FASTERAPI_CORE_API SharedBlock {
 public:
  struct Options {
    std::uint32_t slots = 64;            // processes at a time: workers, those that replace them, the supervisor
    std::uint32_t cells = 32 * 1024;     // per slot
    std::uint32_t entries = 8 * 1024;    // of the directory
    std::uint32_t text_bytes = 1 << 20;  // of the directory
    std::uint32_t buckets = 16 * 1024;   // token buckets
  };
  /// Throws Error: options out of range, or what the system said.
  static std::unique_ptr<SharedBlock> create(const Options& options);
  static std::unique_ptr<SharedBlock> create() { return create(Options{}); }
  /// Maps a block that another process made; the descriptor is duplicated. Throws Error when it is none, or of
  /// another layout.
  static std::unique_ptr<SharedBlock> attach(int fd);
  ~SharedBlock();
  SharedBlock(const SharedBlock&) = delete;
  SharedBlock& operator=(const SharedBlock&) = delete;

  int fd() const noexcept { return fd_; }
  std::uint32_t slots() const noexcept;
  std::uint32_t cells() const noexcept;

  // ---- slots

  /// Takes a free slot, or one whose process is gone, for this process; false when there is none. The cells that
  /// the directory calls resettable are zeroed. Once per process (true again while it is held).
  bool claim() noexcept;
  /// Gives the slot back; counters stay. Also done by the destructor.
  void release() noexcept;
  /// Frees slots of processes that are gone; returns how many. claim() does it when it finds no free one.
  unsigned reap() noexcept;
  /// Slot of this process, -1 before claim().
  int slot() const noexcept { return slot_; }
  bool live(std::uint32_t slot) const noexcept;
  std::int64_t pid(std::uint32_t slot) const noexcept;  // 0 when nobody holds it
  /// After fork() in the child, which shares the block but not the slot: claims another. The addresses of cells
  /// stay and lead to the new slot. False when none was free: they then lead to memory that nobody else sees.
  bool after_fork() noexcept;

  // ---- cells

  /// Cell `index` of this process. Valid before claim() and for good: without a slot it is private memory.
  Cell& cell(std::uint32_t index) noexcept { return window_[index]; }
  const Cell& cell_of(std::uint32_t slot, std::uint32_t index) const noexcept;

  // ---- directory: append-only; an entry is a text and the cells that it names

  struct Entry {
    std::string_view text;
    std::uint32_t kind;        // the owner's own number
    std::uint32_t first_cell;  // of `cell_count`
    std::uint32_t cell_count;
    bool resettable;  // zeroed when a slot changes hands: gauges
  };
  std::uint32_t entry_count() const noexcept;
  Entry entry(std::uint32_t index) const noexcept;
  /// Index of the entry with that kind and text, appended when it is new; nothing when the directory or the cells
  /// are used up. Takes a lock that outlives no process.
  std::optional<std::uint32_t> add_entry(std::uint32_t kind, std::string_view text, std::uint32_t cell_count,
                                         bool resettable) noexcept;

  // ---- token buckets

  /// Takes `tokens` of the bucket `key` under `limit` (part of the key: one name, one limit). `now_ns` is the
  /// monotonic clock, which all processes share. A key that is not in the table is a full bucket; when the table
  /// is full the bucket closest to full is given up.
  RateDecision take(std::string_view key, const RateLimit& limit, double tokens, std::int64_t now_ns) noexcept;
  /// Buckets that were given up before they were full again.
  std::uint64_t evictions() const noexcept;

 private:
  SharedBlock(int fd, void* base, std::size_t size);
  bool map_window(int slot) noexcept;
  void reset_gauges(std::uint32_t slot) noexcept;

  int fd_;
  SharedLayout* layout_;
  std::size_t size_;
  Cell* window_ = nullptr;
  int slot_ = -1;
  std::int64_t claimed_by_ = 0;  // pid, so that a forked child does not release its parent's slot
};

}  // namespace fasterapi::core
