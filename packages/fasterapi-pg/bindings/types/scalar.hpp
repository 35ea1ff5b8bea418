#pragma once
// Codecs of the scalar types, for the table of built-in types.
#include "types/type.hpp"

namespace fasterapi::pg::py {

PyObject* decode_bool(const Type&, const char*, std::int32_t);
bool encode_bool(const Type&, PyObject*, OutBuffer&);
PyObject* decode_int2(const Type&, const char*, std::int32_t);
bool encode_int2(const Type&, PyObject*, OutBuffer&);
PyObject* decode_int4(const Type&, const char*, std::int32_t);
bool encode_int4(const Type&, PyObject*, OutBuffer&);
PyObject* decode_int8(const Type&, const char*, std::int32_t);
bool encode_int8(const Type&, PyObject*, OutBuffer&);
PyObject* decode_uint4(const Type&, const char*, std::int32_t);
bool encode_uint4(const Type&, PyObject*, OutBuffer&);
PyObject* decode_uint8(const Type&, const char*, std::int32_t);
bool encode_uint8(const Type&, PyObject*, OutBuffer&);
PyObject* decode_float4(const Type&, const char*, std::int32_t);
bool encode_float4(const Type&, PyObject*, OutBuffer&);
PyObject* decode_float8(const Type&, const char*, std::int32_t);
bool encode_float8(const Type&, PyObject*, OutBuffer&);
PyObject* decode_numeric(const Type&, const char*, std::int32_t);
bool encode_numeric(const Type&, PyObject*, OutBuffer&);
PyObject* decode_bytea(const Type&, const char*, std::int32_t);
bool encode_bytea(const Type&, PyObject*, OutBuffer&);
PyObject* decode_void(const Type&, const char*, std::int32_t);
PyObject* decode_versioned(const Type&, const char*, std::int32_t);
bool encode_versioned(const Type&, PyObject*, OutBuffer&);
PyObject* decode_uuid(const Type&, const char*, std::int32_t);
bool encode_uuid(const Type&, PyObject*, OutBuffer&);
PyObject* decode_inet(const Type&, const char*, std::int32_t);
bool encode_inet(const Type&, PyObject*, OutBuffer&);
PyObject* decode_cidr(const Type&, const char*, std::int32_t);
bool encode_cidr(const Type&, PyObject*, OutBuffer&);
PyObject* decode_tid(const Type&, const char*, std::int32_t);
bool encode_tid(const Type&, PyObject*, OutBuffer&);
PyObject* decode_snapshot(const Type&, const char*, std::int32_t);
bool encode_snapshot(const Type&, PyObject*, OutBuffer&);
PyObject* decode_macaddr(const Type&, const char*, std::int32_t);
PyObject* decode_date(const Type&, const char*, std::int32_t);
bool encode_date(const Type&, PyObject*, OutBuffer&);
PyObject* decode_time(const Type&, const char*, std::int32_t);
bool encode_time(const Type&, PyObject*, OutBuffer&);
PyObject* decode_timetz(const Type&, const char*, std::int32_t);
bool encode_timetz(const Type&, PyObject*, OutBuffer&);
PyObject* decode_timestamp(const Type&, const char*, std::int32_t);
bool encode_timestamp(const Type&, PyObject*, OutBuffer&);
PyObject* decode_timestamptz(const Type&, const char*, std::int32_t);
bool encode_timestamptz(const Type&, PyObject*, OutBuffer&);
PyObject* decode_interval(const Type&, const char*, std::int32_t);
bool encode_interval(const Type&, PyObject*, OutBuffer&);
PyObject* decode_point(const Type&, const char*, std::int32_t);
bool encode_point(const Type&, PyObject*, OutBuffer&);
PyObject* decode_lseg(const Type&, const char*, std::int32_t);
bool encode_lseg(const Type&, PyObject*, OutBuffer&);
PyObject* decode_path(const Type&, const char*, std::int32_t);
bool encode_path(const Type&, PyObject*, OutBuffer&);
PyObject* decode_box(const Type&, const char*, std::int32_t);
bool encode_box(const Type&, PyObject*, OutBuffer&);
PyObject* decode_polygon(const Type&, const char*, std::int32_t);
bool encode_polygon(const Type&, PyObject*, OutBuffer&);
PyObject* decode_line(const Type&, const char*, std::int32_t);
bool encode_line(const Type&, PyObject*, OutBuffer&);
PyObject* decode_circle(const Type&, const char*, std::int32_t);
bool encode_circle(const Type&, PyObject*, OutBuffer&);
PyObject* decode_bit(const Type&, const char*, std::int32_t);
bool encode_bit(const Type&, PyObject*, OutBuffer&);

}  // namespace fasterapi::pg::py
