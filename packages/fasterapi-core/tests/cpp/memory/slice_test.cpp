#include <fasterapi/core/slice.hpp>

#include <gtest/gtest.h>

#include <random>

namespace fasterapi::core {
namespace {

TEST(Slice, shares_its_block_with_its_parts) {
  SlabPool pool;
  Slice whole = Slice::copied(pool, "hello world");
  Slice part = whole.part(6);
  EXPECT_EQ(part.view(), "world");
  EXPECT_EQ(whole.part(3, 2).view(), "lo");
  EXPECT_EQ(whole.part(100).view(), "");
  EXPECT_EQ(part.block().references(), 2u);
  whole = Slice();
  EXPECT_EQ(part.view(), "world");
}

TEST(Slice, borrowed_bytes_own_nothing) {
  Slice slice = Slice::borrowed("static");
  EXPECT_FALSE(slice.block());
  EXPECT_EQ(slice.part(1).view(), "tatic");
}

TEST(Chain, reads_as_one_string) {
  SlabPool pool;
  Chain chain;
  chain.append(Slice::copied(pool, "one "));
  chain.append(Slice::borrowed(""));
  chain.append(Slice::borrowed("two "));
  chain.append(Slice::copied(pool, "three"));
  EXPECT_EQ(chain.slices(), 3u);
  EXPECT_EQ(chain.size(), 13u);
  EXPECT_EQ(chain.string(), "one two three");
  char part[6];
  EXPECT_EQ(chain.copy_to(part, 6), 6u);
  EXPECT_EQ(std::string_view(part, 6), "one tw");
}

TEST(Chain, linearizes_without_copying_a_single_slice) {
  SlabPool pool;
  Chain chain;
  EXPECT_EQ(chain.linearize(pool), "");
  chain.append(Slice::borrowed("alone"));
  EXPECT_EQ(chain.linearize(pool).data(), chain[0].data());
  EXPECT_EQ(pool.statistics().allocated, 0u);
  chain.append(Slice::borrowed(" no more"));
  EXPECT_EQ(chain.linearize(pool), "alone no more");
  EXPECT_EQ(chain.slices(), 1u);
}

TEST(Chain, a_moved_chain_is_empty) {
  Chain one;
  one.append(Slice::borrowed("x"));
  Chain two(std::move(one));
  EXPECT_TRUE(one.empty());
  one.append(Slice::borrowed("y"));
  two.append(std::move(one));
  EXPECT_EQ(two.string(), "xy");
  EXPECT_TRUE(one.empty());
}

TEST(Chain, gives_blocks_back_as_they_are_consumed) {
  SlabPool pool;
  Chain chain;
  for (int i = 0; i < 100; ++i) chain.append(Slice::copied(pool, "0123456789"));
  EXPECT_EQ(pool.statistics().live, 100u);
  chain.consume(505);
  EXPECT_EQ(pool.statistics().live, 50u);
  EXPECT_EQ(chain.string().substr(0, 7), "5678901");
  chain.consume(10'000);
  EXPECT_EQ(pool.statistics().live, 0u);
}

// Appends, takes, consumes and joins at random, against a plain string.
TEST(Chain, behaves_like_a_string) {
  SlabPool pool;
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    Chain chain;
    std::string model;
    for (int step = 0; step < 100; ++step) {
      switch (random() % 5) {
        case 0:
        case 1: {
          std::string bytes(random() % 30, static_cast<char>('a' + random() % 26));
          chain.append(Slice::copied(pool, bytes));
          model += bytes;
          break;
        }
        case 2: {
          const std::size_t n = random() % 40;
          chain.consume(n);
          model.erase(0, n);
          break;
        }
        case 3: {
          const std::size_t n = random() % 40;
          ASSERT_EQ(chain.take(n).string(), model.substr(0, n));
          model.erase(0, n);
          break;
        }
        default:
          if (random() % 4 == 0) {
            ASSERT_EQ(chain.linearize(pool), model);
          }
      }
      ASSERT_EQ(chain.size(), model.size());
      ASSERT_EQ(chain.string(), model);
    }
  }
  EXPECT_EQ(pool.statistics().live, 0u);
}

}  // namespace
}  // namespace fasterapi::core
