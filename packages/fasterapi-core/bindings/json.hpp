#pragma once
// JSON for Python objects: the entry points of the C table and the Python functions.
//   Cost     encode walks the objects once into the buffer; decode makes the objects once, keys cached
//   Threads  GIL held; user code runs only in `fallback`, in dataclass attributes, in Enum, tzinfo and
//            subclass hooks and in pydantic serializers
//   Errors   Python exceptions; on an error `out` is as long as it was before
#include <Python.h>

#include <cstddef>
#include <cstdint>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/pyapi.hpp>
#include <fasterapi/core/slice.hpp>

namespace fasterapi::core::py {

/// Options beyond JsonOption, for json_dumps(option=...) and C++ callers alike.
enum JsonMoreOptions : std::uint32_t {
  kJsonIndent2 = 1u << 8,
  kJsonNaiveUtc = 1u << 9,
  kJsonUtcZ = 1u << 10,
  kJsonOmitMicroseconds = 1u << 11,
  kJsonAppendNewline = 1u << 12,
  kJsonPassthroughDataclass = 1u << 13,
  kJsonPassthroughDatetime = 1u << 14,
  kJsonPassthroughSubclass = 1u << 15,
  kJsonStrictInteger = 1u << 16,
  kJsonSerializeNumpy = 1u << 17,
  kJsonAllOptions = 0x3FF0Fu,
};

inline constexpr int kJsonEncodeDepth = 254;
inline constexpr unsigned kJsonDecodeDepth = 128;

/// Appends the JSON text of `object`; 0, or -1 with an exception set.
int json_encode(PyObject* object, OutBuffer* out, PyObject* fallback, std::uint32_t options);

/// Takes a piece of the text; returns 0, or -1 with an exception set, which ends the encoding.
using JsonSink = int (*)(void* arg, const char* data, std::size_t size);
inline constexpr std::size_t kJsonPiece = 64 * 1024;

/// json_encode() in pieces of about kJsonPiece bytes (more where one string or foreign text is longer), so that a
/// large value never needs its whole text in one place. On an error the sink has had the pieces before it.
int json_encode_to(PyObject* object, JsonSink sink, void* arg, PyObject* fallback, std::uint32_t options);

/// The same into blocks of `pool`.
int json_encode_chain(PyObject* object, Chain* chain, SlabPool* pool, PyObject* fallback, std::uint32_t options);

/// The objects of a JSON text (new reference); JSONDecodeError with position. max_depth 0 means 128.
PyObject* json_decode(const char* data, std::size_t size, unsigned max_depth);

/// Adds json_dumps, json_loads, JSONDecodeError and the OPT_ constants to a module.
bool add_json(PyObject* module);

namespace detail {
bool init_json_encoder();
bool add_json_encoder(PyObject* module);  // json_dumps, json_dump, Fragment, OPT_*
bool add_json_decoder(PyObject* module);  // json_loads, JSONDecodeError
}  // namespace detail

}  // namespace fasterapi::core::py
