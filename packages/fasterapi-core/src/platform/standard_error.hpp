#pragma once
#include <cstddef>

namespace fasterapi::core {

/// Writes the whole line at once; false, with nothing written, where that would wait for a reader.
bool write_to_stderr(const char* line, std::size_t size) noexcept;

}  // namespace fasterapi::core
