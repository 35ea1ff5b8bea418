// JSON decoder: strict RFC 8259 text to Python objects in one pass.
#include "json.hpp"

#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>

#include <fasterapi/core/json_chars.hpp>

#include "json_ref.hpp"

namespace fasterapi::core::py {
namespace {

using json::Stop;

// The compiler's own estimate leaves calls between tokens.
#define FASTERAPI_JSON_INLINE __attribute__((always_inline))

PyObject* decode_error = nullptr;  // JSONDecodeError

// Keys repeat within and between texts: short ASCII keys are looked up here instead of being made (and
// hashed) again. A direct-mapped table; an entry keeps one str alive.
class KeyCache {
 public:
  static constexpr std::size_t kMaxKey = 64;

  /// New reference; nullptr with MemoryError.
  PyObject* get(const char* p, std::size_t n) {
    const Ends ends = ends_of(p, n);
    std::uint64_t h = (ends.low ^ n) * kMix;
    h = (h ^ (h >> 32) ^ ends.high) * kMix;
    if (n > 16) {
      for (std::size_t i = 8; i + 8 < n; i += 8) h = (h ^ (h >> 32) ^ json::detail::load64(p + i)) * kMix;
    }
    Entry& entry = entries_[(h >> 40) & (kEntries - 1)];
    // Up to 16 bytes the two ends are the whole key.
    if (FASTERAPI_LIKELY(entry.size == n && entry.ends.low == ends.low && entry.ends.high == ends.high &&
                         (n <= 16 || std::memcmp(entry.data, p, n) == 0) && entry.text))
      return Py_NewRef(entry.text);
    PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(n), 127);
    if (!text) return nullptr;
    char* data = static_cast<char*>(PyUnicode_DATA(text));
    std::memcpy(data, p, n);
    if (PyObject_Hash(text) == -1) {
      Py_DECREF(text);
      return nullptr;
    }
    PyObject* old = entry.text;
    entry = {Py_NewRef(text), data, n, ends};
    Py_XDECREF(old);
    return text;
  }

 private:
  static constexpr std::size_t kEntries = 2048;
  static constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15u;

  struct Ends {
    std::uint64_t low, high;
  };
  struct Entry {
    PyObject* text;
    const char* data;
    std::size_t size;
    Ends ends;
  };

  static Ends ends_of(const char* p, std::size_t n) noexcept {
    if (n >= 8) return {json::detail::load64(p), json::detail::load64(p + n - 8)};
    if (n >= 4) {
      std::uint32_t head, tail;
      std::memcpy(&head, p, 4);
      std::memcpy(&tail, p + n - 4, 4);
      return {head, tail};
    }
    if (n == 0) return {0, 0};
    const auto at = [p](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])); };
    return {at(0) | at(n / 2) << 8, at(n - 1)};
  }

  Entry entries_[kEntries] = {};
};

#ifdef Py_GIL_DISABLED
thread_local KeyCache key_cache;
#else
KeyCache key_cache;
#endif

// Values wait here until their container is complete, so that lists are made in their final size and dicts
// presized. One stack per thread, kept between calls. Nothing in decoding runs Python code, except that garbage
// collection may run finalizers, which may decode: a decoder leaves what is below its base alone and looks for the
// stack's memory anew after each call that could have moved it.
class ValueStack {
 public:
  ValueStack() = default;
  ValueStack(const ValueStack&) = delete;
  ValueStack& operator=(const ValueStack&) = delete;
  ~ValueStack() { std::free(values_); }

  std::size_t size() const noexcept { return size_; }
  PyObject** from(std::size_t index) noexcept { return values_ + index; }
  /// Takes over the reference, also when it throws std::bad_alloc.
  void push(PyObject* owned) {
    if (FASTERAPI_UNLIKELY(size_ == capacity_)) grow(owned);
    values_[size_++] = owned;
  }
  /// Forgets the values from `size` on, whose references are somebody else's by now.
  void cut(std::size_t size) noexcept { size_ = size; }
  void drop_to(std::size_t size) noexcept {
    while (size_ > size) Py_DECREF(values_[--size_]);
    if (size_ == 0 && capacity_ > kKept) {
      std::free(std::exchange(values_, nullptr));
      capacity_ = 0;
    }
  }

 private:
  static constexpr std::size_t kKept = 32 * 1024;
  __attribute__((noinline)) void grow(PyObject* owned) {
    const std::size_t wanted = capacity_ ? 2 * capacity_ : 256;
    void* bigger = std::realloc(values_, wanted * sizeof(PyObject*));
    if (!bigger) {
      Py_DECREF(owned);
      throw std::bad_alloc();
    }
    values_ = static_cast<PyObject**>(bigger);
    capacity_ = wanted;
  }
  PyObject** values_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

#ifdef Py_GIL_DISABLED
thread_local ValueStack waiting;
#else
ValueStack& waiting = *new ValueStack;  // the GIL guards it; never destroyed, finalizers may decode until the end
#endif

#if PY_VERSION_HEX >= 0x030d0000 && PY_VERSION_HEX < 0x030e0000
// Exported by 3.13, whose own dict displays use it: takes the references of key and value.
extern "C" int _PyDict_SetItem_Take2(PyDictObject* dict, PyObject* key, PyObject* value);
#endif

/// Moves the pairs of key and value from index `from` on into a new dict; the stack is cut there.
PyObject* make_dict(ValueStack& stack, std::size_t from) {
  const std::size_t end = stack.size();
  PyObject* dict = end - from > 10 ? _PyDict_NewPresized(static_cast<Py_ssize_t>((end - from) / 2)) : PyDict_New();
  bool good = dict != nullptr;
  std::size_t at = from;
  for (; good && at < end; at += 2) {
    PyObject** pair = stack.from(at);
#if PY_VERSION_HEX >= 0x030d0000 && PY_VERSION_HEX < 0x030e0000
    good = _PyDict_SetItem_Take2(reinterpret_cast<PyDictObject*>(dict), pair[0], pair[1]) == 0;
#else
    PyObject *key = pair[0], *value = pair[1];
    good = PyDict_SetItem(dict, key, value) == 0;
    Py_DECREF(key);
    Py_DECREF(value);
#endif
  }
  if (FASTERAPI_LIKELY(good)) {
    stack.cut(from);
    return dict;
  }
  for (; at < end; ++at) Py_DECREF(*stack.from(at));
  stack.cut(from);
  Py_XDECREF(dict);
  return nullptr;
}

class Decoder {
 public:
  Decoder(const char* data, std::size_t size, unsigned max_depth, ValueStack& stack)
      : begin_(data), at_(data), end_(data + size), max_depth_(max_depth), stack_(stack), base_(stack_.size()) {}

  PyObject* run() {
    PyObject* result = nullptr;
    if (end_ - at_ >= 3 && std::memcmp(at_, "\xEF\xBB\xBF", 3) == 0) {
      fail("Unexpected UTF-8 byte order mark (decode the text with utf-8-sig)");
    } else {
      space();
      result = value(0);
      if (result) {
        space();
        if (at_ != end_) {
          Py_CLEAR(result);
          fail("Extra data");
        }
      }
    }
    stack_.drop_to(base_);
    if (!result && !PyErr_Occurred()) raise();
    return result;
  }

 private:
  std::nullptr_t fail(const char* message) noexcept { return fail(message, at_); }
  std::nullptr_t fail(const char* message, const char* where) noexcept {
    message_ = message;
    at_ = where;
    return nullptr;
  }

  /// JSONDecodeError(message, document, position in characters).
  void raise() {
    Ref document(PyUnicode_DecodeUTF8(begin_, end_ - begin_, "replace"));
    if (!document) return;
    Ref before(PyUnicode_DecodeUTF8(begin_, at_ - begin_, "replace"));
    if (!before) return;
    Ref error(
        PyObject_CallFunction(decode_error, "sOn", message_, document.get(), PyUnicode_GET_LENGTH(before.get())));
    if (error) PyErr_SetObject(decode_error, error.get());
  }

  FASTERAPI_JSON_INLINE void space() noexcept {
    if (FASTERAPI_LIKELY(at_ < end_ && static_cast<unsigned char>(*at_) > ' ')) return;
    space_slowly();
  }
  __attribute__((noinline)) void space_slowly() noexcept {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  PyObject* value(unsigned depth) {
    if (FASTERAPI_UNLIKELY(at_ == end_)) return fail("Expecting value");
    const char c = *at_;
    if (c == '"') return string();
    if (c <= '9') return number();  // or nothing that begins a value: number() says so
    return other(c, depth);
  }
  __attribute__((noinline)) PyObject* other(char c, unsigned depth) {
    switch (c) {
      case '{': return object(depth);
      case '[': return array(depth);
      case 't': return word("true", Py_True);
      case 'f': return word("false", Py_False);
      case 'n': return word("null", Py_None);
      default: return fail("Expecting value");
    }
  }

  PyObject* word(std::string_view text, PyObject* constant) {
    if (static_cast<std::size_t>(end_ - at_) < text.size() || std::memcmp(at_, text.data(), text.size()) != 0)
      return fail("Expecting value");
    at_ += text.size();
    return Py_NewRef(constant);
  }

  /// After an item: true with the cursor on the next one, false after the closing bracket or on an error (`good`).
  FASTERAPI_JSON_INLINE bool another(char closing, bool& good) noexcept {
    if (FASTERAPI_LIKELY(at_ < end_)) {
      if (FASTERAPI_UNLIKELY(static_cast<unsigned char>(*at_) <= ' ')) space_slowly();
      if (FASTERAPI_LIKELY(at_ < end_)) {
        const char c = *at_;
        if (c == ',') {
          ++at_;
          space();
          return true;
        }
        if (FASTERAPI_LIKELY(c == closing)) {
          ++at_;
          return false;
        }
      }
    }
    fail("Expecting ',' delimiter");
    return good = false;
  }

  PyObject* array(unsigned depth) {
    if (FASTERAPI_UNLIKELY(depth >= max_depth_)) return fail("Nested too deeply");
    const std::size_t from = stack_.size();
    ++at_;
    space();
    if (at_ < end_ && *at_ == ']') {
      ++at_;
      return PyList_New(0);
    }
    bool good = true;
    do {
      PyObject* item = value(depth + 1);
      if (FASTERAPI_UNLIKELY(!item)) return nullptr;
      stack_.push(item);
    } while (another(']', good));
    if (FASTERAPI_UNLIKELY(!good)) return nullptr;
    const std::size_t count = stack_.size() - from;
    PyObject* list = PyList_New(static_cast<Py_ssize_t>(count));
    if (FASTERAPI_UNLIKELY(!list)) return nullptr;
    std::memcpy(reinterpret_cast<PyListObject*>(list)->ob_item, stack_.from(from), count * sizeof(PyObject*));
    stack_.cut(from);
    return list;
  }

  PyObject* object(unsigned depth) {
    if (FASTERAPI_UNLIKELY(depth >= max_depth_)) return fail("Nested too deeply");
    const std::size_t from = stack_.size();
    ++at_;
    space();
    if (at_ < end_ && *at_ == '}') {
      ++at_;
      return PyDict_New();
    }
    bool good = true;
    do {
      if (FASTERAPI_UNLIKELY(at_ == end_ || *at_ != '"'))
        return fail("Expecting property name enclosed in double quotes");
      PyObject* name = key();
      if (FASTERAPI_UNLIKELY(!name)) return nullptr;
      stack_.push(name);
      space();
      if (FASTERAPI_UNLIKELY(at_ == end_ || *at_ != ':')) return fail("Expecting ':' delimiter");
      ++at_;
      space();
      PyObject* item = value(depth + 1);
      if (FASTERAPI_UNLIKELY(!item)) return nullptr;
      stack_.push(item);
    } while (another('}', good));
    if (FASTERAPI_UNLIKELY(!good)) return nullptr;
    return make_dict(stack_, from);
  }

  /// How much of [p, end_) is plain ASCII text of a string.
  FASTERAPI_JSON_INLINE std::size_t plain(const char* p) const noexcept {
    const auto left = static_cast<std::size_t>(end_ - p);
#if FASTERAPI_X86_64
    if (FASTERAPI_LIKELY(left >= 16)) {
      if (const unsigned mask = json::detail::sse_mask<Stop::kText>(json::detail::load128(p))) {
        return static_cast<unsigned>(__builtin_ctz(mask));
      }
      return 16 + json::find<Stop::kText>(p + 16, left - 16);
    }
#if !defined(__SANITIZE_ADDRESS__)
    // The end of the text: whole vectors are read as long as they cannot touch the next page; what lies beyond the
    // end is masked out.
    if (FASTERAPI_LIKELY((reinterpret_cast<std::uintptr_t>(p) & 4095) <= 4096 - 16)) {
      const unsigned mask = json::detail::sse_mask<Stop::kText>(json::detail::load128(p)) | 1u << left;
      return static_cast<unsigned>(__builtin_ctz(mask));
    }
#endif
#endif
    return json::find<Stop::kText>(p, left);
  }

  PyObject* key() {
    const char* from = at_ + 1;
    const std::size_t n = plain(from);
    if (FASTERAPI_LIKELY(from + n < end_ && from[n] == '"' && n <= KeyCache::kMaxKey)) {
      at_ = from + n + 1;
      return key_cache.get(from, n);
    }
    return string();
  }

  PyObject* string() {
    const char* from = at_ + 1;
    const std::size_t n = plain(from);
    const char* stop = from + n;
    if (FASTERAPI_LIKELY(stop < end_ && *stop == '"')) {
      at_ = stop + 1;
      if (n < 2) return PyUnicode_FromStringAndSize(from, static_cast<Py_ssize_t>(n));  // shared objects
      PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(n), 127);
      if (FASTERAPI_LIKELY(text)) copy(static_cast<char*>(PyUnicode_DATA(text)), from, n);
      return text;
    }
    return hard_string(from, stop);
  }

  /// memcpy with the short lengths inline, as two pieces that may overlap.
  static void copy(char* to, const char* from, std::size_t n) noexcept {
    if (n > 32) {
      std::memcpy(to, from, n);
    } else if (n >= 16) {
      char head[16], tail[16];
      std::memcpy(head, from, 16);
      std::memcpy(tail, from + n - 16, 16);
      std::memcpy(to, head, 16);
      std::memcpy(to + n - 16, tail, 16);
    } else if (n >= 8) {
      const std::uint64_t head = json::detail::load64(from), tail = json::detail::load64(from + n - 8);
      std::memcpy(to, &head, 8);
      std::memcpy(to + n - 8, &tail, 8);
    } else if (n >= 4) {
      std::uint32_t head, tail;
      std::memcpy(&head, from, 4);
      std::memcpy(&tail, from + n - 4, 4);
      std::memcpy(to, &head, 4);
      std::memcpy(to + n - 4, &tail, 4);
    } else {
      for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
    }
  }

  /// A string with escapes or non-ASCII text, or a bad one; everything before `stop` is plain.
  __attribute__((noinline)) PyObject* hard_string(const char* from, const char* stop) {
    const char* run = from;  // what is not yet in unescaped_
    unescaped_.clear();
    const char* quote = from - 1;
    for (;;) {
      stop += json::find<Stop::kEscape>(stop, static_cast<std::size_t>(end_ - stop));
      if (stop == end_) return fail("Unterminated string starting at", quote);
      const unsigned char c = static_cast<unsigned char>(*stop);
      if (c == '"') break;
      if (c < 0x20) return fail("Invalid control character at", stop);
      unescaped_.append(run, static_cast<std::size_t>(stop - run));
      std::uint32_t code = 0;
      const unsigned n = json::read_escape(stop + 1, static_cast<std::size_t>(end_ - stop) - 1, code);
      if (n == 0)
        return fail(
            stop + 1 < end_ && stop[1] == 'u' ? "Invalid \\uXXXX escape or lone surrogate" : "Invalid \\escape",
            stop);
      char bytes[4];
      unescaped_.append(bytes, static_cast<std::size_t>(json::put_utf8(bytes, code) - bytes));
      run = stop = stop + 1 + n;
    }
    at_ = stop + 1;
    PyObject* text;
    if (unescaped_.empty()) {
      text = PyUnicode_DecodeUTF8(from, stop - from, "strict");
    } else {
      unescaped_.append(run, static_cast<std::size_t>(stop - run));
      text = PyUnicode_DecodeUTF8(unescaped_.data(), static_cast<Py_ssize_t>(unescaped_.size()), "strict");
    }
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
      PyErr_Clear();
      for (const char* p = from; p < stop;) {
        const unsigned n = json::utf8_length(p, static_cast<std::size_t>(stop - p));
        if (n == 0) return fail("Invalid UTF-8", p);
        p += n;
      }
      return fail("Invalid UTF-8", quote);
    }
    return text;
  }

  PyObject* number() {
    const char* from = at_;
    const char* p = at_;
    const bool negative = *p == '-';
    if (negative) ++p;
    const char* first = p;
    std::uint64_t mantissa = 0;
    while (p < end_ && static_cast<unsigned>(*p - '0') < 10)
      mantissa = mantissa * 10 + static_cast<unsigned>(*p++ - '0');
    std::ptrdiff_t digits = p - first;
    if (digits == 0) return fail("Expecting value");
    if (*first == '0' && digits > 1) {
      at_ = first + 1;  // RFC 8259 section 6: no leading zeros
      return fail("Invalid number: leading zero", from);
    }
    int exponent = 0;
    bool real = false;
    if (p < end_ && *p == '.') {
      real = true;
      const char* fraction = ++p;
      while (p < end_ && static_cast<unsigned>(*p - '0') < 10)
        mantissa = mantissa * 10 + static_cast<unsigned>(*p++ - '0');
      if (p == fraction) return fail("Invalid number: digits expected after the point", p);
      exponent = static_cast<int>(fraction - p);
      digits += p - fraction;
    }
    if (p < end_ && (*p == 'e' || *p == 'E')) {
      real = true;
      const char* sign = ++p;
      if (p < end_ && (*p == '+' || *p == '-')) ++p;
      const char* power = p;
      int e = 0;
      while (p < end_ && static_cast<unsigned>(*p - '0') < 10) {
        if (e < 100000) e = e * 10 + (*p - '0');
        ++p;
      }
      if (p == power) return fail("Invalid number: digits expected in the exponent", p);
      exponent += *sign == '-' ? -e : e;
    }
    at_ = p;
    if (!real) {
      if (FASTERAPI_LIKELY(digits <= 18)) {
        const auto value = static_cast<long long>(mantissa);
        return PyLong_FromLongLong(negative ? -value : value);
      }
      return big_integer(from, p);
    }
    // Clinger's fast path: both factors are exact doubles, one rounding.
    if (digits <= 15 && exponent >= -22 && exponent <= 22) {
      static constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                           1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
      double value = static_cast<double>(mantissa);
      value = exponent < 0 ? value / kPowers[-exponent] : value * kPowers[exponent];
      return PyFloat_FromDouble(negative ? -value : value);
    }
    double value = 0;
    const auto result = std::from_chars(from, p, value);
    if (result.ec == std::errc::result_out_of_range) return extreme(from, p);
    return PyFloat_FromDouble(value);
  }

  /// Beyond the range of double: infinity or zero, as the standard library's json has it.
  static PyObject* extreme(const char* from, const char* end) {
    const std::string text(from, end);
    const double value = PyOS_string_to_double(text.c_str(), nullptr, nullptr);
    if (value == -1.0 && PyErr_Occurred()) return nullptr;
    return PyFloat_FromDouble(value);
  }

  static PyObject* big_integer(const char* from, const char* end) {
    const std::string text(from, end);  // PyLong_FromString wants a terminator
    return PyLong_FromString(text.c_str(), nullptr, 10);
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  unsigned max_depth_;
  ValueStack& stack_;
  std::size_t base_;
  const char* message_ = "Expecting value";
  std::string unescaped_;
};

PyObject* loads(PyObject*, PyObject* data) {
  if (PyBytes_CheckExact(data))
    return json_decode(PyBytes_AS_STRING(data), static_cast<std::size_t>(PyBytes_GET_SIZE(data)), 0);
  if (PyUnicode_Check(data)) {
    Py_ssize_t size = 0;
    if (PyUnicode_IS_COMPACT_ASCII(data))
      return json_decode(static_cast<const char*>(PyUnicode_DATA(data)),
                         static_cast<std::size_t>(PyUnicode_GET_LENGTH(data)), 0);
    const char* text = PyUnicode_AsUTF8AndSize(data, &size);
    if (text) return json_decode(text, static_cast<std::size_t>(size), 0);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return nullptr;
    PyErr_Clear();
    Ref error(PyObject_CallFunction(decode_error, "sOn", "Lone surrogate in str", data, Py_ssize_t{0}));
    if (error) PyErr_SetObject(decode_error, error.get());
    return nullptr;
  }
  Py_buffer view;
  if (!PyObject_CheckBuffer(data)) {
    PyErr_Format(PyExc_TypeError, "json_loads() takes bytes, bytearray, memoryview or str, not %.100s",
                 Py_TYPE(data)->tp_name);
    return nullptr;
  }
  if (PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS) < 0) return nullptr;
  PyObject* result = json_decode(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len), 0);
  PyBuffer_Release(&view);
  return result;
}

PyMethodDef loads_methods[] = {
    {"json_loads", loads, METH_O,
     PyDoc_STR(
         "json_loads(data, /)\n--\n\nDecode one JSON text (bytes-like, or str) by RFC 8259.\n\n"
         "Raises JSONDecodeError, a ValueError with msg, doc, pos, lineno and colno. NaN, lone surrogates,\n"
         "ill-formed UTF-8 and nesting beyond 128 levels are refused; of duplicate keys the last one counts.")},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* json_decode(const char* data, std::size_t size, unsigned max_depth) {
  ValueStack& stack = waiting;
  const std::size_t base = stack.size();
  try {
    return Decoder(data, size, max_depth ? max_depth : kJsonDecodeDepth, stack).run();
  } catch (const std::bad_alloc&) {
    stack.drop_to(base);
    return PyErr_NoMemory();
  }
}

namespace detail {

bool add_json_decoder(PyObject* module) {
  if (!decode_error) {
    Ref stdlib(PyImport_ImportModule("json"));
    if (!stdlib) return false;
    Ref base(PyObject_GetAttrString(stdlib.get(), "JSONDecodeError"));
    if (!base) return false;
    // A subclass of json's own, so that code which catches that one goes on to work.
    decode_error = PyErr_NewExceptionWithDoc(
        "fasterapi_core.JSONDecodeError",
        "A text is not JSON. Attributes: msg, doc (the text), pos, lineno, colno (in characters).", base.get(),
        nullptr);
    if (!decode_error) return false;
  }
  return PyModule_AddObjectRef(module, "JSONDecodeError", decode_error) == 0 &&
         PyModule_AddFunctions(module, loads_methods) == 0;
}

}  // namespace detail

bool add_json(PyObject* module) { return detail::add_json_encoder(module) && detail::add_json_decoder(module); }

}  // namespace fasterapi::core::py
