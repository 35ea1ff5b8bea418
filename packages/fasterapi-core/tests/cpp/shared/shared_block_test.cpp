// Several processes on one block: exact totals, crashes, slots, the directory and token buckets.
#include <fasterapi/core/shared_block.hpp>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

SharedBlock::Options small() {
  return {.slots = 6, .cells = 1024, .entries = 64, .text_bytes = 4096, .buckets = 64};
}

pid_t child(const std::function<int()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(work());
  return pid;
}
int wait_for(pid_t pid) {
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
void add(Cell& cell, std::uint64_t n = 1) {
  cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
std::uint64_t total(const SharedBlock& block, std::uint32_t cell) {
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < block.slots(); ++i) sum += block.cell_of(i, cell).load(std::memory_order_relaxed);
  return sum;
}

/// Memory that the test's processes share apart from the block.
template <class T>
struct Common {
  Common() {
    value = new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) T();
  }
  ~Common() { ::munmap(value, sizeof(T)); }
  T* operator->() { return value; }
  T& operator*() { return *value; }
  T* value;
};

TEST(SharedBlockTest, FourProcessesCountExactly) {
  auto block = SharedBlock::create(small());
  ASSERT_TRUE(block->claim());
  const std::uint32_t cell = block->entry(*block->add_entry(1, "requests", 1, false)).first_cell;
  std::vector<pid_t> pids;
  for (int i = 0; i < 4; ++i)
    pids.push_back(child([&] {
      if (!block->after_fork()) return 1;
      Cell& mine = block->cell(cell);
      for (int n = 0; n < 1'000'000; ++n) add(mine);
      return 0;
    }));
  for (pid_t pid : pids) EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(total(*block, cell), 4'000'000u);
  EXPECT_EQ(block->cell(cell).load(), 0u);  // none of it in the parent's slot
}

TEST(SharedBlockTest, KilledWriterLosesNothingAndItsSlotIsTakenOver) {
  auto block = SharedBlock::create({.slots = 1, .cells = 64, .entries = 16, .text_bytes = 1024, .buckets = 8});
  const std::uint32_t counter = block->entry(*block->add_entry(1, "c", 1, false)).first_cell;
  const std::uint32_t gauge = block->entry(*block->add_entry(2, "g", 1, true)).first_cell;
  std::uint64_t before = 0;
  for (int round = 0; round < 5; ++round) {
    Common<std::atomic<std::uint64_t>> reported;
    const pid_t pid = child([&] {
      if (!block->claim()) return 1;
      if (block->cell(gauge).load() != 0) return 2;  // the dead holder's
      add(block->cell(gauge), 7);
      for (std::uint64_t n = 1;; ++n) {
        add(block->cell(counter));
        reported->store(n, std::memory_order_relaxed);
      }
    });
    while (reported->load() < 10'000) std::this_thread::yield();
    ::kill(pid, SIGKILL);
    EXPECT_EQ(wait_for(pid), -SIGKILL);
    const std::uint64_t now = total(*block, counter);
    EXPECT_GE(now, before + reported->load());
    EXPECT_LE(now, before + reported->load() + 1);
    before = now;
    EXPECT_EQ(total(*block, gauge), 7u);
    EXPECT_EQ(block->reap(), 1u);
    EXPECT_FALSE(block->live(0));
    EXPECT_EQ(total(*block, counter), before);
  }
}

TEST(SharedBlockTest, ReaderNeverSeesATotalGoBackWhileWritersAreKilledAndReplaced) {
  auto block = SharedBlock::create(small());
  const std::uint32_t cell = block->entry(*block->add_entry(1, "c", 1, false)).first_cell;
  const auto writer = [&] {
    return child([&] {
      if (!block->claim()) return 1;
      for (;;) add(block->cell(cell));
    });
  };
  std::vector<pid_t> pids = {writer(), writer(), writer()};
  std::uint64_t last = 0;
  for (int round = 0; round < 30; ++round) {
    ::usleep(1000);
    pid_t& pid = pids[static_cast<std::size_t>(round) % pids.size()];
    ::kill(pid, SIGKILL);
    EXPECT_EQ(wait_for(pid), -SIGKILL);
    pid = writer();
    for (int look = 0; look < 1000; ++look) {
      const std::uint64_t now = total(*block, cell);
      ASSERT_GE(now, last);
      last = now;
    }
  }
  for (pid_t pid : pids) {
    ::kill(pid, SIGKILL);
    wait_for(pid);
  }
  EXPECT_GT(last, 0u);
}

TEST(SharedBlockTest, SlotsAreOnePerProcessAndRunOut) {
  auto block = SharedBlock::create({.slots = 2, .cells = 64, .entries = 16, .text_bytes = 1024, .buckets = 8});
  ASSERT_TRUE(block->claim());
  EXPECT_TRUE(block->claim());
  EXPECT_EQ(block->slot(), 0);
  EXPECT_EQ(block->pid(0), ::getpid());
  auto again = SharedBlock::attach(block->fd());  // the same process through another mapping counts as another
  EXPECT_TRUE(again->claim());
  EXPECT_EQ(again->slot(), 1);
  EXPECT_EQ(wait_for(child([&] {
              if (block->after_fork()) return 1;  // none left
              add(block->cell(0), 99);            // goes to private memory
              return block->cell_of(0, 0).load() == 0 ? 0 : 2;
            })),
            0);
  EXPECT_TRUE(block->live(0));  // the child's exit released nothing of ours
  again->release();
  EXPECT_FALSE(block->live(1));
  EXPECT_EQ(wait_for(child([&] { return block->after_fork() && block->slot() == 1 ? 0 : 1; })), 0);
}

TEST(SharedBlockTest, ProcessesRaceForSlotsAndEachGetsItsOwn) {
  auto block = SharedBlock::create({.slots = 8, .cells = 64, .entries = 16, .text_bytes = 1024, .buckets = 8});
  Common<std::atomic<int>> ready, go;
  std::vector<pid_t> pids;
  for (int i = 0; i < 12; ++i)
    pids.push_back(child([&] {
      auto mine = SharedBlock::attach(block->fd());
      ++*ready;
      while (!go->load()) std::this_thread::yield();
      const int slot = mine->claim() ? mine->slot() : 100;
      while (go->load() == 1) std::this_thread::yield();
      mine->release();
      return slot;
    }));
  while (ready->load() < 12) std::this_thread::yield();
  *go = 1;
  ::usleep(50'000);
  *go = 2;
  std::vector<int> holders(101);
  for (pid_t pid : pids) ++holders[static_cast<std::size_t>(wait_for(pid))];
  EXPECT_GE(holders[100], 0);
  for (int slot = 0; slot < 8; ++slot) EXPECT_GE(holders[static_cast<std::size_t>(slot)], 1) << slot;
}

TEST(SharedBlockTest, DirectoryIsOneForAllProcesses) {
  auto block = SharedBlock::create(small());
  std::vector<pid_t> pids;
  for (int i = 0; i < 4; ++i)
    pids.push_back(child([&, i] {
      auto mine = SharedBlock::attach(block->fd());
      for (int n = 0; n < 40; ++n)
        if (!mine->add_entry(3, "name " + std::to_string((n * 7 + i * 11) % 40), 2, false)) return 1;
      return 0;
    }));
  for (pid_t pid : pids) EXPECT_EQ(wait_for(pid), 0);
  ASSERT_EQ(block->entry_count(), 40u);
  std::vector<bool> seen(40), cells(80);
  for (std::uint32_t i = 0; i < 40; ++i) {
    const auto entry = block->entry(i);
    seen[static_cast<std::size_t>(std::stoi(std::string(entry.text.substr(5))))] = true;
    EXPECT_EQ(entry.cell_count, 2u);
    EXPECT_FALSE(cells[entry.first_cell]);
    cells[entry.first_cell] = cells[entry.first_cell + 1] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 40);
}

TEST(SharedBlockTest, ProcessKilledWhileItAppendsDoesNotStopTheOthers) {
  auto block =
      SharedBlock::create({.slots = 2, .cells = 1 << 20, .entries = 1 << 18, .text_bytes = 1 << 24, .buckets = 8});
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = child([&]() -> int {
      for (int n = 0;; ++n) block->add_entry(1, std::to_string(round) + "-" + std::to_string(n), 1, false);
    });
    ::usleep(3000);
    ::kill(pid, SIGKILL);
    wait_for(pid);
    const std::int64_t begin = monotonic_now();
    ASSERT_TRUE(block->add_entry(2, "after " + std::to_string(round), 1, false));
    EXPECT_LT(monotonic_now() - begin, 2 * kSecond);
  }
  for (std::uint32_t i = 0; i < block->entry_count(); ++i) EXPECT_FALSE(block->entry(i).text.empty());
}

TEST(SharedBlockTest, FullDirectoryAndFullCellsSayNo) {
  auto block = SharedBlock::create({.slots = 1, .cells = 64, .entries = 16, .text_bytes = 1024, .buckets = 8});
  EXPECT_FALSE(block->add_entry(1, "too many cells", 65, false));
  EXPECT_FALSE(block->add_entry(1, std::string(2000, 'x'), 1, false));
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(block->add_entry(1, std::to_string(i), 4, false));
  EXPECT_FALSE(block->add_entry(1, "one more", 0, false));
  EXPECT_EQ(block->add_entry(1, "3", 4, false), 3u);
}

TEST(SharedBlockTest, OnlyABlockOfThisLayoutIsAttached) {
  EXPECT_THROW(SharedBlock::attach(-1), Error);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_THROW(SharedBlock::attach(ends[0]), Error);
  ::close(ends[0]);
  ::close(ends[1]);
  const int fd = ::memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(fd, 1 << 20), 0);
  EXPECT_THROW(SharedBlock::attach(fd), Error);
  auto block = SharedBlock::create(small());
  for (std::size_t at : {0u, 8u, 16u, 24u, 40u}) {  // magic, version, size, slots, sets
    std::string copy(1 << 20, 0);
    ASSERT_GT(::pread(block->fd(), copy.data(), copy.size(), 0), 0);
    copy[at] = static_cast<char>(copy[at] + 1);
    ASSERT_EQ(::pwrite(fd, copy.data(), copy.size(), 0), static_cast<ssize_t>(copy.size()));
    EXPECT_THROW(SharedBlock::attach(fd), Error) << at;
  }
  ::close(fd);
  EXPECT_NE(::ftruncate(block->fd(), 10), 0);  // sealed
  EXPECT_THROW(SharedBlock::create({.slots = 0}), Error);
  EXPECT_THROW(SharedBlock::create({.buckets = 1u << 30}), Error);
}

TEST(TokenBuckets, BurstThenRateByAScriptedClock) {
  auto block = SharedBlock::create(small());
  const RateLimit limit{.rate = 10, .burst = 5};
  std::int64_t now = 100 * kSecond;
  for (int i = 0; i < 5; ++i) {
    const auto decision = block->take("a", limit, 1, now);
    EXPECT_TRUE(decision.allowed);
    EXPECT_NEAR(decision.remaining, 4 - i, 1e-6);
  }
  const auto refused = block->take("a", limit, 1, now);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry_after_ns, kSecond / 10);
  EXPECT_TRUE(block->take("b", limit, 5, now).allowed);  // keys are apart
  EXPECT_FALSE(block->take("a", limit, 1, now + kSecond / 10 - 1).allowed);
  EXPECT_TRUE(block->take("a", limit, 1, now + kSecond / 10).allowed);
  int allowed = 0;
  for (int ms = 0; ms < 100'000; ++ms)
    allowed += block->take("a", limit, 1, now + kSecond + ms * 1'000'000ll).allowed;
  EXPECT_EQ(allowed, 5 + 999);  // the burst, and ten a second up to the last millisecond
  const auto never = block->take("a", limit, 6, now);
  EXPECT_FALSE(never.allowed);
  EXPECT_EQ(never.retry_after_ns, INT64_MAX);
  EXPECT_FALSE(block->take("a", limit, -1, now).allowed);
  EXPECT_FALSE(block->take("a", limit, std::nan(""), now).allowed);
}

TEST(TokenBuckets, ProcessesTogetherGetTheRateAndNotOneMore) {
  auto block = SharedBlock::create(small());
  struct State {
    std::atomic<std::int64_t> clock{1000 * kSecond};
    std::atomic<int> allowed{0};
    std::atomic<bool> done{false};
  };
  Common<State> state;
  std::vector<pid_t> pids;
  for (int i = 0; i < 4; ++i)
    pids.push_back(child([&] {
      auto mine = SharedBlock::attach(block->fd());
      while (!state->done.load())
        if (mine->take("shared", {.rate = 1000, .burst = 50}, 1, state->clock.load()).allowed) ++state->allowed;
      return 0;
    }));
  for (int ms = 0; ms < 200; ++ms) {  // the clock moves by hand: 200 ms in all
    state->clock += 1'000'000;
    ::usleep(200);
  }
  ::usleep(20'000);
  state->done = true;
  for (pid_t pid : pids) EXPECT_EQ(wait_for(pid), 0);
  EXPECT_LE(state->allowed.load(), 50 + 200);
  EXPECT_GE(state->allowed.load(), 50 + 200 - 1);  // a bucket is never full for the whole of the last millisecond
}

TEST(TokenBuckets, FullTableGivesUpTheBucketClosestToFullAndCountsIt) {
  auto block = SharedBlock::create({.slots = 1, .cells = 64, .entries = 16, .text_bytes = 1024, .buckets = 8});
  const RateLimit limit{.rate = 1, .burst = 100};
  const std::int64_t now = 50 * kSecond;
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(block->take(std::to_string(i), limit, 10 + i, now).allowed);
  EXPECT_EQ(block->evictions(), 0u);
  const auto fresh = block->take("new", limit, 1, now);
  EXPECT_TRUE(fresh.allowed);
  EXPECT_NEAR(fresh.remaining, 99, 1e-6);  // it owes nothing of the key that it replaced
  EXPECT_EQ(block->evictions(), 1u);
  EXPECT_NEAR(block->take("7", limit, 0, now).remaining, 83, 1e-6);  // those that owe most are kept
  // Later all are full again: replacing them is no eviction.
  for (int i = 0; i < 8; ++i)
    EXPECT_TRUE(block->take("later" + std::to_string(i), limit, 1, now + 200 * kSecond).allowed);
  EXPECT_EQ(block->evictions(), 1u);
}

TEST(TokenBuckets, ThreadsOnManyKeysNeverAllowMoreThanBurstWithoutEviction) {
  auto block = SharedBlock::create(small());
  std::atomic<int> allowed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i)
        if (block->take("key" + std::to_string(i % 4), {.rate = 1, .burst = 10}, 1, kSecond).allowed) ++allowed;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(allowed, 40);
  EXPECT_EQ(block->evictions(), 0u);
}

}  // namespace
}  // namespace fasterapi::core
