#pragma once
// One-pass walks over objects and arrays with core's JSON cursor: the member callback takes the value
// itself, so that nested objects of interest are read where they stand instead of twice.
#include <string>
#include <string_view>

#include <fasterapi/core/json_scan.hpp>

namespace fasterapi::mcp::detail {

namespace json = core::json;

/// Contents of a checked JSON string (without its quotes) as text: itself, or unescaped into `storage`.
inline std::string_view decode(std::string_view raw, std::string& storage) {
  if (raw.find('\\') == std::string_view::npos) return raw;
  storage.resize(raw.size());
  storage.resize(json::unescape(raw, storage.data()));
  return storage;
}

inline std::string_view unquote(std::string_view text) noexcept { return text.substr(1, text.size() - 2); }

/// `member(key)` gets the key's contents between the quotes and must take the value. False: not JSON, or
/// a member said so.
template <class Member>
bool walk_object(json::Cursor& in, Member&& member) {
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  for (;;) {
    std::string_view key;
    if (!in.string(key) || !in.take(':') || !member(unquote(key))) return false;
    if (in.take(',')) continue;
    return in.take('}');
  }
}

inline bool at_end(json::Cursor& in) noexcept {
  in.skip_space();
  return in.at_end();
}

/// True for a JSON integer token without fraction and exponent.
inline bool is_integer_token(std::string_view token) noexcept {
  std::size_t i = !token.empty() && token[0] == '-';
  if (i == token.size()) return false;
  for (; i < token.size(); ++i)
    if (token[i] < '0' || token[i] > '9') return false;
  return true;
}

}  // namespace fasterapi::mcp::detail
