#pragma once
// Symbols that live once per process, in libfasterapi_core.
#if defined(_WIN32)
#ifdef FASTERAPI_CORE_BUILDING
#define FASTERAPI_CORE_API __declspec(dllexport)
#else
#define FASTERAPI_CORE_API __declspec(dllimport)
#endif
#else
#define FASTERAPI_CORE_API __attribute__((visibility("default")))
#endif
