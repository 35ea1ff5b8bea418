#pragma once
// A number that tells the running threads apart, at the cost of one load where the compiler offers it.
#include <cstdint>

namespace fasterapi::core::detail {

inline std::uintptr_t thread_mark() noexcept {
#if defined(__x86_64__) && defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer)
#define FASTERAPI_THREAD_POINTER 1
  return reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
#endif
#endif
#ifndef FASTERAPI_THREAD_POINTER
  static thread_local char mark;
  return reinterpret_cast<std::uintptr_t>(&mark);
#endif
}

}  // namespace fasterapi::core::detail
