#pragma once
// On-demand reading of JSON text: walk a value, look up the fields of an object, compare and unescape
// strings, without building anything. For code that needs three fields of a message and hands the rest on.
//   Cost     one pass over what is walked, about 1 ns per byte of small tokens, 16-32 bytes per step inside
//            long strings; no allocation
//   Strict   RFC 8259 and well-formed UTF-8 on everything that is walked, lone surrogates refused; depth is
//            bounded. What lies beyond the last field asked for is walked too (find_fields checks the
//            whole object), so a message is either entirely good or refused.
//   Threads  pure; spans point into the caller's text
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <fasterapi/core/json_chars.hpp>

namespace fasterapi::core::json {

enum class Kind : std::uint8_t { kMissing, kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };

/// A value where it stands in the text: strings with their quotes, containers with their brackets.
struct Span {
  std::string_view text;
  Kind kind = Kind::kMissing;

  explicit operator bool() const noexcept { return kind != Kind::kMissing; }
  bool is_string() const noexcept { return kind == Kind::kString; }
  bool is_object() const noexcept { return kind == Kind::kObject; }
  bool is_array() const noexcept { return kind == Kind::kArray; }
  /// What stands between the quotes of a string, escapes untouched.
  std::string_view inside() const noexcept { return text.substr(1, text.size() - 2); }
};

inline constexpr unsigned kScanDepth = 128;

/// Walks forward over one text. Every reader returns false at the first byte that is not JSON; the cursor
/// then stands at that byte (offset()).
class Cursor {
 public:
  explicit Cursor(std::string_view text, unsigned max_depth = kScanDepth) noexcept
      : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()), max_depth_(max_depth) {}

  std::size_t offset() const noexcept { return static_cast<std::size_t>(at_ - begin_); }
  bool at_end() const noexcept { return at_ == end_; }
  void skip_space() noexcept {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  /// The next byte after white space, 0 at the end.
  char peek() noexcept {
    skip_space();
    return at_ < end_ ? *at_ : '\0';
  }
  /// Takes `c` when it comes next after white space.
  bool take(char c) noexcept {
    if (peek() != c || at_ == end_) return false;
    ++at_;
    return true;
  }

  /// One complete value of any kind.
  bool value(Span& out) noexcept { return value(out, 0); }

  /// A string; `out` has its quotes.
  bool string(std::string_view& out) noexcept {
    skip_space();
    const char* from = at_;
    if (!walk_string()) return false;
    out = {from, static_cast<std::size_t>(at_ - from)};
    return true;
  }

  /// Calls `fn(key, value)` for each member of the object that comes next (key with quotes) and stops
  /// early with false when it returns false. `fn` must be noexcept.
  template <class Fn>
  bool members(Fn&& fn) noexcept {
    return walk_object(0, fn);
  }

  /// Calls `fn(value)` for each element of the array that comes next.
  template <class Fn>
  bool elements(Fn&& fn) noexcept {
    return walk_array(0, fn);
  }

 private:
  bool value(Span& out, unsigned depth) noexcept {
    skip_space();
    if (at_ == end_) return false;
    const char* from = at_;
    bool good = false;
    Kind kind = Kind::kMissing;
    switch (*at_) {
      case '"': kind = Kind::kString; good = walk_string(); break;
      case '{': {
        kind = Kind::kObject;
        auto ignore = [](std::string_view, const Span&) noexcept { return true; };
        good = walk_object(depth, ignore);
        break;
      }
      case '[': {
        kind = Kind::kArray;
        auto ignore = [](const Span&) noexcept { return true; };
        good = walk_array(depth, ignore);
        break;
      }
      case 't': kind = Kind::kTrue; good = word("true"); break;
      case 'f': kind = Kind::kFalse; good = word("false"); break;
      case 'n': kind = Kind::kNull; good = word("null"); break;
      default: kind = Kind::kNumber; good = walk_number(); break;
    }
    if (!good) return false;
    out.text = {from, static_cast<std::size_t>(at_ - from)};
    out.kind = kind;
    return true;
  }

  template <class Fn>
  bool walk_object(unsigned depth, Fn& fn) noexcept {
    if (depth >= max_depth_ || !take('{')) return false;
    if (take('}')) return true;
    for (;;) {
      std::string_view key;
      Span item;
      if (!string(key) || !take(':') || !value(item, depth + 1)) return false;
      if (!fn(key, item)) return false;
      if (take(',')) continue;
      return take('}');
    }
  }

  template <class Fn>
  bool walk_array(unsigned depth, Fn& fn) noexcept {
    if (depth >= max_depth_ || !take('[')) return false;
    if (take(']')) return true;
    for (;;) {
      Span item;
      if (!value(item, depth + 1)) return false;
      if (!fn(item)) return false;
      if (take(',')) continue;
      return take(']');
    }
  }

  bool word(std::string_view w) noexcept {
    if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }

  bool walk_string() noexcept {
    if (at_ == end_ || *at_ != '"') return false;
    ++at_;
    for (;;) {
      at_ += find<Stop::kText>(at_, static_cast<std::size_t>(end_ - at_));
      if (at_ == end_) return false;
      const unsigned char c = static_cast<unsigned char>(*at_);
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\') {
        std::uint32_t code;
        const unsigned n = read_escape(at_ + 1, static_cast<std::size_t>(end_ - at_) - 1, code);
        if (n == 0) return false;
        at_ += 1 + n;
      } else if (c < 0x20) {
        return false;
      } else {
        const unsigned n = utf8_length(at_, static_cast<std::size_t>(end_ - at_));
        if (n == 0) return false;
        at_ += n;
      }
    }
  }

  bool digits() noexcept {
    const char* from = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ != from;
  }

  bool walk_number() noexcept {
    if (at_ < end_ && *at_ == '-') ++at_;
    if (at_ < end_ && *at_ == '0')
      ++at_;  // RFC 8259 section 6: no leading zeros
    else if (!digits())
      return false;
    if (at_ < end_ && *at_ == '.') {
      ++at_;
      if (!digits()) return false;
    }
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (!digits()) return false;
    }
    return true;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  unsigned max_depth_;
};

/// True when `text` is exactly one JSON value with nothing but white space around it.
inline bool valid(std::string_view text, unsigned max_depth = kScanDepth) noexcept {
  Cursor cursor(text, max_depth);
  Span ignored;
  if (!cursor.value(ignored)) return false;
  cursor.skip_space();
  return cursor.at_end();
}

/// Unescapes what stands between the quotes of a checked string into `out`, which needs `raw.size()` bytes;
/// returns the number written.
inline std::size_t unescape(std::string_view raw, char* out) noexcept {
  const char* at = raw.data();
  const char* end = at + raw.size();
  char* to = out;
  while (at < end) {
    const void* hit = std::memchr(at, '\\', static_cast<std::size_t>(end - at));
    const char* stop = hit ? static_cast<const char*>(hit) : end;
    std::memcpy(to, at, static_cast<std::size_t>(stop - at));
    to += stop - at;
    if (stop == end) break;
    std::uint32_t code = 0;
    const unsigned n = read_escape(stop + 1, static_cast<std::size_t>(end - stop) - 1, code);
    if (n == 0) break;  // only when the caller did not check
    to = put_utf8(to, code);
    at = stop + 1 + n;
  }
  return static_cast<std::size_t>(to - out);
}

/// Whether the raw text between quotes means exactly `plain` (UTF-8).
inline bool equals(std::string_view raw, std::string_view plain) noexcept {
  if (raw == plain) return raw.find('\\') == std::string_view::npos;
  if (raw.size() <= plain.size()) return false;  // an escape is longer than what it means
  std::size_t i = 0, j = 0;
  while (i < raw.size()) {
    if (raw[i] != '\\') {
      if (j == plain.size() || raw[i++] != plain[j++]) return false;
      continue;
    }
    std::uint32_t code;
    const unsigned n = read_escape(raw.data() + i + 1, raw.size() - i - 1, code);
    if (n == 0) return false;
    char bytes[4];
    const auto length = static_cast<std::size_t>(put_utf8(bytes, code) - bytes);
    if (plain.substr(j, length) != std::string_view(bytes, length)) return false;
    i += 1 + n;
    j += length;
  }
  return j == plain.size();
}

/// Finds members of the object that `text` is. `out[i]` receives the value of `names[i]`, kMissing when it
/// is absent; the last of duplicate keys wins, as everywhere in FasterAPI. False when `text` is not exactly
/// one well-formed object.
inline bool find_fields(std::string_view text, std::span<const std::string_view> names, std::span<Span> out,
                        unsigned max_depth = kScanDepth) noexcept {
  for (Span& slot : out) slot = Span{};
  Cursor cursor(text, max_depth);
  const bool good = cursor.members([&](std::string_view key, const Span& value) noexcept {
    const std::string_view raw = key.substr(1, key.size() - 2);
    for (std::size_t i = 0; i < names.size() && i < out.size(); ++i) {
      if (equals(raw, names[i])) {
        out[i] = value;
        break;
      }
    }
    return true;
  });
  cursor.skip_space();
  return good && cursor.at_end();
}

/// The integer that a number span is, when it is one within 18 digits ("1", "-20"; not "1.0", not "1e3").
inline bool to_int(const Span& span, std::int64_t& out) noexcept {
  if (span.kind != Kind::kNumber) return false;
  std::string_view digits = span.text;
  const bool negative = digits.front() == '-';
  if (negative) digits.remove_prefix(1);
  if (digits.empty() || digits.size() > 18) return false;
  std::int64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  out = negative ? -value : value;
  return true;
}

}  // namespace fasterapi::core::json
