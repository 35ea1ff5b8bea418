#pragma once
// Writer: text output of the JSON encoder over an OutBuffer, with strings escaped as they are copied.
//   Cost     a plain ASCII string is one copy, 16 bytes per step; non-ASCII is transcoded without the UTF-8
//            cache that PyUnicode_AsUTF8AndSize would leave in the object
//   Errors   std::bad_alloc; lone surrogates are reported as false
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/json_chars.hpp>

namespace fasterapi::core::json {

class Writer {
 public:
  /// string() and raw() leave at least this much room behind them.
  static constexpr std::size_t kSlack = 4;

  explicit Writer(OutBuffer& out) : out_(out), start_(out.size()) { open(256); }

  /// At least `n` bytes behind the cursor. After growth the cursor has moved: take at() again.
  void room(std::size_t n) {
    if (FASTERAPI_UNLIKELY(static_cast<std::size_t>(end_ - at_) < n)) grow(n);
  }
  char* at() noexcept { return at_; }
  void set(char* at) noexcept { at_ = at; }
  void put(char c) noexcept { *at_++ = c; }  // after room()
  void raw(std::string_view text) {
    room(text.size() + kSlack);
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  char last() const noexcept { return at_[-1]; }
  void back() noexcept { --at_; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - out_.data()); }
  void truncate(std::size_t size) noexcept { at_ = out_.data() + size; }

  const char* data() const noexcept { return out_.data(); }
  /// Drops the first `n` bytes of the buffer. What truncate() and abandon() then go back to has moved.
  void erase_front(std::size_t n) noexcept {
    out_.commit(at_);
    out_.erase_front(n);
    at_ = out_.data() + out_.size();
    start_ = 0;
  }

  void close() noexcept { out_.commit(at_); }
  void abandon() noexcept { out_.truncate(start_); }

  /// A str with its quotes. False: lone surrogate.
  bool string(PyObject* text, bool ensure_ascii) {
    if (FASTERAPI_LIKELY(PyUnicode_IS_COMPACT_ASCII(text))) {
      ascii(static_cast<const char*>(static_cast<void*>(reinterpret_cast<PyASCIIObject*>(text) + 1)),
            static_cast<std::size_t>(PyUnicode_GET_LENGTH(text)));
      return true;
    }
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(text) < 0) {
      PyErr_Clear();
      return false;
    }
#endif
    return wide(text, ensure_ascii);
  }

  /// Text known to be ASCII or well-formed UTF-8.
  void ascii(const char* p, std::size_t n) {
    room(n + 2 + kSlack + 16);  // short strings are stored 16 bytes wide
    char* to = at_;
    *to++ = '"';
#if FASTERAPI_X86_64
    // Copy and test in one go; there is room for all of it as long as nothing is escaped.
    if (FASTERAPI_LIKELY(n <= 16 && wide_read_ok(p))) {
      const __m128i v = detail::load128(p);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), v);
      if (FASTERAPI_UNLIKELY((detail::sse_mask<Stop::kEscape>(v) & ((1u << n) - 1)) != 0)) return escaped(p, n, 0);
      to[n] = '"';
      at_ = to + n + 1;
      return;
    }
    if (n >= 16 && n < 256) {
      std::size_t i = 0;
      for (; i + 16 <= n; i += 16) {
        const __m128i v = detail::load128(p + i);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), v);
        if (FASTERAPI_UNLIKELY(detail::sse_mask<Stop::kEscape>(v) != 0)) return escaped(p, n, i);
      }
      const __m128i v = detail::load128(p + n - 16);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + n - 16), v);
      if (FASTERAPI_UNLIKELY(detail::sse_mask<Stop::kEscape>(v) != 0)) return escaped(p, n, i);
      to[n] = '"';
      at_ = to + n + 1;
      return;
    }
#endif
    escaped(p, n, 0);
  }

 private:
  void open(std::size_t n) {
    at_ = out_.reserve(n);
    end_ = out_.data() + out_.capacity();
  }
  __attribute__((noinline)) void grow(std::size_t n) {
    out_.commit(at_);
    open(n);
  }

  /// Whether 16 bytes may be read from `p` although the string is shorter: true unless they could touch the
  /// next page. What is read beyond the end is masked out. Not under AddressSanitizer, which cannot know.
  static bool wide_read_ok(const char* p) noexcept {
#if defined(__SANITIZE_ADDRESS__)
    static_cast<void>(p);
    return false;
#else
    return (reinterpret_cast<std::uintptr_t>(p) & 4095) <= 4096 - 16;
#endif
  }

  /// The general form of ascii(): the first `clean` bytes are known to need nothing. Room for n + 3.
  __attribute__((noinline)) void escaped(const char* p, std::size_t n, std::size_t clean) {
    *at_++ = '"';
    std::memcpy(at_, p, clean);
    at_ += clean;
    std::size_t i = clean;
    for (;;) {
      const std::size_t run = find<Stop::kEscape>(p + i, n - i);
      room(n - i + 1 + kSlack);
      std::memcpy(at_, p + i, run);
      at_ += run;
      i += run;
      if (i == n) break;
      room(n - i + 8);
      escape(static_cast<unsigned char>(p[i++]));
    }
    *at_++ = '"';
  }

  void escape(unsigned char c) noexcept {  // after room(6)
    static constexpr char kShort[] = "uuuuuuuubtnufr";
    *at_++ = '\\';
    if (c == '"' || c == '\\') {
      *at_++ = static_cast<char>(c);
    } else if (c < 14 && kShort[c] != 'u') {
      *at_++ = kShort[c];
    } else {
      unicode(c);
    }
  }
  void unicode(unsigned c) noexcept {  // uXXXX
    static constexpr char kHex[] = "0123456789abcdef";
    *at_++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4) *at_++ = kHex[(c >> shift) & 15];
  }

  __attribute__((noinline)) bool wide(PyObject* text, bool ensure_ascii) {
    switch (PyUnicode_KIND(text)) {
      case PyUnicode_1BYTE_KIND:
        return transcode(static_cast<const Py_UCS1*>(PyUnicode_DATA(text)), PyUnicode_GET_LENGTH(text),
                         ensure_ascii);
      case PyUnicode_2BYTE_KIND:
        return transcode(static_cast<const Py_UCS2*>(PyUnicode_DATA(text)), PyUnicode_GET_LENGTH(text),
                         ensure_ascii);
      default:
        return transcode(static_cast<const Py_UCS4*>(PyUnicode_DATA(text)), PyUnicode_GET_LENGTH(text),
                         ensure_ascii);
    }
  }

  template <class Char>
  bool transcode(const Char* p, Py_ssize_t length, bool ensure_ascii) {
    const auto n = static_cast<std::size_t>(length);
    room(2 * n + 16);
    *at_++ = '"';
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t c = p[i];
      if (FASTERAPI_UNLIKELY(static_cast<std::size_t>(end_ - at_) < n - i + 16)) grow(2 * (n - i) + 16);
      if (c < 0x80) {
        if (FASTERAPI_UNLIKELY(scalar::stops<Stop::kEscape>(static_cast<unsigned char>(c))))
          escape(static_cast<unsigned char>(c));
        else
          *at_++ = static_cast<char>(c);
        continue;
      }
      if (c >= 0xD800 && c < 0xE000) return false;
      if (!ensure_ascii) {
        at_ = put_utf8(at_, c);
      } else if (c < 0x10000) {
        *at_++ = '\\';
        unicode(c);
      } else {
        *at_++ = '\\';
        unicode(0xD800 + ((c - 0x10000) >> 10));
        *at_++ = '\\';
        unicode(0xDC00 + ((c - 0x10000) & 0x3FF));
      }
    }
    room(1 + kSlack);
    *at_++ = '"';
    return true;
  }

  OutBuffer& out_;
  std::size_t start_;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace fasterapi::core::json
