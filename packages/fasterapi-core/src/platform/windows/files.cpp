#include <windows.h>
#include <winsock2.h>

#include <io.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include <stream/tail.hpp>

namespace fasterapi::core {

std::ptrdiff_t read_at(int file, char* into, std::size_t size, std::uint64_t offset) noexcept {
  const auto handle = reinterpret_cast<HANDLE>(::_get_osfhandle(file));
  OVERLAPPED place{};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  DWORD got = 0;
  if (::ReadFile(handle, into, static_cast<DWORD>(std::min<std::size_t>(size, INT_MAX)), &got, &place)) return got;
  return ::GetLastError() == ERROR_HANDLE_EOF ? 0 : -EIO;
}

std::size_t held_by_kernel(int) noexcept { return 0; }  // Windows does not tell

}  // namespace fasterapi::core
