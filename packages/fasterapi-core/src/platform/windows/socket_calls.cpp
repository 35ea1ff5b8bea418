#include "socket_calls.hpp"

#include <algorithm>
#include <climits>

namespace fasterapi::core::net {
namespace {

int prepared(SOCKET socket) noexcept {
  u_long on = 1;
  if (::ioctlsocket(socket, FIONBIO, &on) == 0) {
    ::SetHandleInformation(reinterpret_cast<HANDLE>(socket), HANDLE_FLAG_INHERIT, 0);
    return static_cast<int>(socket);
  }
  const int error = failure();
  ::closesocket(socket);
  return error;
}

ULONG length_of(std::size_t size) noexcept { return static_cast<ULONG>(std::min<std::size_t>(size, INT_MAX)); }

}  // namespace

int errno_of(int winsock_error) noexcept {
  switch (winsock_error) {
    case 0: return 0;
    case WSAEWOULDBLOCK: return EAGAIN;
    case WSAEINPROGRESS: return EINPROGRESS;
    case WSAEINTR: return EINTR;
    case WSAEBADF:
    case WSAENOTSOCK:
    case ERROR_INVALID_HANDLE: return EBADF;
    case WSAEACCES: return EACCES;
    case WSAEFAULT: return EFAULT;
    case WSAEINVAL: return EINVAL;
    case WSAEMFILE: return EMFILE;
    case WSAENOBUFS:
    case ERROR_NOT_ENOUGH_MEMORY: return ENOBUFS;
    case WSAEADDRINUSE: return EADDRINUSE;
    case WSAEADDRNOTAVAIL: return EADDRNOTAVAIL;
    case WSAEAFNOSUPPORT: return EAFNOSUPPORT;
    case WSAEALREADY: return EALREADY;
    case WSAEISCONN: return EISCONN;
    case WSAENOTCONN: return ENOTCONN;
    case WSAESHUTDOWN: return EPIPE;
    case WSAETIMEDOUT:
    case ERROR_SEM_TIMEOUT: return ETIMEDOUT;
    case WSAECONNREFUSED:
    case ERROR_CONNECTION_REFUSED: return ECONNREFUSED;
    case WSAENETUNREACH:
    case ERROR_NETWORK_UNREACHABLE: return ENETUNREACH;
    case WSAEHOSTUNREACH:
    case ERROR_HOST_UNREACHABLE: return EHOSTUNREACH;
    case WSAENETDOWN: return ENETDOWN;
    case WSAECONNABORTED:
    case ERROR_CONNECTION_ABORTED: return ECONNABORTED;
    case WSAECONNRESET:
    case WSAENETRESET:
    case WSAEDISCON:
    case ERROR_NETNAME_DELETED: return ECONNRESET;
    case ERROR_OPERATION_ABORTED: return ECANCELED;
    default: return EIO;
  }
}

void start_up() noexcept {
  static const int started = [] {
    WSADATA data;
    return ::WSAStartup(MAKEWORD(2, 2), &data);
  }();
  static_cast<void>(started);  // every later call reports it
}

int open_stream(int family) noexcept {
  start_up();
  const SOCKET socket = ::WSASocketW(family, SOCK_STREAM, 0, nullptr, 0, WSA_FLAG_OVERLAPPED);
  return socket == INVALID_SOCKET ? failure() : prepared(socket);
}

int accept(int fd) noexcept {
  const SOCKET socket = ::accept(handle(fd), nullptr, nullptr);
  return socket == INVALID_SOCKET ? failure() : prepared(socket);
}

int connect(int fd, const sockaddr* address, unsigned length) noexcept {
  if (::connect(handle(fd), address, static_cast<int>(length)) == 0) return 0;
  const int error = failure();
  return error == -EAGAIN ? -EINPROGRESS : error;
}

int take_error(int fd) noexcept {
  int error = 0, size = sizeof error;
  if (::getsockopt(handle(fd), SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size)) return -failure();
  return errno_of(error);
}

void set_no_delay(int fd) noexcept {
  BOOL on = TRUE;
  ::setsockopt(handle(fd), IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<char*>(&on), sizeof on);
}

Length recv(int fd, char* data, std::size_t size) noexcept {
  const int got = ::recv(handle(fd), data, static_cast<int>(length_of(size)), 0);
  return got >= 0 ? got : failure();
}

Length send(int fd, const char* data, std::size_t size) noexcept {
  const int sent = ::send(handle(fd), data, static_cast<int>(length_of(size)), 0);
  return sent >= 0 ? sent : failure();
}

Length send(int fd, std::string_view head, std::string_view body) noexcept {
  WSABUF parts[2] = {{length_of(head.size()), const_cast<char*>(head.data())},
                     {length_of(body.size()), const_cast<char*>(body.data())}};
  DWORD sent = 0;
  const int failed = ::WSASend(handle(fd), parts, 2, &sent, 0, nullptr, nullptr);
  return failed ? failure() : static_cast<Length>(sent);
}

}  // namespace fasterapi::core::net
