// The types that every database has, with the object identifiers that PostgreSQL has fixed (pg_type.dat).
#include <array>

#include "types/scalar.hpp"

namespace fasterapi::pg::py {
namespace {

struct Base {
  std::uint32_t oid, array;
  const char* name;
  Decode decode;
  Encode encode;
  std::uint16_t format = 1;
};

constexpr Base kBases[] = {
    {16, 1000, "bool", decode_bool, encode_bool},
    {17, 1001, "bytea", decode_bytea, encode_bytea},
    {18, 1002, "char", decode_bytea, encode_bytea},
    {19, 1003, "name", decode_text, encode_text},
    {20, 1016, "int8", decode_int8, encode_int8},
    {21, 1005, "int2", decode_int2, encode_int2},
    {23, 1007, "int4", decode_int4, encode_int4},
    {24, 1008, "regproc", decode_text, encode_text, 0},
    {25, 1009, "text", decode_text, encode_text},
    {26, 1028, "oid", decode_uint4, encode_uint4},
    {27, 1010, "tid", decode_tid, encode_tid},
    {28, 1011, "xid", decode_uint4, encode_uint4},
    {29, 1012, "cid", decode_uint4, encode_uint4},
    {114, 199, "json", decode_text, encode_text},
    {142, 143, "xml", decode_text, encode_text},
    {194, 0, "pg_node_tree", decode_text, encode_text, 0},
    {600, 1017, "point", decode_point, encode_point},
    {601, 1018, "lseg", decode_lseg, encode_lseg},
    {602, 1019, "path", decode_path, encode_path},
    {603, 1020, "box", decode_box, encode_box},
    {604, 1027, "polygon", decode_polygon, encode_polygon},
    {628, 629, "line", decode_line, encode_line},
    {650, 651, "cidr", decode_cidr, encode_cidr},
    {700, 1021, "float4", decode_float4, encode_float4},
    {701, 1022, "float8", decode_float8, encode_float8},
    {705, 0, "unknown", decode_text, encode_text},
    {718, 719, "circle", decode_circle, encode_circle},
    {774, 775, "macaddr8", decode_text, encode_text, 0},
    {790, 791, "money", decode_text, encode_text, 0},
    {829, 1040, "macaddr", decode_text, encode_text, 0},
    {869, 1041, "inet", decode_inet, encode_inet},
    {1033, 1034, "aclitem", decode_text, encode_text, 0},
    {1042, 1014, "bpchar", decode_text, encode_text},
    {1043, 1015, "varchar", decode_text, encode_text},
    {1082, 1182, "date", decode_date, encode_date},
    {1083, 1183, "time", decode_time, encode_time},
    {1114, 1115, "timestamp", decode_timestamp, encode_timestamp},
    {1184, 1185, "timestamptz", decode_timestamptz, encode_timestamptz},
    {1186, 1187, "interval", decode_interval, encode_interval},
    {1266, 1270, "timetz", decode_timetz, encode_timetz},
    {1560, 1561, "bit", decode_bit, encode_bit},
    {1562, 1563, "varbit", decode_bit, encode_bit},
    {1700, 1231, "numeric", decode_numeric, encode_numeric},
    {1790, 2201, "refcursor", decode_text, encode_text},
    {2202, 2207, "regprocedure", decode_text, encode_text, 0},
    {2203, 2208, "regoper", decode_text, encode_text, 0},
    {2204, 2209, "regoperator", decode_text, encode_text, 0},
    {2205, 2210, "regclass", decode_text, encode_text, 0},
    {2206, 2211, "regtype", decode_text, encode_text, 0},
    {2249, 2287, "record", decode_anonymous, encode_text},
    {2275, 1263, "cstring", decode_text, encode_text},
    {2276, 0, "any", decode_text, encode_text, 0},
    {2278, 0, "void", decode_void, encode_text},
    {2950, 2951, "uuid", decode_uuid, encode_uuid},
    {2970, 2949, "txid_snapshot", decode_snapshot, encode_snapshot},
    {3220, 3221, "pg_lsn", decode_uint8, encode_uint8},
    {3361, 0, "pg_ndistinct", decode_text, encode_text, 0},
    {3402, 0, "pg_dependencies", decode_text, encode_text, 0},
    {3614, 3643, "tsvector", decode_text, encode_text, 0},
    {3615, 3645, "tsquery", decode_text, encode_text, 0},
    {3642, 3644, "gtsvector", decode_text, encode_text, 0},
    {3734, 3735, "regconfig", decode_text, encode_text, 0},
    {3769, 3770, "regdictionary", decode_text, encode_text, 0},
    {3802, 3807, "jsonb", decode_versioned, encode_versioned},
    {4072, 4073, "jsonpath", decode_versioned, encode_versioned},
    {4089, 4090, "regnamespace", decode_text, encode_text, 0},
    {4096, 4097, "regrole", decode_text, encode_text, 0},
    {4191, 4192, "regcollation", decode_text, encode_text, 0},
    {5017, 0, "pg_mcv_list", decode_text, encode_text, 0},
    {5038, 5039, "pg_snapshot", decode_snapshot, encode_snapshot},
    {5069, 271, "xid8", decode_uint8, encode_uint8},
};

struct Span {
  std::uint32_t oid, array, bound, multirange, multirange_array;
  const char* name;
};
constexpr Span kRanges[] = {
    {3904, 3905, 23, 4451, 6150, "int4range"},   {3906, 3907, 1700, 4532, 6151, "numrange"},
    {3908, 3909, 1114, 4533, 6152, "tsrange"},   {3910, 3911, 1184, 4534, 6153, "tstzrange"},
    {3912, 3913, 1082, 4535, 6155, "daterange"}, {3926, 3927, 20, 4536, 6157, "int8range"},
};

constexpr std::uint32_t kMaxOid = 6400;
std::array<const Type*, kMaxOid>* g_types = nullptr;  // immutable once made, never freed

Type* add(std::uint32_t oid, std::string name, Kind kind, const Type* element, Decode decode, Encode encode,
          std::uint16_t format, bool track) {
  auto* t = new Type;
  t->oid = oid;
  t->name = std::move(name);
  t->kind = kind;
  t->element = element;
  t->decode = decode;
  t->encode = encode;
  t->format = format;
  t->track = track;
  (*g_types)[oid] = t;
  return t;
}

void add_array(std::uint32_t oid, const Type* element) {
  if (!oid) return;
  bool binary = element->format == 1;
  add(oid, "_" + element->name, Kind::array, element, binary ? decode_array : decode_array_text,
      binary ? encode_array : encode_array_text, element->format, true);
}

}  // namespace

const Type* builtin_type(std::uint32_t oid) noexcept { return oid < kMaxOid ? (*g_types)[oid] : nullptr; }

const char* kind_name(Kind kind) noexcept {
  static constexpr const char* kNames[] = {"scalar",     "array",  "composite", "range",
                                           "multirange", "domain", "enum"};
  return kNames[static_cast<int>(kind)];
}

bool init_types() {
  if (g_types) return true;
  if (!init_datetime() || !init_scalars()) return false;
  g_types = new std::array<const Type*, kMaxOid>{};
  for (const Base& b : kBases) {
    Type* t = add(b.oid, b.name, Kind::scalar, nullptr, b.decode, b.encode, b.format, b.oid == 2249);
    if (b.oid == 603) t->delimiter = ';';
    add_array(b.array, t);
  }
  // Vectors are stored as arrays with a lower bound of 0 but print without braces.
  add(22, "int2vector", Kind::array, builtin_type(21), decode_array, encode_array, 1, true);
  add(30, "oidvector", Kind::array, builtin_type(26), decode_array, encode_array, 1, true);
  add_array(1006, builtin_type(22));
  add_array(1013, builtin_type(30));
  for (const Span& s : kRanges) {
    const Type* range =
        add(s.oid, s.name, Kind::range, builtin_type(s.bound), decode_range, encode_range, 1, true);
    add_array(s.array, range);
    std::string name(s.name);
    name.replace(name.size() - 5, 5, "multirange");
    const Type* multi =
        add(s.multirange, name, Kind::multirange, range, decode_multirange, encode_multirange, 1, true);
    add_array(s.multirange_array, multi);
  }
  return true;
}

}  // namespace fasterapi::pg::py
