#pragma once
// What is at which place of a shared block. Offsets only, no pointers: every process maps it elsewhere.
// Changing any of this changes kLayoutVersion.
#include <atomic>
#include <cstdint>

#include <fasterapi/core/shared_block.hpp>

namespace fasterapi::core {

inline constexpr std::uint64_t kSharedMagic = 0x314b4c4252455446;  // "FTERBLK1"
inline constexpr std::uint32_t kSharedLayoutVersion = 1;
inline constexpr std::size_t kSharedPage = 4096;

struct alignas(64) SharedSlot {
  std::atomic<std::uint64_t> owner{0};  // process_identity() of its holder, 0: free; claimed by compare-and-swap
};

struct SharedEntry {
  std::uint32_t kind;
  std::uint32_t text_offset, text_size;
  std::uint32_t first_cell, cell_count;
  std::uint32_t resettable;
};

/// A token bucket as the time at which it will be full again (GCRA's theoretical arrival time).
struct SharedBucket {
  std::atomic<std::uint64_t> key{0};     // hash, 0: unused
  std::atomic<std::int64_t> full_at{0};  // in 1/16 ns of the monotonic clock
};
inline constexpr std::uint32_t kBucketWays = 8;  // buckets of one set, two cache lines

struct SharedLayout {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_size;
  std::uint64_t total_size;
  std::uint32_t slots, cells, entries, text_bytes, bucket_sets;
  std::uint64_t slots_at, cells_at, entries_at, text_at, buckets_at;
  std::uint64_t cells_stride;  // bytes per slot, whole pages
  std::uint64_t hash_seed[2];  // peers cannot choose keys that meet in one set

  alignas(64) std::atomic<std::uint64_t> lock;  // process_identity() of who appends to the directory
  std::uint32_t text_used, cells_used;          // under the lock
  std::atomic<std::uint32_t> entry_count;       // published with release
  alignas(64) std::atomic<std::uint64_t> evictions;

  template <class T>
  T* at(std::uint64_t offset) noexcept {
    return reinterpret_cast<T*>(reinterpret_cast<char*>(this) + offset);
  }
  SharedSlot* slot(std::uint32_t i) noexcept { return at<SharedSlot>(slots_at) + i; }
  Cell* slot_cells(std::uint32_t i) noexcept { return at<Cell>(cells_at + i * cells_stride); }
};

/// A process for good, in one word: its pid and when it began (pids alone come again). 0 when there is none, or
/// when it is dead and its parent has not looked yet.
std::uint64_t process_identity(std::int64_t pid) noexcept;
inline constexpr int kStartBits = 40;  // 348 years of 10 ms ticks; pids have 22 bits on Linux
inline std::int64_t pid_of(std::uint64_t identity) noexcept {
  return static_cast<std::int64_t>(identity >> kStartBits);
}
/// Whether that very process still runs.
inline bool process_alive(std::uint64_t identity) noexcept {
  return process_identity(pid_of(identity)) == identity;
}

/// SipHash-1-3 of the text under the block's seed.
std::uint64_t seeded_hash(std::string_view text, const std::uint64_t seed[2]) noexcept;

}  // namespace fasterapi::core
