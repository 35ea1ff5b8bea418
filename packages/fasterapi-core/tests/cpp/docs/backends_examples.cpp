// The program of docs/backends.md: a Python test compares the two, this one runs it.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/testing.hpp>

using namespace fasterapi::core;

namespace {

class Seen final : public IoHandler {
 public:
  void on_io(unsigned events) noexcept override { this->events = events; }
  unsigned events = 0;
};

TEST(BackendsGuide, scripted_time_and_readiness) {
  Seen seen;
  // [script]
  ManualClock clock;
  auto scripted = std::make_unique<ScriptedBackend>(clock);
  ScriptedBackend& script = *scripted;
  Reactor reactor(std::move(scripted), clock);
  // [end]
  ASSERT_EQ(reactor.add(7, kReadable, &seen), 0);
  const Nanos before = clock.now();
  // [turn]
  script.at(5'000'000, [&] { script.set_ready(7, kReadable); });
  reactor.turn(-1);  // 5 ms of the clock's time, none of anybody else's
  // [end]
  EXPECT_EQ(seen.events, kReadable);
  EXPECT_EQ(clock.now() - before, 5'000'000);
}

}  // namespace
