// JSON encoder: walks Python objects straight into the buffer.
#include "json.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <vector>

#include "json_datetime.hpp"
#include "json_fragment.hpp"
#include "json_numbers.hpp"
#include "json_numpy.hpp"
#include "json_ref.hpp"
#include "json_writer.hpp"

namespace fasterapi::core::py {
namespace {

struct Names {
  PyObject* value = nullptr;       // "_value_"
  PyObject* items = nullptr;       // "items"
  PyObject* int_ = nullptr;        // "int"
  PyObject* to_json = nullptr;     // "to_json"
  PyObject* to_python = nullptr;   // "to_python"
  PyObject* pydantic = nullptr;    // "__pydantic_serializer__"
  PyObject* dataclass = nullptr;   // "__dataclass_fields__"
  PyObject* field_type = nullptr;  // "_field_type"
  PyObject* sixty_four = nullptr;  // 64
  PyObject* mode_json = nullptr;   // {"mode": "json"} as a keyword tuple ("mode",)
  PyObject* json = nullptr;        // "json"
} names;

// Types that are recognised by inheritance; imported when the first unknown object is met, so that a
// program without them does not pay for the imports.
struct Types {
  PyTypeObject* enum_type = nullptr;
  PyTypeObject* uuid = nullptr;
  PyTypeObject* decimal = nullptr;
  PyObject* field = nullptr;  // dataclasses._FIELD

  bool load() {
    if (field) return true;
    const auto take = [](const char* module, const char* name) -> PyObject* {
      Ref m(PyImport_ImportModule(module));
      return m ? PyObject_GetAttrString(m.get(), name) : nullptr;
    };
    Ref e(take("enum", "Enum")), u(take("uuid", "UUID")), d(take("decimal", "Decimal"));
    Ref f(take("dataclasses", "_FIELD"));
    if (!e || !u || !d || !f) return false;
    enum_type = reinterpret_cast<PyTypeObject*>(e.release());
    uuid = reinterpret_cast<PyTypeObject*>(u.release());
    decimal = reinterpret_cast<PyTypeObject*>(d.release());
    field = f.release();
    return true;
  }
} types;

NumpyTypes numpy_types;

constexpr std::uint32_t kStreaming = 1u << 31;  // there is a sink

/// 1 found (new reference in `out`), 0 absent, -1 error.
int lookup(PyObject* object, PyObject* name, Ref& out) {
  PyObject* found = nullptr;
#if PY_VERSION_HEX >= 0x030d0000
  const int rc = PyObject_GetOptionalAttr(object, name, &found);
#else
  const int rc = _PyObject_LookupAttr(object, name, &found);
#endif
  out = Ref(found);
  return rc;
}

class Encoder {
 public:
  Encoder(OutBuffer& out, PyObject* fallback, std::uint32_t options)
      : writer_(out), fallback_(fallback == Py_None ? nullptr : fallback), options_(options) {}
  Encoder(OutBuffer& out, PyObject* fallback, std::uint32_t options, JsonSink sink, void* arg)
      : Encoder(out, fallback, options | kStreaming) {
    sink_ = sink;
    sink_arg_ = arg;
  }

  bool run(PyObject* object) {
    if (!value(object)) {
      writer_.abandon();
      return false;
    }
    if (has(kJsonAppendNewline)) writer_.raw("\n");
    writer_.close();
    return !has(kStreaming) || give(0);
  }

 private:
  static constexpr std::size_t kSlack = json::Writer::kSlack;

  bool has(std::uint32_t option) const noexcept { return FASTERAPI_UNLIKELY((options_ & option) != 0); }

  bool value(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (type == &PyUnicode_Type) return string(object);
    if (type == &PyLong_Type) return integer(object);
    if (type == &PyDict_Type) return dict(object);
    if (type == &PyList_Type) return list(object);
    if (type == &PyBool_Type) return object == Py_True ? word("true") : word("false");
    if (object == Py_None) return word("null");
    if (type == &PyFloat_Type) return number(PyFloat_AS_DOUBLE(object));
    if (type == &PyTuple_Type) return tuple(object);
    return other(object);
  }

  template <std::size_t n>
  bool word(const char (&text)[n]) {
    writer_.room(n + kSlack);
    std::memcpy(writer_.at(), text, n - 1);
    writer_.set(writer_.at() + n - 1);
    return true;
  }

  bool string(PyObject* text) {
    if (FASTERAPI_LIKELY(writer_.string(text, (options_ & kJsonEnsureAscii) != 0))) return true;
    Ref never(PyUnicode_AsUTF8String(text));  // raises UnicodeEncodeError with the position
    if (never) PyErr_SetString(PyExc_ValueError, "str cannot be encoded");
    return false;
  }

  bool integer(PyObject* object) {
    writer_.room(24);
#if PY_VERSION_HEX >= 0x030c0000
    auto* number = reinterpret_cast<PyLongObject*>(object);
    if (FASTERAPI_LIKELY(PyUnstable_Long_IsCompact(number))) {
      writer_.set(json::put_signed(writer_.at(), PyUnstable_Long_CompactValue(number)));
      return true;
    }
#endif
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (!overflow) {
      if (small == -1 && PyErr_Occurred()) return false;
      if (has(kJsonStrictInteger) && !strict(small)) return false;
      writer_.set(json::put_signed(writer_.at(), small));
      return true;
    }
    if (has(kJsonStrictInteger)) return strict(overflow);
    Ref text(PyNumber_ToBase(object, 10));
    if (!text) return false;
    writer_.raw({static_cast<const char*>(PyUnicode_DATA(text.get())),
                 static_cast<std::size_t>(PyUnicode_GET_LENGTH(text.get()))});
    return true;
  }

  /// Whether a double, which is what JavaScript reads numbers as, holds the value exactly. `overflow`: it does
  /// not.
  static bool strict(long long value) {
    constexpr long long kMost = (1ll << 53) - 1;
    if (value >= -kMost && value <= kMost) return true;
    PyErr_SetString(PyExc_ValueError, "Integer exceeds 53 bits (option STRICT_INTEGER)");
    return false;
  }
  static bool strict(int overflow) { return strict(overflow < 0 ? LLONG_MIN : LLONG_MAX); }

  __attribute__((noinline)) bool number(double value) {
    writer_.room(32);
    if (FASTERAPI_LIKELY(std::isfinite(value))) {
      writer_.set(json::put_double(writer_.at(), value));
      return true;
    }
    return not_finite(value);
  }
  bool not_finite(double value) {
    if (options_ & kJsonAllowNan) return word("null");
    PyErr_Format(PyExc_ValueError, "Out of range float values are not JSON compliant: %s",
                 std::isnan(value) ? "nan"
                 : value > 0       ? "inf"
                                   : "-inf");
    return false;
  }

  bool enter() {
    if (FASTERAPI_LIKELY(++depth_ <= kJsonEncodeDepth)) return true;
    PyErr_Format(PyExc_ValueError, "cannot encode to JSON: nested deeper than %d levels, or a circular reference",
                 kJsonEncodeDepth);
    return false;
  }

  // Containers are written as opening bracket, "item," ..., and the last comma becomes the closing one.
  // Every value leaves kSlack bytes of room behind it, so that the punctuation needs no check.
  void open(char bracket) {
    ++level_;
    writer_.room(2);
    writer_.put(bracket);
    if (has(kJsonIndent2)) line();
  }
  bool separate() {
    writer_.put(',');
    return FASTERAPI_LIKELY(!(options_ & (kJsonIndent2 | kStreaming))) || separate_slowly();
  }
  __attribute__((noinline)) bool separate_slowly() {
    if (has(kJsonIndent2)) line();
    // close() takes back what announced another item, so that much stays here.
    return !has(kStreaming) || writer_.size() < kJsonPiece || give(2 + 2 * static_cast<std::size_t>(level_));
  }
  /// All but the last `keep` bytes go to the sink.
  bool give(std::size_t keep) {
    const std::size_t size = writer_.size(), given = size > keep ? size - keep : 0;
    if (sink_(sink_arg_, writer_.data(), given) < 0) return false;
    writer_.erase_front(given);
    return true;
  }
  void colon() {
    writer_.put(':');
    if (has(kJsonIndent2)) writer_.put(' ');
  }
  void close(char bracket, bool empty) {
    --depth_;
    if (has(kJsonIndent2)) {
      // Take back the line break (and the comma) that announced another item.
      writer_.truncate(writer_.size() - 1 - 2 * static_cast<std::size_t>(level_));
      --level_;
      if (!empty) {
        writer_.back();
        line();
      }
    } else {
      --level_;
      if (!empty) writer_.back();
    }
    writer_.room(1 + kSlack);
    writer_.put(bracket);
  }
  void line() {
    const std::size_t spaces = 2 * static_cast<std::size_t>(level_);
    writer_.room(spaces + 1);
    writer_.put('\n');
    std::memset(writer_.at(), ' ', spaces);
    writer_.set(writer_.at() + spaces);
  }

  bool dict(PyObject* object) {
    if (!enter()) return false;
    open('{');
    const Py_ssize_t size = PyDict_GET_SIZE(object);
    if (has(kJsonSortKeys) && size > 1) {
      Ref items(PyDict_Items(object));
      if (!items || !sorted_members(items.get())) return false;
    } else {
      Py_ssize_t at = 0;
      PyObject *key, *item;
      while (PyDict_Next(object, &at, &key, &item)) {
        if (FASTERAPI_LIKELY(PyUnicode_CheckExact(key))) {
          if (!string(key)) return false;
          colon();
          if (PyUnicode_CheckExact(item)) {
            if (!string(item) || !separate_in(object, size)) return false;
            continue;
          }
          if (PyLong_CheckExact(item)) {
            if (!integer(item) || !separate_in(object, size)) return false;
            continue;
          }
          Ref held_item = Ref::hold(item);  // foreign code below may drop it from the dict
          if (!value(item)) return false;
        } else {
          Ref held_key = Ref::hold(key), held_item = Ref::hold(item);
          if (!member(key, item)) return false;
        }
        if (!separate_in(object, size)) return false;
      }
    }
    close('}', size == 0);
    return true;
  }

  /// separate() after a member of a dict, which foreign code may have changed: `default`, or the sink.
  bool separate_in(PyObject* object, Py_ssize_t size) {
    if (!separate()) return false;
    if (FASTERAPI_LIKELY(PyDict_GET_SIZE(object) == size)) return true;
    PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
    return false;
  }

  bool member(PyObject* key_object, PyObject* item) {
    if (!key(key_object)) return false;
    colon();
    return value(item);
  }

  bool key(PyObject* object) {
    if (PyUnicode_CheckExact(object)) return string(object);
    if (!types.load()) return false;
    if (PyObject_TypeCheck(object, types.enum_type)) {
      Ref inner(PyObject_GetAttr(object, names.value));
      if (!inner) return false;
      if (!enter()) return false;
      const bool good = key(inner.get());
      --depth_;
      return good;
    }
    if (PyUnicode_Check(object)) return string(object);
    if (!(options_ & kJsonNonStringKeys)) {
      PyErr_Format(PyExc_TypeError, "Dict key must be str, not %.100s (option NON_STR_KEYS converts it)",
                   Py_TYPE(object)->tp_name);
      return false;
    }
    const bool quoted = PyDateTime_Check(object) || PyDate_Check(object) || PyTime_Check(object) ||
                        PyObject_TypeCheck(object, types.uuid) || PyObject_TypeCheck(object, types.decimal);
    if (quoted) return known(object);
    if (object != Py_None && !PyLong_Check(object) && !PyFloat_Check(object)) {
      PyErr_Format(PyExc_TypeError, "Dict key must be str, int, float, bool, None, date, UUID or Enum, not %.100s",
                   Py_TYPE(object)->tp_name);
      return false;
    }
    writer_.room(1);
    writer_.put('"');
    const bool good = PyFloat_Check(object) ? number(PyFloat_AS_DOUBLE(object))
                      : object == Py_True   ? word("true")
                      : object == Py_False  ? word("false")
                      : object == Py_None   ? word("null")
                                            : integer(object);
    if (!good) return false;
    writer_.room(1 + kSlack);
    writer_.put('"');
    return true;
  }

  /// The str that a key becomes, for sorting.
  Ref key_text(PyObject* object) {
    Ref name = Ref::hold(object);
    if (PyUnicode_CheckExact(object)) return name;
    if (!types.load()) return Ref();
    for (int i = 0; i < 8 && PyObject_TypeCheck(name.get(), types.enum_type); ++i) {
      name = Ref(PyObject_GetAttr(name.get(), names.value));
      if (!name) return name;
    }
    if (PyUnicode_Check(name.get())) return Ref(PyUnicode_FromObject(name.get()));
    const std::size_t from = writer_.size();  // its text, taken back out of the buffer; it has no escapes
    if (!key(name.get())) return Ref();
    const std::size_t length = writer_.size() - from;
    Ref text(PyUnicode_FromStringAndSize(writer_.at() - length + 1, static_cast<Py_ssize_t>(length) - 2));
    writer_.truncate(from);
    return text;
  }

  bool sorted_members(PyObject* items) {
    struct Member {
      Ref name;
      PyObject* item;
    };
    std::vector<Member> members;
    const Py_ssize_t count = PyList_GET_SIZE(items);
    members.reserve(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* pair = PyList_GET_ITEM(items, i);
      Ref name = key_text(PyTuple_GET_ITEM(pair, 0));
      if (!name) return false;
      members.push_back({std::move(name), PyTuple_GET_ITEM(pair, 1)});
    }
    std::stable_sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
      return PyUnicode_Compare(a.name.get(), b.name.get()) < 0;
    });
    for (const Member& each : members) {
      if (!string(each.name.get())) return false;
      colon();
      if (!value(each.item) || !separate()) return false;
    }
    return true;
  }

  bool list(PyObject* object) {
    if (!enter()) return false;
    open('[');
    Py_ssize_t i = 0;
    for (; i < PyList_GET_SIZE(object); ++i) {  // the size may change under foreign code
      PyObject* item = PyList_GET_ITEM(object, i);
      if (PyUnicode_CheckExact(item)) {
        if (!string(item)) return false;
      } else {
        Ref held = Ref::hold(item);
        if (!value(item)) return false;
      }
      if (!separate()) return false;
    }
    close(']', i == 0);
    return true;
  }

  bool tuple(PyObject* object) {
    if (!enter()) return false;
    open('[');
    const Py_ssize_t size = PyTuple_GET_SIZE(object);
    for (Py_ssize_t i = 0; i < size; ++i) {
      if (!value(PyTuple_GET_ITEM(object, i)) || !separate()) return false;
    }
    close(']', size == 0);
    return true;
  }

  /// Everything that is not one of JSON's own exact types.
  bool other(PyObject* object) {
    if (!types.load()) return false;
    PyTypeObject* type = Py_TYPE(object);
    if (type == FragmentType) {
      std::string_view text;
      if (!fragment_text(object, text)) return false;
      writer_.raw(text);
      return true;
    }
    if (PyType_IsSubtype(type, types.enum_type)) {
      Ref inner(PyObject_GetAttr(object, names.value));
      return inner && nested(inner.get());
    }
    const auto flags = PyType_GetFlags(type);
    constexpr auto kBuiltin = Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS |
                              Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS;
    if ((flags & kBuiltin) || PyFloat_Check(object)) {
      if (has(kJsonPassthroughSubclass)) return ask(object);
      if (flags & Py_TPFLAGS_UNICODE_SUBCLASS) return string(object);
      if (flags & Py_TPFLAGS_LONG_SUBCLASS) return integer(object);
      if (flags & Py_TPFLAGS_LIST_SUBCLASS) return list(object);
      if (flags & Py_TPFLAGS_TUPLE_SUBCLASS) return tuple(object);
      if (flags & Py_TPFLAGS_DICT_SUBCLASS) return mapping(object);
      return number(PyFloat_AS_DOUBLE(object));
    }
    if (PyDate_Check(object) || PyTime_Check(object)) {  // a datetime is a date
      return has(kJsonPassthroughDatetime) ? ask(object) : known(object);
    }
    if (PyObject_TypeCheck(object, types.uuid) || PyObject_TypeCheck(object, types.decimal)) return known(object);
    if (has(kJsonSerializeNumpy) && numpy_types.load() &&
        (PyType_IsSubtype(type, numpy_types.array) || PyType_IsSubtype(type, numpy_types.scalar))) {
      return numpy(object);
    }
    Ref found;
    int rc = lookup(reinterpret_cast<PyObject*>(type), names.pydantic, found);
    if (rc > 0) return pydantic(object, found.get());
    if (rc == 0 && !has(kJsonPassthroughDataclass)) {
      rc = lookup(reinterpret_cast<PyObject*>(type), names.dataclass, found);
      if (rc > 0 && PyDict_Check(found.get())) return dataclass(object, found.get());
    }
    return rc < 0 ? false : ask(object);
  }

  /// An array or a scalar of NumPy; one with elements that JSON does not know goes to `default`.
  bool numpy(PyObject* object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT) == 0) {
      // Scalars of times and of records export their bytes: those have a dimension.
      const bool plain =
          view.ndim == 0 || (PyObject_TypeCheck(object, numpy_types.array) && view.shape && view.strides);
      const NumpyElement element = plain ? numpy_element(view) : NumpyElement{};
      const bool known = element.kind != NumpyKind::none;
      const bool good = known && numpy_axis(view, element, static_cast<const char*>(view.buf), 0);
      PyBuffer_Release(&view);
      if (known) return good;
    }
    PyErr_Clear();
    // Times have no format in the struct module: as datetimes, to the microsecond.
    Ref type(PyObject_GetAttrString(object, "dtype"));
    Ref kind(type ? PyObject_GetAttrString(type.get(), "kind") : nullptr);
    if (!kind) return false;
    if (!PyUnicode_Check(kind.get()) || PyUnicode_CompareWithASCIIString(kind.get(), "M") != 0) return ask(object);
    Ref moments(PyObject_CallMethod(object, "astype", "s", "datetime64[us]"));
    Ref plain(moments ? PyObject_CallMethod(moments.get(), "tolist", nullptr) : nullptr);
    return plain && nested(plain.get());
  }
  bool numpy_axis(const Py_buffer& view, NumpyElement element, const char* at, int axis) {
    if (axis == view.ndim) return numpy_scalar(element, at);
    if (!enter()) return false;
    open('[');
    for (Py_ssize_t i = 0; i < view.shape[axis]; ++i) {
      if (!numpy_axis(view, element, at + i * view.strides[axis], axis + 1) || !separate()) return false;
    }
    close(']', view.shape[axis] == 0);
    return true;
  }
  bool numpy_scalar(NumpyElement element, const char* at) {
    writer_.room(32);
    switch (element.kind) {
      case NumpyKind::boolean: return *at ? word("true") : word("false");
      case NumpyKind::integer: {
        const std::int64_t value = numpy_integer(at, element.size);
        if (has(kJsonStrictInteger) && !strict(static_cast<long long>(value))) return false;
        writer_.set(json::put_signed(writer_.at(), value));
        return true;
      }
      case NumpyKind::natural: {
        const std::uint64_t value = numpy_natural(at, element.size);
        if (has(kJsonStrictInteger) &&
            !strict(static_cast<long long>(std::min<std::uint64_t>(value, LLONG_MAX)))) {
          return false;
        }
        writer_.set(json::put_unsigned(writer_.at(), value));
        return true;
      }
      case NumpyKind::half:
      case NumpyKind::single: {
        float value;
        if (element.kind == NumpyKind::half) {
          value = numpy_half(at);
        } else {
          std::memcpy(&value, at, 4);
        }
        if (!std::isfinite(value)) return not_finite(static_cast<double>(value));
        writer_.set(json::put_float(writer_.at(), value));
        return true;
      }
      default: {
        double value;
        std::memcpy(&value, at, 8);
        return number(value);
      }
    }
  }

  bool nested(PyObject* object) {
    if (!enter()) return false;
    const bool good = value(object);
    --depth_;
    return good;
  }

  bool ask(PyObject* object) {
    if (!fallback_) {
      PyErr_Format(PyExc_TypeError, "Type is not JSON serializable: %.200s", Py_TYPE(object)->tp_name);
      return false;
    }
    Ref replaced(PyObject_CallOneArg(fallback_, object));
    return replaced && nested(replaced.get());
  }

  /// A dict subclass says itself what its items are and in which order (OrderedDict.move_to_end).
  bool mapping(PyObject* object) {
    if (!enter()) return false;
    open('{');
    Ref items(PyMapping_Items(object));
    if (!items) return false;
    const Py_ssize_t size = PyList_GET_SIZE(items.get());
    for (Py_ssize_t i = 0; i < size; ++i) {
      PyObject* pair = PyList_GET_ITEM(items.get(), i);
      if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_TypeError, "%.100s.items() must give pairs", Py_TYPE(object)->tp_name);
        return false;
      }
    }
    if (has(kJsonSortKeys)) {
      if (!sorted_members(items.get())) return false;
    } else {
      for (Py_ssize_t i = 0; i < size; ++i) {
        PyObject* pair = PyList_GET_ITEM(items.get(), i);
        if (!member(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) || !separate()) return false;
      }
    }
    close('}', size == 0);
    return true;
  }

  /// datetime, date, time, UUID, Decimal.
  bool known(PyObject* object) {
    char text[kDateTimeText + 2];
    char* end = nullptr;
    if (PyDate_Check(object) || PyTime_Check(object)) {
      end = put_datetime(text, object, options_);
    } else if (PyObject_TypeCheck(object, types.uuid)) {
      end = put_uuid(text, object);
    } else {
      Ref digits(PyObject_Str(object));  // a string keeps every digit; a JSON number would not survive parsers
      return digits && string(digits.get());
    }
    if (!end) return false;
    const auto n = static_cast<std::size_t>(end - text);
    writer_.room(n + 2);
    writer_.put('"');
    writer_.raw({text, n});
    writer_.room(1 + kSlack);
    writer_.put('"');
    return true;
  }

  static char* put_uuid(char* at, PyObject* object) {
    Ref number(PyObject_GetAttr(object, names.int_));
    if (!number) return nullptr;
    Ref high(PyNumber_Rshift(number.get(), names.sixty_four));
    if (!high) return nullptr;
    const unsigned long long halves[2] = {PyLong_AsUnsignedLongLongMask(high.get()),
                                          PyLong_AsUnsignedLongLongMask(number.get())};
    if (PyErr_Occurred()) return nullptr;
    static constexpr char kHex[] = "0123456789abcdef";
    for (int nibble = 0; nibble < 32; ++nibble) {
      if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) *at++ = '-';
      *at++ = kHex[(halves[nibble / 16] >> (60 - 4 * (nibble % 16))) & 15];
    }
    return at;
  }

  bool pydantic(PyObject* object, PyObject* serializer) {
    if (has(kJsonIndent2) || has(kJsonSortKeys) || has(kJsonEnsureAscii)) {
      // Its own text has one layout; these options need the data.
      Ref method(PyObject_GetAttr(serializer, names.to_python));
      if (!method) return false;
      PyObject* args[] = {object, names.json};
      Ref data(PyObject_Vectorcall(method.get(), args, 1, names.mode_json));
      return data && nested(data.get());
    }
    Ref text(PyObject_CallMethodOneArg(serializer, names.to_json, object));
    if (!text) return false;
    if (!PyBytes_Check(text.get())) {
      PyErr_Format(PyExc_TypeError, "__pydantic_serializer__.to_json() must return bytes, not %.100s",
                   Py_TYPE(text.get())->tp_name);
      return false;
    }
    writer_.raw({PyBytes_AS_STRING(text.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(text.get()))});
    return true;
  }

  /// The fields in their order (class variables are none), as dataclasses.asdict() has them.
  bool dataclass(PyObject* object, PyObject* fields) {
    if (has(kJsonSortKeys)) {
      Ref data(PyDict_New());
      if (!data) return false;
      const auto store = [&](PyObject* name, PyObject* item) {
        return PyDict_SetItem(data.get(), name, item) == 0;
      };
      return each_field(object, fields, store) && dict(data.get());
    }
    if (!enter()) return false;
    open('{');
    bool empty = true;
    const auto write = [&](PyObject* name, PyObject* item) {
      empty = false;
      return member(name, item) && separate();
    };
    if (!each_field(object, fields, write)) return false;
    close('}', empty);
    return true;
  }

  template <class Fn>
  bool each_field(PyObject* object, PyObject* fields, Fn fn) {
    Py_ssize_t at = 0;
    PyObject *name, *field;
    while (PyDict_Next(fields, &at, &name, &field)) {
      Ref held_name = Ref::hold(name), held_field = Ref::hold(field);
      Ref kind(PyObject_GetAttr(field, names.field_type));
      if (!kind) return false;
      if (kind.get() != types.field) continue;
      Ref item(PyObject_GetAttr(object, name));
      if (!item || !fn(name, item.get())) return false;
    }
    return true;
  }

  json::Writer writer_;
  PyObject* fallback_;
  std::uint32_t options_;
  int depth_ = 0;  // of the recursion: containers, default, enum values
  int level_ = 0;  // of brackets, for the indent
  JsonSink sink_ = nullptr;
  void* sink_arg_ = nullptr;
};

}  // namespace

int json_encode(PyObject* object, OutBuffer* out, PyObject* fallback, std::uint32_t options) {
  try {
    return Encoder(*out, fallback, options).run(object) ? 0 : -1;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return -1;
  }
}

int json_encode_to(PyObject* object, JsonSink sink, void* arg, PyObject* fallback, std::uint32_t options) {
  try {
    OutBuffer buffer;
    buffer.reserve(kJsonPiece + kJsonPiece / 4);
    return Encoder(buffer, fallback, options, sink, arg).run(object) ? 0 : -1;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return -1;
  }
}

int json_encode_chain(PyObject* object, Chain* chain, SlabPool* pool, PyObject* fallback, std::uint32_t options) {
  struct Target {
    Chain text;
    SlabPool* pool;
  } target{{}, pool};
  const JsonSink append = [](void* arg, const char* data, std::size_t size) -> int {
    auto& to = *static_cast<Target*>(arg);
    try {
      for (std::size_t at = 0; at < size; at += kJsonPiece) {
        to.text.append(Slice::copied(*to.pool, {data + at, std::min(kJsonPiece, size - at)}));
      }
      return 0;
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
      return -1;
    }
  };
  if (json_encode_to(object, append, &target, fallback, options) < 0) return -1;
  try {
    chain->append(std::move(target.text));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return -1;
  }
  return 0;
}

namespace detail {

bool init_json_encoder() {
  PyDateTime_IMPORT;
  if (!PyDateTimeAPI) return false;
  if (!names.value) {
    const auto intern = [](PyObject*& slot, const char* text) {
      return (slot = PyUnicode_InternFromString(text));
    };
    if (!intern(names.items, "items") || !intern(names.int_, "int") || !intern(names.to_json, "to_json") ||
        !intern(names.to_python, "to_python") || !intern(names.pydantic, "__pydantic_serializer__") ||
        !intern(names.dataclass, "__dataclass_fields__") || !intern(names.field_type, "_field_type") ||
        !intern(names.json, "json") || !(names.sixty_four = PyLong_FromLong(64)) ||
        !(names.mode_json = Py_BuildValue("(s)", "mode")) || !intern(names.value, "_value_"))
      return false;
  }
  return true;
}

}  // namespace detail
}  // namespace fasterapi::core::py
