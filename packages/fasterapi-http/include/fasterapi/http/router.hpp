#pragma once
// Route table: built once, then read by every reactor without locks.
//   match()   O(path length), no allocation; captures point into the request's path (still percent-encoded)
//   insert()  before freeze() only; freeze() reports conflicts instead of letting one route hide another
//   (specificity order) Thread rule: immutable after freeze() Buffer    kReadPadding readable bytes must follow
//   the path given to match()
// Patterns are Starlette's: "/users/{id}", "{id:int}", "{x:float}", "{u:uuid}", "{rest:path}"; text and parameters
// may share a segment ("/files/{name}.json"). Order "registration": the first route that matches wins (FastAPI).
// Order "specificity": from the left, text beats text-with-parameter beats typed parameter beats plain parameter
// beats path. Paths are matched as if decoded, but split on '/' before decoding: "%2F" is data inside a segment,
// never a separator.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <fasterapi/http/parser.hpp>

namespace fasterapi::http {

enum class RouteOrder : std::uint8_t { registration, specificity };
enum class Converter : std::uint8_t { str, integer, real, uuid, path };

/// Bit set of methods: bits 0..9 are the values of Method (bit 0, Method::other, is never set), the rest are names
/// that the table has learnt from insert().
using MethodSet = std::uint32_t;
inline constexpr MethodSet kAllMethods = ~MethodSet{0};
constexpr MethodSet method_bit(Method method) noexcept {
  return method == Method::other ? 0 : MethodSet{1} << static_cast<unsigned>(method);
}

inline constexpr unsigned kMaxCaptures = 16;

struct Capture {
  const char* data;
  std::uint32_t size;
  Converter converter;
  bool encoded;  // contains '%': see percent_decode()
  std::string_view view() const noexcept { return {data, size}; }
};

struct Match {
  enum class Kind : std::uint8_t { not_found, found, wrong_method };
  Kind kind = Kind::not_found;
  std::uint8_t capture_count = 0;
  std::uint32_t route = 0;  // position of the insert() call, 0 first
  std::uint32_t id = 0;     // as given to insert()
  MethodSet allowed = 0;    // wrong_method: what the path's routes take, for Allow
  Capture captures[kMaxCaptures];
};

struct RouteParam {
  std::string name;
  Converter converter;
};

/// What insert() and freeze() say when a route cannot be taken; empty text means success.
struct RouteError {
  std::string text;
  std::uint32_t route = 0, other = 0;  // conflict: the two insert() positions
  bool conflict = false;
  explicit operator bool() const noexcept { return !text.empty(); }
};

class RouteTable {
 public:
  explicit RouteTable(RouteOrder order = RouteOrder::registration, bool head_falls_to_get = false);
  RouteTable(RouteTable&&) noexcept;
  RouteTable& operator=(RouteTable&&) noexcept;
  ~RouteTable();

  /// Method set of a list of names; learns up to 22 names outside Method. 0 when there is no room.
  MethodSet method_set(std::span<const std::string_view> names);
  /// Bit of a request's method: 0 when no route takes that method.
  MethodSet bit(Method method, std::string_view text) const noexcept {
    return method == Method::other ? custom_bit(text) : method_bit(method);
  }
  /// "GET, HEAD, POST" in a stable order.
  std::string method_names(MethodSet set) const;

  RouteError insert(MethodSet methods, std::string_view pattern, std::uint32_t id);
  RouteError freeze();
  bool frozen() const noexcept;

  /// Finds the route of one method bit and a path that starts with '/'. True when found; otherwise out.kind tells.
  bool match(MethodSet method, std::string_view path, Match& out) const noexcept;
  bool match(Method method, std::string_view path, Match& out) const noexcept {
    return match(method_bit(method), path, out);
  }
  /// After not_found: does the path match (any method) with its trailing slash added or removed? Cold path.
  bool matches_with_other_slash(std::string_view path) const noexcept;

  std::size_t size() const noexcept;
  std::span<const RouteParam> params(std::uint32_t route) const noexcept;
  std::string_view pattern(std::uint32_t route) const noexcept;
  MethodSet methods(std::uint32_t route) const noexcept;

 private:
  MethodSet custom_bit(std::string_view text) const noexcept;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether a decoded text satisfies a converter: int [0-9]+, float [0-9]+(\.[0-9]+)?, uuid 8-4-4-4-12 with
/// optional dashes, str any non-empty text, path anything.
bool converter_accepts(Converter converter, std::string_view text) noexcept;

}  // namespace fasterapi::http
