#pragma once
// Socket calls of Windows. A SOCKET is a kernel handle, whose significant bits fit an int. Error codes of Winsock
// are given as the errno that POSIX systems have for them.
#include <winsock2.h>
#include <ws2tcpip.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

namespace fasterapi::core::net {

using Length = std::ptrdiff_t;

int errno_of(int winsock_error) noexcept;
inline int failure() noexcept { return -errno_of(::WSAGetLastError()); }
inline SOCKET handle(int fd) noexcept { return static_cast<SOCKET>(fd); }
void start_up() noexcept;  // WSAStartup, once per process

inline bool would_block(Length result) noexcept { return result == -EAGAIN || result == -EWOULDBLOCK; }
int open_stream(int family) noexcept;
int accept(int fd) noexcept;
int connect(int fd, const sockaddr* address, unsigned length) noexcept;
int take_error(int fd) noexcept;
void set_no_delay(int fd) noexcept;
Length recv(int fd, char* data, std::size_t size) noexcept;
Length send(int fd, const char* data, std::size_t size) noexcept;
Length send(int fd, std::string_view head, std::string_view body) noexcept;
inline void shutdown_write(int fd) noexcept { ::shutdown(handle(fd), SD_SEND); }
inline void close(int fd) noexcept { ::closesocket(handle(fd)); }

}  // namespace fasterapi::core::net
