#pragma once
// FASTERAPI_TARGET_BEGIN("avx2,bmi") ... FASTERAPI_TARGET_END: code in between is compiled for these instructions
// although the file is not. Include every header first: nothing of a library may be defined inside.
#define FASTERAPI_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define FASTERAPI_TARGET_BEGIN(features) \
  FASTERAPI_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FASTERAPI_TARGET_END FASTERAPI_PRAGMA(clang attribute pop)
#else
#define FASTERAPI_TARGET_BEGIN(features) FASTERAPI_PRAGMA(GCC push_options) FASTERAPI_PRAGMA(GCC target(features))
#define FASTERAPI_TARGET_END FASTERAPI_PRAGMA(GCC pop_options)
#endif
