#include "backends_under_test.hpp"

#include <cstdio>

#include <fasterapi/core/error.hpp>

namespace fasterapi::core::test {

std::vector<BackendUnderTest> backends_under_test() {
  static const std::vector<BackendUnderTest> found = [] {
    std::vector<BackendUnderTest> backends;
    for (const std::string name : backend_names()) {
      if (make_backend(name.c_str())->name() != name) {
        std::fprintf(stderr, "not tested: %s\n", name.c_str());
        continue;
      }
      backends.push_back({name, name, [](const std::string& which) { return make_backend(which.c_str()); }});
    }
    for (BackendUnderTest& twin : doubles_under_test()) backends.push_back(twin);
    return backends;
  }();
  return found;
}

}  // namespace fasterapi::core::test
