#pragma once
// Every backend that this machine can run: those of make_backend() that the system does not refuse, and doubles.
#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core::test {

struct BackendUnderTest {
  std::string label;  // of the test's name
  std::string name;   // what the backend says it is
  std::unique_ptr<Backend> (*make)(const std::string& name);
  std::unique_ptr<Backend> operator()() const { return make(name); }
};
inline void PrintTo(const BackendUnderTest& backend, std::ostream* out) { *out << backend.label; }

std::vector<BackendUnderTest> backends_under_test();
std::vector<BackendUnderTest> doubles_under_test();  // kqueue_double.cpp, or none

inline std::string label_of(const testing::TestParamInfo<BackendUnderTest>& info) { return info.param.label; }

}  // namespace fasterapi::core::test
