#pragma once
// std::functions in the shapes that a reactor takes.
#include <functional>
#include <utility>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core::test {

constexpr Nanos kMs = 1'000'000;

struct Handler final : IoHandler {
  explicit Handler(std::function<void(unsigned)> call = {}) : call(std::move(call)) {}
  void on_io(unsigned events) noexcept override {
    ++calls;
    last = events;
    if (call) call(events);
  }
  std::function<void(unsigned)> call;
  int calls = 0;
  unsigned last = 0;
};

inline void run_function(void* self) noexcept { (*static_cast<std::function<void()>*>(self))(); }

struct Alarm {
  explicit Alarm(std::function<void()> call) : call(std::move(call)), timer(&run_function, &this->call) {}
  std::function<void()> call;
  Timer timer;
};

struct Work {
  explicit Work(std::function<void()> call) : call(std::move(call)), deferred(&run_function, &this->call) {}
  std::function<void()> call;
  Deferred deferred;
};

}  // namespace fasterapi::core::test
