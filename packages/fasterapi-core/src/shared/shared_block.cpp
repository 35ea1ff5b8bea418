#include <fasterapi/core/shared_block.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/reactor.hpp>

#include "layout.hpp"

namespace fasterapi::core {
namespace {

[[noreturn]] void fail(const char* what) {
  const int error = errno;
  throw Error(std::string("shared block: ") + what + ": " + std::strerror(error), error);
}

#if FASTERAPI_LINUX
int make_memory(std::size_t size) {
  const int fd = ::memfd_create("fasterapi", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) fail("memfd_create");
  // Sealed: nobody can cut it under a process that has it mapped.
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0 ||
      ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const int error = errno;
    ::close(fd);
    errno = error;
    fail("memfd size and seals");
  }
  return fd;
}
#else
int make_memory(std::size_t size) {
  const std::string name = "/fasterapi-" + std::to_string(::getpid()) + "-" + std::to_string(monotonic_now());
  const int fd = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0) fail("shm_open");
  ::shm_unlink(name.c_str());
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    const int error = errno;
    ::close(fd);
    errno = error;
    fail("size");
  }
  return fd;
}
#endif

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) noexcept { return (value + to - 1) / to * to; }

void check(std::uint32_t value, std::uint32_t low, std::uint32_t high, const char* name) {
  if (value < low || value > high)
    throw Error("shared block: " + std::string(name) + " must be " + std::to_string(low) + " to " +
                std::to_string(high) + ", not " + std::to_string(value));
}

/// Where everything lies; also what attach() compares a found block with.
void place(SharedLayout& layout, const SharedBlock::Options& options, std::uint64_t page) noexcept {
  layout.slots = options.slots;
  layout.cells = options.cells;
  layout.entries = options.entries;
  layout.text_bytes = options.text_bytes;
  layout.bucket_sets = std::bit_ceil((options.buckets + kBucketWays - 1) / kBucketWays);
  layout.slots_at = round_up(sizeof(SharedLayout), 64);
  layout.entries_at = round_up(layout.slots_at + sizeof(SharedSlot) * layout.slots, 64);
  layout.text_at = round_up(layout.entries_at + sizeof(SharedEntry) * layout.entries, 64);
  layout.buckets_at = round_up(layout.text_at + layout.text_bytes, 64);
  layout.cells_at = round_up(layout.buckets_at + sizeof(SharedBucket) * kBucketWays * layout.bucket_sets, page);
  layout.cells_stride = round_up(sizeof(Cell) * layout.cells, page);
  layout.total_size = layout.cells_at + layout.cells_stride * layout.slots;
}

std::uint64_t page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

/// A holder that was killed is replaced by whoever finds it gone.
class DirectoryLock {
 public:
  explicit DirectoryLock(SharedLayout& layout) noexcept : lock_(layout.lock) {
    const std::uint64_t me = process_identity(::getpid());
    for (unsigned tries = 0;; ++tries) {
      std::uint64_t holder = 0;
      if (lock_.compare_exchange_strong(holder, me, std::memory_order_acquire)) return;
      // Held for microseconds; by a thread of this process perhaps, for which we wait as for any other.
      if (tries % 64 == 63 && !process_alive(holder) &&
          lock_.compare_exchange_strong(holder, me, std::memory_order_acquire))
        return;
      if (tries < 16) {
        ::sched_yield();
      } else {
        timespec pause{0, 50'000};
        ::nanosleep(&pause, nullptr);
      }
    }
  }
  ~DirectoryLock() { lock_.store(0, std::memory_order_release); }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  std::atomic<std::uint64_t>& lock_;
};

}  // namespace

// ---------------------------------------------------------------- making and finding

std::unique_ptr<SharedBlock> SharedBlock::create(const Options& options) {
  check(options.slots, 1, 4096, "slots");
  check(options.cells, 64, 1u << 24, "cells");
  check(options.entries, 16, 1u << 20, "entries");
  check(options.text_bytes, 1024, 1u << 28, "text_bytes");
  check(options.buckets, kBucketWays, 1u << 24, "buckets");
  SharedLayout plan{};
  place(plan, options, page_size());
  const int fd = make_memory(plan.total_size);
  void* base = ::mmap(nullptr, plan.total_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    ::close(fd);
    fail("mmap");
  }
  auto* layout = new (base) SharedLayout();  // the rest is zero: free slots, unused buckets, cells of 0
  place(*layout, options, page_size());
  layout->version = kSharedLayoutVersion;
  layout->header_size = sizeof(SharedLayout);
  if (::getentropy(layout->hash_seed, sizeof layout->hash_seed) != 0) {
    layout->hash_seed[0] = static_cast<std::uint64_t>(monotonic_now());
    layout->hash_seed[1] = reinterpret_cast<std::uintptr_t>(base) ^ static_cast<std::uint64_t>(::getpid());
  }
  std::atomic_thread_fence(std::memory_order_release);
  layout->magic = kSharedMagic;
  return std::unique_ptr<SharedBlock>(new SharedBlock(fd, base, plan.total_size));
}

std::unique_ptr<SharedBlock> SharedBlock::attach(int given) {
  struct stat status;
  if (::fstat(given, &status) != 0) fail("descriptor");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < sizeof(SharedLayout)) throw Error("shared block: the descriptor is none");
  const int fd = ::fcntl(given, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) fail("descriptor");
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    ::close(fd);
    fail("mmap");
  }
  const auto* layout = static_cast<SharedLayout*>(base);
  std::string wrong;
  if (layout->magic != kSharedMagic) {
    wrong = "the descriptor is none";
  } else if (layout->version != kSharedLayoutVersion || layout->header_size != sizeof(SharedLayout)) {
    wrong = "made by another version of fasterapi-core (layout " + std::to_string(layout->version) + ", this is " +
            std::to_string(kSharedLayoutVersion) + ")";
  } else {
    SharedLayout plan{};
    place(plan,
          {layout->slots, layout->cells, layout->entries, layout->text_bytes, layout->bucket_sets * kBucketWays},
          page_size());
    if (plan.total_size != size || plan.cells_at != layout->cells_at || plan.text_at != layout->text_at ||
        plan.buckets_at != layout->buckets_at || plan.bucket_sets != layout->bucket_sets ||
        plan.entries_at != layout->entries_at || plan.slots_at != layout->slots_at ||
        plan.cells_stride != layout->cells_stride)
      wrong = "the header is damaged";
  }
  if (!wrong.empty()) {
    ::munmap(base, size);
    ::close(fd);
    throw Error("shared block: " + wrong);
  }
  return std::unique_ptr<SharedBlock>(new SharedBlock(fd, base, size));
}

SharedBlock::SharedBlock(int fd, void* base, std::size_t size)
    : fd_(fd), layout_(static_cast<SharedLayout*>(base)), size_(size) {
  void* window =
      ::mmap(nullptr, layout_->cells_stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (window == MAP_FAILED) {
    const int error = errno;
    ::munmap(base, size);
    ::close(fd);
    errno = error;
    fail("mmap");
  }
  window_ = static_cast<Cell*>(window);
}

SharedBlock::~SharedBlock() {
  release();
  ::munmap(window_, layout_->cells_stride);
  ::munmap(layout_, size_);
  ::close(fd_);
}

std::uint32_t SharedBlock::slots() const noexcept { return layout_->slots; }
std::uint32_t SharedBlock::cells() const noexcept { return layout_->cells; }

// ---------------------------------------------------------------- slots

/// Puts the cells of the slot (-1: private ones) behind the addresses that were handed out.
bool SharedBlock::map_window(int slot) noexcept {
  const std::size_t size = layout_->cells_stride;
  void* got = slot < 0
                  ? ::mmap(window_, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
                  : ::mmap(window_, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_,
                           static_cast<off_t>(layout_->cells_at + size * static_cast<std::size_t>(slot)));
  return got != MAP_FAILED;
}

void SharedBlock::reset_gauges(std::uint32_t slot) noexcept {
  Cell* cells = layout_->slot_cells(slot);
  for (std::uint32_t i = 0, n = entry_count(); i < n; ++i) {
    const SharedEntry& entry = layout_->at<SharedEntry>(layout_->entries_at)[i];
    for (std::uint32_t c = 0; entry.resettable && c < entry.cell_count; ++c)
      cells[entry.first_cell + c].store(0, std::memory_order_relaxed);
  }
}

bool SharedBlock::claim() noexcept {
  if (slot_ >= 0) return true;
  const std::uint64_t me = process_identity(::getpid());
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1 && reap() == 0) return false;
    for (std::uint32_t i = 0; i < layout_->slots; ++i) {
      SharedSlot& slot = *layout_->slot(i);
      std::uint64_t nobody = 0;
      if (!slot.owner.compare_exchange_strong(nobody, me, std::memory_order_acq_rel)) continue;
      reset_gauges(i);
      if (!map_window(static_cast<int>(i))) {
        slot.owner.store(0, std::memory_order_release);
        return false;
      }
      slot_ = static_cast<int>(i);
      claimed_by_ = ::getpid();
      return true;
    }
  }
  return false;
}

void SharedBlock::release() noexcept {
  if (slot_ < 0) return;
  if (claimed_by_ == ::getpid()) {
    SharedSlot& slot = *layout_->slot(static_cast<std::uint32_t>(slot_));
    reset_gauges(static_cast<std::uint32_t>(slot_));
    map_window(-1);  // writers that are left write to nobody
    slot.owner.store(0, std::memory_order_release);
  }
  slot_ = -1;
}

unsigned SharedBlock::reap() noexcept {
  unsigned freed = 0;
  for (std::uint32_t i = 0; i < layout_->slots; ++i) {
    SharedSlot& slot = *layout_->slot(i);
    std::uint64_t owner = slot.owner.load(std::memory_order_acquire);
    if (owner == 0 || process_alive(owner)) continue;
    // Nothing to save: the counters stay in the slot. One of several that see this frees it.
    if (slot.owner.compare_exchange_strong(owner, 0, std::memory_order_acq_rel)) ++freed;
  }
  return freed;
}

bool SharedBlock::live(std::uint32_t slot) const noexcept {
  return layout_->slot(slot)->owner.load(std::memory_order_acquire) != 0;
}
std::int64_t SharedBlock::pid(std::uint32_t slot) const noexcept {
  return pid_of(layout_->slot(slot)->owner.load(std::memory_order_acquire));
}

bool SharedBlock::after_fork() noexcept {
  if (slot_ < 0) return false;
  slot_ = -1;
  claimed_by_ = 0;
  map_window(-1);  // not one more count into the parent's slot
  return claim();
}

const Cell& SharedBlock::cell_of(std::uint32_t slot, std::uint32_t index) const noexcept {
  return layout_->slot_cells(slot)[index];
}

// ---------------------------------------------------------------- directory

std::uint32_t SharedBlock::entry_count() const noexcept {
  return std::min(layout_->entry_count.load(std::memory_order_acquire), layout_->entries);
}

SharedBlock::Entry SharedBlock::entry(std::uint32_t index) const noexcept {
  const SharedEntry& entry = layout_->at<SharedEntry>(layout_->entries_at)[index];
  return {{layout_->at<char>(layout_->text_at) + entry.text_offset, entry.text_size},
          entry.kind,
          entry.first_cell,
          entry.cell_count,
          entry.resettable != 0};
}

std::optional<std::uint32_t> SharedBlock::add_entry(std::uint32_t kind, std::string_view text,
                                                    std::uint32_t cell_count, bool resettable) noexcept {
  DirectoryLock lock(*layout_);
  const std::uint32_t count = entry_count();
  for (std::uint32_t i = 0; i < count; ++i) {
    const Entry known = entry(i);
    if (known.kind == kind && known.text == text) return i;
  }
  if (count == layout_->entries || text.size() > layout_->text_bytes - layout_->text_used ||
      cell_count > layout_->cells - layout_->cells_used)
    return std::nullopt;
  // Killed anywhere before the last line: the room is lost, the directory is whole.
  SharedEntry& added = layout_->at<SharedEntry>(layout_->entries_at)[count];
  added.kind = kind;
  added.text_offset = layout_->text_used;
  added.text_size = static_cast<std::uint32_t>(text.size());
  added.first_cell = layout_->cells_used;
  added.cell_count = cell_count;
  added.resettable = resettable;
  std::memcpy(layout_->at<char>(layout_->text_at) + layout_->text_used, text.data(), text.size());
  layout_->text_used += added.text_size;
  layout_->cells_used += cell_count;
  layout_->entry_count.store(count + 1, std::memory_order_release);
  return count;
}

}  // namespace fasterapi::core
