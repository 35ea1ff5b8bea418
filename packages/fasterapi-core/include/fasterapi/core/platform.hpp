#pragma once
// The only place with platform #ifdefs: what this build can use, as constants and includes.
#if defined(__linux__)
#define FASTERAPI_LINUX 1
#else
#define FASTERAPI_LINUX 0
#endif
#if defined(__APPLE__) || defined(__FreeBSD__)
#define FASTERAPI_KQUEUE 1
#else
#define FASTERAPI_KQUEUE 0
#endif
#if defined(__APPLE__)
#define FASTERAPI_DARWIN 1
#else
#define FASTERAPI_DARWIN 0
#endif
#if defined(_WIN32)
#define FASTERAPI_WINDOWS 1
#else
#define FASTERAPI_WINDOWS 0
#endif
#if defined(__x86_64__) || defined(_M_X64)
#define FASTERAPI_X86_64 1
#else
#define FASTERAPI_X86_64 0
#endif

#define FASTERAPI_LIKELY(x) __builtin_expect(!!(x), 1)
#define FASTERAPI_UNLIKELY(x) __builtin_expect(!!(x), 0)
