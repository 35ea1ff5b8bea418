// Catalog: user types made from introspection rows, and codecs of Python functions.
#include "types/scalar.hpp"

#include "protocol/wire.hpp"

namespace fasterapi::pg::py {
namespace {

// ---------------------------------------------------------------- codecs of Python functions

PyObject* decode_with_text(const Type& t, const char* p, std::int32_t n) {
  Ref text(PyUnicode_DecodeUTF8(p, n, nullptr));
  return text ? PyObject_CallOneArg(t.decoder, text.get()) : nullptr;
}
bool encode_with_text(const Type& t, PyObject* v, OutBuffer& out) {
  Ref text(PyObject_CallOneArg(t.encoder, v));
  return text && encode_text(t, text.get(), out);
}
PyObject* decode_with_bytes(const Type& t, const char* p, std::int32_t n) {
  Ref bytes(PyBytes_FromStringAndSize(p, n));
  return bytes ? PyObject_CallOneArg(t.decoder, bytes.get()) : nullptr;
}
bool encode_with_bytes(const Type& t, PyObject* v, OutBuffer& out) {
  Ref bytes(PyObject_CallOneArg(t.encoder, v));
  return bytes && encode_bytea(t, bytes.get(), out);
}

/// Format "tuple": the parts of a value instead of the value, as asyncpg documents them.
PyObject* decode_with_tuple(const Type& t, const char* p, std::int32_t n) {
  using wire::get32;
  using wire::get64;
  auto i64 = [](const char* q) { return static_cast<long long>(get64(q)); };
  Ref parts;
  switch (t.original->oid) {
    case 1082:
      if (n == 4) parts = Ref(Py_BuildValue("(i)", static_cast<int>(get32(p))));
      break;
    case 1083:
    case 1114:
    case 1184:
      if (n == 8) parts = Ref(Py_BuildValue("(L)", i64(p)));
      break;
    case 1266:
      if (n == 12) parts = Ref(Py_BuildValue("(Li)", i64(p), static_cast<int>(get32(p + 8))));
      break;
    case 1186:
      if (n == 16) {
        parts =
            Ref(Py_BuildValue("(iiL)", static_cast<int>(get32(p + 12)), static_cast<int>(get32(p + 8)), i64(p)));
      }
      break;
    default: {
      Ref value(t.original->decode(*t.original, p, n));
      if (!value) return nullptr;
      parts = Ref(PySequence_Tuple(value.get()));
      if (!parts) return nullptr;
    }
  }
  return parts ? PyObject_CallOneArg(t.decoder, parts.get()) : malformed(t);
}

bool encode_with_tuple(const Type& t, PyObject* v, OutBuffer& out) {
  Ref parts(PyObject_CallOneArg(t.encoder, v));
  if (!parts) return false;
  if (PyTuple_Check(parts.get()) == 0 && PyList_Check(parts.get()) == 0) {
    PyErr_Format(PyExc_TypeError, "an encoder of format 'tuple' must return a tuple, not %s",
                 Py_TYPE(parts.get())->tp_name);
    return false;
  }
  parts = Ref(PySequence_Tuple(parts.get()));
  if (!parts) return false;
  long long micros = 0;
  int days = 0, months = 0;
  switch (t.original->oid) {
    case 1082: {
      if (!PyArg_ParseTuple(parts.get(), "i", &days)) return false;
      out.commit(wire::put32(wire::put32(out.reserve(8), 4), static_cast<std::uint32_t>(days)));
      return true;
    }
    case 1083:
    case 1114:
    case 1184:
      if (!PyArg_ParseTuple(parts.get(), "L", &micros)) return false;
      out.commit(wire::put64(wire::put32(out.reserve(12), 8), static_cast<std::uint64_t>(micros)));
      return true;
    case 1266:
      if (!PyArg_ParseTuple(parts.get(), "Li", &micros, &days)) return false;
      out.commit(wire::put32(wire::put64(wire::put32(out.reserve(16), 12), static_cast<std::uint64_t>(micros)),
                             static_cast<std::uint32_t>(days)));
      return true;
    case 1186: {
      if (!PyArg_ParseTuple(parts.get(), "iiL", &months, &days, &micros)) return false;
      char* p = wire::put64(wire::put32(out.reserve(20), 16), static_cast<std::uint64_t>(micros));
      out.commit(
          wire::put32(wire::put32(p, static_cast<std::uint32_t>(days)), static_cast<std::uint32_t>(months)));
      return true;
    }
    default: return t.original->encode(*t.original, parts.get(), out);
  }
}

const Type* json_type(std::uint32_t oid) {
  static Type* types[2] = {};
  if (!types[0]) {
    for (int i = 0; i < 2; ++i) {
      types[i] = new Type;
      types[i]->oid = i ? 3802 : 114;
      types[i]->name = i ? "jsonb" : "json";
      types[i]->decode = i ? decode_jsonb : decode_json;
      types[i]->encode = i ? encode_jsonb : encode_json;
      types[i]->track = true;
    }
  }
  return types[oid == 3802];
}

}  // namespace

bool Catalog::init() {
  statements_ = PyDict_New();
  return statements_ != nullptr;
}

Catalog::~Catalog() { Py_XDECREF(statements_); }

const Type* Catalog::keep(std::unique_ptr<Type> type) {
  owned_.push_back(std::move(type));
  return owned_.back().get();
}

const Type* Catalog::find(std::uint32_t oid) const noexcept {
  if (!codecs_.empty()) {
    auto codec = codecs_.find(oid);
    if (codec != codecs_.end()) return codec->second;
  }
  if (decode_json_ && (oid == 114 || oid == 3802)) return json_type(oid);
  const Type* builtin = builtin_type(oid);
  // An array of a type with a codec is an array of what the codec makes.
  bool plain = builtin && (!builtin->element || (codecs_.empty() && !decode_json_));
  if (plain) return builtin;
  auto known = known_.find(oid);
  if (known != known_.end()) return known->second;
  if (!builtin) return nullptr;
  const Type* element = find(builtin->element->oid);
  if (element == builtin->element) return builtin;
  auto t = std::make_unique<Type>();
  t->oid = builtin->oid;
  t->name = builtin->name;
  t->kind = builtin->kind;
  t->element = element;
  t->format = builtin->format;
  t->decode = builtin->decode;
  t->encode = builtin->encode;
  if (t->kind == Kind::array) {
    t->format = element->format;
    t->decode = t->format ? decode_array : decode_array_text;
    t->encode = t->format ? encode_array : encode_array_text;
  } else if (!element->format) {
    return builtin;  // a range of something that is text now: leave it alone
  }
  t->track = true;
  auto* self = const_cast<Catalog*>(this);
  const Type* kept = self->keep(std::move(t));
  self->known_[oid] = kept;
  return kept;
}

const Type* Catalog::build(std::uint32_t oid, const std::vector<TypeRow>& rows, int depth) {
  if (const Type* t = find(oid)) return t;
  const TypeRow* row = nullptr;
  for (const TypeRow& r : rows) {
    if (r.oid == oid) row = &r;
  }
  auto t = std::make_unique<Type>();
  t->oid = oid;
  t->format = 0;
  t->decode = decode_text;
  t->encode = encode_text;
  if (!row || depth > 32) {
    t->name = "unknown";
    const Type* kept = keep(std::move(t));
    known_[oid] = kept;
    return kept;
  }
  t->name = row->name;
  t->schema = row->schema;
  t->delimiter = row->delimiter;
  auto binary = [&t](Decode decode, Encode encode) {
    t->format = 1;
    t->decode = decode;
    t->encode = encode;
  };
  if (row->category == 'A' && row->element) {
    t->kind = Kind::array;
    t->element = build(row->element, rows, depth + 1);
    t->track = true;
    if (t->element->format) {
      binary(decode_array, encode_array);
    } else {
      t->decode = decode_array_text;
      t->encode = encode_array_text;
    }
  } else if (row->type == 'e') {
    t->kind = Kind::enumeration;
    t->format = 1;  // the label, in either format
  } else if (row->type == 'd') {
    t->kind = Kind::domain;
    t->element = build(row->base, rows, depth + 1);
    t->track = t->element->track;
    t->format = t->element->format;
    t->decode = decode_domain;
    t->encode = encode_domain;
  } else if (row->type == 'r') {
    t->kind = Kind::range;
    t->element = build(row->range_subtype, rows, depth + 1);
    t->track = true;
    if (t->element->format) binary(decode_range, encode_range);
  } else if (row->type == 'm') {
    t->kind = Kind::multirange;
    t->element = build(row->multirange_range, rows, depth + 1);
    t->track = true;
    if (t->element->format) binary(decode_multirange, encode_multirange);
  } else if (row->type == 'c') {
    t->kind = Kind::composite;
    t->track = true;
    bool all = true;
    Ref names(PyTuple_New(static_cast<Py_ssize_t>(row->attributes.size())));
    if (!names) return nullptr;
    Py_ssize_t i = 0;
    for (const auto& [name, type_oid] : row->attributes) {
      const Type* type = build(type_oid, rows, depth + 1);
      if (!type) return nullptr;
      all &= type->format == 1;
      t->attributes.push_back({name, type});
      PyObject* s = to_str(name);
      if (!s) return nullptr;
      PyTuple_SET_ITEM(names.get(), i++, s);
    }
    t->shape = new_record_shape(names.get(), true);
    if (!t->shape) return nullptr;
    if (all) binary(decode_composite, encode_composite);
  }
  const Type* kept = keep(std::move(t));
  known_[oid] = kept;
  return kept;
}

bool Catalog::add(const std::vector<TypeRow>& rows, const std::vector<std::uint32_t>& asked) {
  for (std::uint32_t oid : asked) {
    if (!build(oid, rows, 0)) return false;
  }
  return true;
}

bool Catalog::set_codec(std::uint32_t oid, PyObject* encoder, PyObject* decoder, char format) {
  const Type* base = find(oid);
  if (auto codec = codecs_.find(oid); codec != codecs_.end()) base = codec->second->original;
  auto t = std::make_unique<Type>();
  t->oid = oid;
  t->name = base ? base->name : "unknown";
  if (base) t->schema = base->schema, t->kind = base->kind;
  t->original = base;
  t->encoder = Py_NewRef(encoder);
  t->decoder = Py_NewRef(decoder);
  t->track = true;
  t->format = format == 't' ? 0 : 1;
  if (format == 'p') {
    if (!base || base->format == 0) {
      PyErr_SetString(errors.interface, "this type has no tuple form");
      return false;
    }
    t->decode = decode_with_tuple;
    t->encode = encode_with_tuple;
  } else {
    t->decode = format == 't' ? decode_with_text : decode_with_bytes;
    t->encode = format == 't' ? encode_with_text : encode_with_bytes;
  }
  codecs_[oid] = keep(std::move(t));
  known_.clear();
  PyDict_Clear(statements_);
  ++version_;
  return true;
}

void Catalog::reset_codec(std::uint32_t oid) {
  if (codecs_.erase(oid)) {
    known_.clear();
    PyDict_Clear(statements_);
    ++version_;
  }
}

void Catalog::clear() {
  known_.clear();
  PyDict_Clear(statements_);
  ++version_;
}

}  // namespace fasterapi::pg::py
