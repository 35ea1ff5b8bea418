#include "../backends_under_test.hpp"

namespace fasterapi::core::test {

std::vector<BackendUnderTest> doubles_under_test() { return {}; }

}  // namespace fasterapi::core::test
