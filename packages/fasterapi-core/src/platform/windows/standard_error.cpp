#include <platform/standard_error.hpp>

#include <cstdio>

namespace fasterapi::core {

bool write_to_stderr(const char* line, std::size_t size) noexcept {
  return std::fwrite(line, 1, size, stderr) == size;  // may wait for a console or a full pipe
}

}  // namespace fasterapi::core
