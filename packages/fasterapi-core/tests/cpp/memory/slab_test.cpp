#include <fasterapi/core/slab.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <vector>

namespace fasterapi::core {
namespace {

TEST(SlabPool, gives_blocks_of_the_next_size_class) {
  SlabPool pool;
  EXPECT_EQ(pool.acquire(1).capacity(), 1024u);
  EXPECT_EQ(pool.acquire(1024).capacity(), 1024u);
  EXPECT_EQ(pool.acquire(1025).capacity(), 4096u);
  EXPECT_EQ(pool.acquire(256 * 1024).capacity(), 256u * 1024);
  EXPECT_EQ(pool.acquire(256 * 1024 + 1).capacity(), 256u * 1024 + 1);
}

TEST(SlabPool, blocks_may_be_written_to_their_capacity_and_read_beyond) {
  SlabPool pool;
  for (std::size_t size : {10ul, 5000ul, 1'000'000ul}) {
    BlockRef block = pool.acquire(size);
    std::memset(block.data(), 'x', block.capacity() + SlabPool::kPadding);
  }
}

TEST(SlabPool, reuses_a_block_after_its_last_reference) {
  SlabPool pool;
  BlockRef block = pool.acquire(100);
  char* where = block.data();
  BlockRef copy = block;
  EXPECT_EQ(block.references(), 2u);
  EXPECT_FALSE(copy.unique());
  block = BlockRef();
  EXPECT_TRUE(copy.unique());
  EXPECT_NE(pool.acquire(100).data(), where);
  copy = BlockRef();
  EXPECT_EQ(pool.acquire(100).data(), where);
  EXPECT_EQ(pool.statistics().live, 0u);
}

TEST(SlabPool, assigning_a_reference_to_itself_keeps_it) {
  SlabPool pool;
  BlockRef block = pool.acquire(1);
  block = *&block;
  EXPECT_EQ(block.references(), 1u);
}

TEST(SlabPool, keeps_no_more_idle_bytes_than_its_bound) {
  SlabPool pool(10 * 1024);
  {
    std::vector<BlockRef> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(pool.acquire(1024));
    blocks.push_back(pool.acquire(1 << 20));
  }
  EXPECT_EQ(pool.statistics().idle_bytes, 10u * 1024);
  pool.trim(4096);
  EXPECT_EQ(pool.statistics().idle_bytes, 4096u);
  pool.trim();
  EXPECT_EQ(pool.statistics().idle_bytes, 0u);
}

TEST(SlabPool, blocks_may_outlive_the_pool) {
  std::optional<SlabPool> pool(std::in_place);
  BlockRef first = pool->acquire(10), second = pool->acquire(1 << 20);
  pool.reset();
  std::memset(first.data(), 1, first.capacity());
  first = BlockRef();
  std::memset(second.data(), 1, second.capacity());
}

TEST(SlabPool, sizes_that_cannot_exist_throw) {
  SlabPool pool;
  EXPECT_THROW(pool.acquire(static_cast<std::size_t>(-1)), std::bad_alloc);
}

}  // namespace
}  // namespace fasterapi::core
