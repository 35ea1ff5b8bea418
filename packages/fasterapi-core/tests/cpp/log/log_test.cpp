// Levels, limits per kind, escaping, fields, and the ring with several writers.
#include <fasterapi/core/log.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core::log {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

struct Collector final : Sink {
  void write(const Record& record) noexcept override {
    std::lock_guard lock(mutex);
    lines.emplace_back(record.text());
    fields.emplace_back(record.fields());
    names.emplace_back(record.logger->name());
  }
  void left_out() noexcept override { ++left_out_calls; }
  std::mutex mutex;
  std::vector<std::string> lines, fields, names;
  std::atomic<int> left_out_calls{0};
};

struct LogTest : ::testing::Test {
  LogTest() { set_sink(&collector); }
  ~LogTest() override { set_sink(nullptr); }
  Collector collector;
};

std::string escaped(std::string_view in, std::size_t capacity = 400) {
  std::string out(capacity, 'X');
  out.resize(escape(in, out.data(), capacity));
  return out;
}

TEST(Escape, ControlCharactersAndLineSeparatorsBecomeEscapes) {
  EXPECT_EQ(escaped("GET /\r\nX: 1"), "GET /\\x0d\\x0aX: 1");
  EXPECT_EQ(escaped(std::string_view("a\0b\x1b[31m\x7f", 9)), "a\\x00b\\x1b[31m\\x7f");
  EXPECT_EQ(escaped("caf\u00e9 \u4f60 \U0001F600"), "caf\u00e9 \u4f60 \U0001F600");
  EXPECT_EQ(escaped("\u2028|\u2029|\u0085|\u202e"), "\\xe2\\x80\\xa8|\\xe2\\x80\\xa9|\\xc2\\x85|\\xe2\\x80\\xae");
}

TEST(Escape, BytesThatAreNotUtf8BecomeEscapes) {
  EXPECT_EQ(escaped("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(escaped("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(escaped("\xe2\x82"), "\\xe2\\x82");           // cut
  EXPECT_EQ(escaped("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
}

TEST(Escape, EndThatDoesNotFitIsMarkedAndNothingIsWrittenBeyond) {
  for (std::size_t capacity = 0; capacity < 35; ++capacity) {
    std::string out(capacity + 4, '#');
    const std::string in = "ab\ncd\u00e9\xff efghij klmnop qrstuv";
    const std::size_t size = escape(in, out.data(), capacity);
    ASSERT_LE(size, capacity);
    EXPECT_EQ(out.substr(capacity), "####");
    if (capacity >= 3) {
      EXPECT_EQ(out.substr(size - 3, 3), "...") << capacity;
    }
  }
}

TEST(SiteLimit, OneLineASecondAndTheNextTellsHowManyWereLeftOut) {
  Site site{1};
  EXPECT_TRUE(site.admit(5 * kSecond).write);
  for (int i = 0; i < 1234; ++i) EXPECT_FALSE(site.admit(5 * kSecond + i).write);
  EXPECT_FALSE(site.admit(6 * kSecond - 1).write);
  const auto next = site.admit(6 * kSecond);
  EXPECT_TRUE(next.write);
  EXPECT_EQ(next.left_out, 1235u);
  EXPECT_EQ(next.over_ns, kSecond);
  const auto later = site.admit(60 * kSecond);
  EXPECT_TRUE(later.write);
  EXPECT_EQ(later.left_out, 0u);
}

TEST(SiteLimit, ThreadsTogetherWriteNoMoreThanTheLimit) {
  Site site{3};
  std::atomic<int> written{0};
  std::atomic<std::uint64_t> told{0};
  std::vector<std::thread> threads;
  constexpr int kEach = 50'000;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        const auto admitted = site.admit(10 * kSecond + i * (5 * kSecond / kEach));
        written += admitted.write;
        if (admitted.write) told += admitted.left_out;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(written, 3 * 6);
  EXPECT_GE(written, 5);
  EXPECT_EQ(told + site.left_out() + static_cast<std::uint64_t>(written), 4u * kEach);  // nothing is lost
}

TEST_F(LogTest, FloodOfOneCallSiteIsOneLineAndASummary) {
  Logger& http = logger("fasterapi.test.flood");
  for (int i = 0; i < 100'000; ++i) FASTERAPI_LOG_WARNING(http, "bad request %d", i);
  ASSERT_LE(collector.lines.size(), 2u);  // a slow machine may begin a second one
  EXPECT_EQ(collector.lines[0], "bad request 0");
  EXPECT_GE(collector.left_out_calls, 1);
  EXPECT_TRUE(left_out_waiting());
  write_summaries(monotonic_now());  // the second is not over
  write_summaries(monotonic_now() + kSecond);
  EXPECT_FALSE(left_out_waiting());
  const std::string& last = collector.lines.back();
  EXPECT_EQ(last.rfind("bad request ", 0), 0u) << last;
  EXPECT_NE(last.find(" more in the last second)"), std::string::npos) << last;
  if (collector.lines.size() == 2) {
    EXPECT_EQ(last, "bad request 0 (99,999 more in the last second)");
  }
}

TEST_F(LogTest, KindsAreLimitedApartFromEachOther) {
  Logger& http = logger("fasterapi.test.kinds");
  for (const char* code : {"a", "b", "a", "b"}) write(http, Level::kWarning, kind(code), "kind %s", code);
  EXPECT_EQ(collector.lines, (std::vector<std::string>{"kind a", "kind b"}));
  EXPECT_EQ(&kind("a"), &kind("a"));
}

TEST_F(LogTest, LevelsFollowTheLongestNameThatWasSet) {
  Logger& h2 = logger("fasterapi.lv.http.h2");
  Logger& near = logger("fasterapi.lv.httpx");
  EXPECT_FALSE(h2.enabled(Level::kDebug));
  EXPECT_FALSE(h2.explicit_level());
  EXPECT_EQ(configure("fasterapi.lv=error, fasterapi.lv.http=debug"), "");
  EXPECT_TRUE(h2.enabled(Level::kDebug));
  EXPECT_TRUE(h2.explicit_level());
  EXPECT_FALSE(near.enabled(Level::kWarning));
  EXPECT_TRUE(logger("fasterapi.lv.http.new").enabled(Level::kDebug));
  set_level("fasterapi.lv.http.h2", Level::kOff);
  EXPECT_FALSE(h2.enabled(Level::kError));
  EXPECT_EQ(configure("fasterapi.lv.http.h2=loud"), "no log level 'loud' (debug, info, warning, error, off)");
  EXPECT_EQ(&logger("fasterapi.lv.httpx"), &near);
}

TEST_F(LogTest, FieldsAreInTheTextAndBesideIt) {
  FASTERAPI_LOG_FIELDS(logger("fasterapi.test"), Level::kError,
                       fields(Field("client", "10.0.0.1\n"), Field("status", 400), Field("agent", "x y=\"1\"")),
                       "refused: %s", "too\tlong");
  ASSERT_EQ(collector.lines.size(), 1u);
  EXPECT_EQ(collector.lines[0], "refused: too\\x09long client=10.0.0.1\\x0a status=400 agent=\"x y='1'\"");
  EXPECT_EQ(collector.fields[0], std::string("client\0"
                                             "10.0.0.1\\x0a\0status\0"
                                             "400\0agent\0x y=\"1\"\0",
                                             45));
}

TEST_F(LogTest, LongLinesAreCutWithinTheRecord) {
  const std::string peer(5000, '\n');
  FASTERAPI_LOG_FIELDS(logger("fasterapi.test"), Level::kError,
                       fields(Field("a", peer), Field("b", peer), Field("c", peer)), "%s", peer.c_str());
  FASTERAPI_LOG_ERROR(logger("fasterapi.test"), "%s", std::string(5000, 'x').c_str());
  ASSERT_EQ(collector.lines.size(), 2u);
  EXPECT_LE(collector.lines[0].size() + collector.fields[0].size(), kMaxText);
  EXPECT_NE(collector.lines[0].find("..."), std::string::npos);
  EXPECT_EQ(collector.lines[1].size(), kMaxText);
  EXPECT_TRUE(collector.lines[1].ends_with("xxx..."));
}

TEST(Ring, WritersOnSeveralThreadsLoseNothingThatIsNotCounted) {
  static std::atomic<int> wakes;
  wakes = 0;
  RingSink ring(64, [](void*) noexcept { ++wakes; }, nullptr);
  const std::uint64_t dropped_before = dropped();
  constexpr int kThreads = 4, kEach = 5'000;
  std::atomic<bool> done{false};
  std::uint64_t got = 0;
  std::thread reader([&] {
    Record record;
    for (;;) {
      const bool last = done.load();
      while (ring.pop(record)) {
        ++got;
        EXPECT_EQ(record.text(), "line of " + std::string(record.logger->name()));
      }
      if (last) return;
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Record record;
      record.logger = &logger("fasterapi.ring" + std::to_string(t));
      const std::string text = std::string("line of ") + record.logger->name();
      std::memcpy(record.buffer, text.data(), text.size());
      record.text_size = static_cast<std::uint16_t>(text.size());
      for (int i = 0; i < kEach; ++i) ring.write(record);
    });
  for (auto& thread : threads) thread.join();
  done = true;
  reader.join();
  EXPECT_EQ(got + (dropped() - dropped_before), std::uint64_t{kThreads} * kEach);
  EXPECT_EQ(wakes, kThreads * kEach);
  EXPECT_FALSE(ring.pending());
}

TEST(Ring, FullRingDropsAndCountsAndNeverWaits) {
  RingSink ring(8, nullptr, nullptr);
  Record record;
  record.logger = &logger("fasterapi");
  const std::uint64_t before = dropped();
  for (int i = 0; i < 20; ++i) ring.write(record);
  EXPECT_EQ(dropped() - before, 12u);
  EXPECT_TRUE(ring.pending());
  ring.clear();
  EXPECT_FALSE(ring.pending());
}

TEST(Sinks, NobodyIsInsideTheOldSinkAfterSetSink) {
  struct Slow final : Sink {
    void write(const Record&) noexcept override {
      EXPECT_TRUE(alive.load());
      std::this_thread::yield();
      EXPECT_TRUE(alive.load());
      ++count;
    }
    std::atomic<bool> alive{true};
    std::atomic<int> count{0};
  } slow;
  std::atomic<bool> done{false};
  static Collector rest;
  set_sink(&slow);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      while (!done) FASTERAPI_LOG_RATE(logger("fasterapi.sinks"), Level::kError, 4'000'000'000u, "x");
    });
  while (slow.count < 50) std::this_thread::yield();
  EXPECT_EQ(set_sink(&rest), &slow);
  slow.alive = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  done = true;
  for (auto& thread : threads) thread.join();
  set_sink(nullptr);
}

TEST(Stderr, LineWithTimeLevelAndNameAndNoBlockingOnAFullPipe) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
  const int saved = ::dup(STDERR_FILENO);
  ASSERT_EQ(::dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  const std::uint64_t before = dropped();
  Logger& named = logger("fasterapi.stderr");
  for (int i = 0; i < 500; ++i) FASTERAPI_LOG_RATE(named, Level::kWarning, 1'000'000, "line %d", i);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(ends[1]);
  EXPECT_GT(dropped(), before);  // and we are here: it did not wait for a reader
  std::string text(8192, 0);
  text.resize(static_cast<std::size_t>(::read(ends[0], text.data(), text.size())));
  ::close(ends[0]);
  EXPECT_EQ(text.substr(19, 1), ".");
  EXPECT_EQ(text.substr(23, text.find('\n') - 23), "Z WARNING fasterapi.stderr: line 0");
}

}  // namespace
}  // namespace fasterapi::core::log
