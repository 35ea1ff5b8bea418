#pragma once
// kqueue as the reactor's backend uses it, over epoll: a double for tests on Linux. See kqueue_double.cpp.
#include <cstdint>
#include <ctime>

struct kevent {
  std::uintptr_t ident;
  short filter;
  unsigned short flags;
  unsigned fflags;
  std::int64_t data;
  void* udata;
};

inline constexpr short EVFILT_READ = -1, EVFILT_WRITE = -2, EVFILT_TIMER = -7, EVFILT_USER = -11;
inline constexpr unsigned short EV_ADD = 0x1, EV_DELETE = 0x2, EV_ENABLE = 0x4, EV_ONESHOT = 0x10, EV_CLEAR = 0x20,
                                EV_RECEIPT = 0x40, EV_ERROR = 0x4000, EV_EOF = 0x8000;
inline constexpr unsigned NOTE_LOWAT = 0x1, NOTE_NSECONDS = 0x8, NOTE_TRIGGER = 0x01000000;

inline void EV_SET(struct kevent* event, std::uintptr_t ident, short filter, unsigned short flags, unsigned fflags,
                   std::int64_t data, void* udata) {
  *event = {ident, filter, flags, fflags, data, udata};
}

int kqueue();
int kevent(int kq, const struct kevent* changes, int nchanges, struct kevent* events, int nevents,
           const timespec* timeout);
