#pragma once
// A database type and how its values become Python objects and back; the table of all types of one database.
//   Cost     decode and encode are one indirect call per value
//   Threads  GIL
//   Ownership  built-in types are static; user types belong to their Catalog and live as long as it does
//   Errors   both directions report through a Python exception. Encoders raise plain TypeError, ValueError,
//            OverflowError; the caller wraps them with the number of the argument.
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <fasterapi/core/buffer.hpp>

#include "python.hpp"
#include "record.hpp"

namespace fasterapi::pg::py {

using core::OutBuffer;

struct Type;
using Decode = PyObject* (*)(const Type& type, const char* data, std::int32_t size);
/// Appends the length word and the value; `value` is never None.
using Encode = bool (*)(const Type& type, PyObject* value, OutBuffer& out);

enum class Kind { scalar, array, composite, range, multirange, domain, enumeration };
const char* kind_name(Kind kind) noexcept;

struct Attribute {
  std::string name;
  const Type* type;
};

struct Type {
  std::uint32_t oid = 0;
  std::string name, schema = "pg_catalog";
  Kind kind = Kind::scalar;
  std::uint16_t format = 1;  // on the wire: 0 text, 1 binary
  Decode decode = nullptr;
  Encode encode = nullptr;
  bool track = false;  // values can be part of a reference cycle
  char delimiter = ',';
  const Type* element = nullptr;      // of an array or multirange; base of a domain; bound type of a range
  std::vector<Attribute> attributes;  // of a composite
  RecordShape* shape = nullptr;       // of a composite
  // set_type_codec()
  PyObject* encoder = nullptr;
  PyObject* decoder = nullptr;
  const Type* original = nullptr;  // what a codec of format "tuple" rests on

  Type() = default;
  Type(const Type&) = delete;
  Type& operator=(const Type&) = delete;
  ~Type() {
    Py_XDECREF(reinterpret_cast<PyObject*>(shape));
    Py_XDECREF(encoder);
    Py_XDECREF(decoder);
  }
};

inline PyObject* decode_value(const Type& type, const char* data, std::int32_t size) {
  return type.decode(type, data, size);
}
/// Also takes None.
bool encode_value(const Type& type, PyObject* value, OutBuffer& out);

/// The static types; nullptr when `oid` is none of them.
const Type* builtin_type(std::uint32_t oid) noexcept;
bool init_types();
bool init_datetime();
bool init_scalars();

// Families that builtin.cpp and introspection hand out.
PyObject* decode_text(const Type&, const char*, std::int32_t);
bool encode_text(const Type&, PyObject*, OutBuffer&);
PyObject* decode_array(const Type&, const char*, std::int32_t);
bool encode_array(const Type&, PyObject*, OutBuffer&);
PyObject* decode_array_text(const Type&, const char*, std::int32_t);
bool encode_array_text(const Type&, PyObject*, OutBuffer&);
PyObject* decode_range(const Type&, const char*, std::int32_t);
bool encode_range(const Type&, PyObject*, OutBuffer&);
PyObject* decode_multirange(const Type&, const char*, std::int32_t);
bool encode_multirange(const Type&, PyObject*, OutBuffer&);
PyObject* decode_composite(const Type&, const char*, std::int32_t);
bool encode_composite(const Type&, PyObject*, OutBuffer&);
PyObject* decode_anonymous(const Type&, const char*, std::int32_t);
PyObject* decode_domain(const Type&, const char*, std::int32_t);
bool encode_domain(const Type&, PyObject*, OutBuffer&);
PyObject* decode_json(const Type&, const char*, std::int32_t);
bool encode_json(const Type&, PyObject*, OutBuffer&);
PyObject* decode_jsonb(const Type&, const char*, std::int32_t);
bool encode_jsonb(const Type&, PyObject*, OutBuffer&);

/// Malformed bytes from the server, as a Python exception; returns nullptr.
PyObject* malformed(const Type& type);

/// A row of the introspection query.
struct TypeRow {
  std::uint32_t oid = 0, element = 0, base = 0, range_subtype = 0, multirange_range = 0;
  std::string schema, name;
  char type = 'b', category = 'U', delimiter = ',';
  std::vector<std::pair<std::string, std::uint32_t>> attributes;
};

class Catalog {
 public:
  explicit Catalog(bool decode_json) : decode_json_(decode_json) {}
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;
  void ref() noexcept { ++refs_; }
  void unref() noexcept {
    if (--refs_ == 0) delete this;
  }

  /// nullptr: has to be introspected first.
  const Type* find(std::uint32_t oid) const noexcept;
  /// Makes the types of the rows known; what stays unknown becomes text.
  bool add(const std::vector<TypeRow>& rows, const std::vector<std::uint32_t>& asked);
  /// Codec of Python functions; `format`: 't' text, 'b' binary, 'p' tuple. False with an exception.
  bool set_codec(std::uint32_t oid, PyObject* encoder, PyObject* decoder, char format);
  void reset_codec(std::uint32_t oid);
  void clear();  // forgets what was introspected

  PyObject* statements() noexcept { return statements_; }
  bool init();
  std::uint64_t version() const noexcept { return version_; }

 private:
  ~Catalog();
  const Type* build(std::uint32_t oid, const std::vector<TypeRow>& rows, int depth);
  const Type* keep(std::unique_ptr<Type> type);
  std::size_t refs_ = 1;
  bool decode_json_;
  std::uint64_t version_ = 0;
  std::unordered_map<std::uint32_t, const Type*> known_;
  std::unordered_map<std::uint32_t, const Type*> codecs_;
  std::vector<std::unique_ptr<Type>> owned_;  // also replaced ones: statements may still point at them
  PyObject* statements_ = nullptr;            // dict: sql -> handle
};

}  // namespace fasterapi::pg::py
